/** The host-side program that set-up built beside the agent, and what it can do on this machine. */
import { dirname, join } from 'node:path';
import type { Confinement, Platform } from '../domain/platform.ts';
import { run } from '../host/process.ts';

export const hostToolPath = (platform: Platform) => join(dirname(platform.agent.path), 'lull-host');

/** Looks whether a program of QEMU's copy starts in a jail (guest/src/jail.rs): its loader, which checks a library and ends. */
export async function confinementOf(platform: Platform): Promise<Confinement> {
  const { path } = platform.qemu;
  const [loader, library] = [platform.qemu.argv[0]!, join(path, 'lib/libc.so.6')];
  const tried = run([hostToolPath(platform), 'exec', '--jail', '--read', path, '--', loader, '--verify', library]);
  const works = await tried.then(
    () => true,
    () => false,
  );
  if (!works) return 'none';
  return process.getuid?.() === 0 ? 'own-user' : 'same-user';
}
