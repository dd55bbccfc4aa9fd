/**
 * Finds out whether KVM runs guests here, by trying: there are machines whose /dev/kvm opens and creates a virtual machine
 * that then never gets anywhere.
 */
import { spawn } from 'node:child_process';
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Architecture, Platform } from '../domain/platform.ts';
import { tailOf } from '../host/process.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';

const DEVICE = '/dev/kvm';
const CACHE_FILE = 'kvm-probe.json';
/** The kernel says something within milliseconds of its start on any KVM that works. */
const FIRST_WORD_LIMIT_MS = 5000;
/** Until the kernel starts init: 8 s were measured where KVM itself runs under emulation. */
const INIT_LIMIT_MS = 20_000;
/** What the kernel says when it has come all the way. */
const SUCCESS = 'Run /init as init process';
/** What only a running kernel says (QEMU's firmware speaks too). */
const FIRST_WORD = 'Linux version';
const GUEST_MIB = '128';

const MACHINE: Readonly<Record<Architecture, { type: string; console: string }>> = {
  x86_64: { type: 'microvm,accel=kvm', console: 'console=ttyS0 earlyprintk=serial,ttyS0' },
  aarch64: { type: 'virt,accel=kvm,gic-version=host', console: 'console=ttyAMA0' },
};

/** Whether KVM is of use, and why or why not in one line. */
export interface KvmFinding {
  readonly works: boolean;
  readonly reason: string;
}

const cacheSchema = z.object({ key: z.string(), works: z.boolean(), reason: z.string() });

/**
 * Looks, and where the device is there, boots the platform's kernel under KVM up to its first program. The result is kept
 * until the machine is started anew or QEMU changes.
 * @param folder the platform folder
 */
export async function probeKvm(folder: string, platform: Platform, signal: AbortSignal): Promise<KvmFinding> {
  try {
    await access(DEVICE, constants.R_OK | constants.W_OK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return { works: false, reason: missing ? `there is no ${DEVICE}` : `this user may not open ${DEVICE}` };
  }
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const key = [bootId, platform.qemu.id, platform.kernel.id].join(' ');
  const path = join(folder, CACHE_FILE);
  const kept = cacheSchema.safeParse(await readFile(path, 'utf8').then(JSON.parse).catch(() => undefined));
  if (kept.success && kept.data.key === key) return { works: kept.data.works, reason: kept.data.reason };
  const found = await tryGuest(platform, signal);
  // Another user's platform folder: then it is found out each time.
  await writeFileAtomic(path, `${JSON.stringify({ key, ...found })}\n`, 0o644).catch(() => undefined);
  return found;
}

async function tryGuest(platform: Platform, signal: AbortSignal): Promise<KvmFinding> {
  const { type, console } = MACHINE[platform.arch];
  const argv = [
    ...platform.qemu.argv,
    ...['-M', type, '-cpu', 'host', '-m', GUEST_MIB, '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-serial', 'stdio', '-kernel', platform.kernel.path, '-initrd', platform.initramfs.path],
    ...['-append', `${console} panic=-1 reboot=t`],
  ];
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], cwd: platform.qemu.path });
  const said = tailOf(child.stderr);
  let output = '';
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, killedBy) => resolve(said().trim().split('\n').at(-1) || `status ${code ?? killedBy}`));
  });
  const outcome = new Promise<KvmFinding>((resolve, reject) => {
    const no = (reason: string) => resolve({ works: false, reason });
    const silent = setTimeout(() => no(`${DEVICE} opens, but a guest under it never starts`), FIRST_WORD_LIMIT_MS);
    const late = setTimeout(() => no(`a guest under ${DEVICE} starts, but does not come up within ${INIT_LIMIT_MS / 1000} s`), INIT_LIMIT_MS);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    void ended.then((why) => no(`QEMU does not run a guest with ${DEVICE}: ${why}`));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes(FIRST_WORD)) clearTimeout(silent);
      if (output.includes(SUCCESS)) resolve({ works: true, reason: `a guest under ${DEVICE} comes up` });
    });
    void ended.finally(() => {
      clearTimeout(silent);
      clearTimeout(late);
    });
  });
  try {
    return await outcome;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}
