/**
 * Who a QEMU process is and what it sees: a root with nothing in it but its own files, no network, and as root a user of its
 * own (`lull-host exec --jail`, guest/src/jail.rs). The files are at the paths that they have outside.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BootSpec, MachineSpec } from '../driver.ts';
import type { QemuTarget } from './command-line.ts';

/**
 * Users that nobody else has: systemd leaves these free (its UIDS-GIDS page), and no range of subordinate ids reaches so far by default.
 */
const FIRST_UID = 1_900_000_000;
const UIDS = 200_000_000;

/** The users of the machines that live, so that no two have the same. */
export class JailUsers {
  readonly #taken = new Set<number>();

  /** A free user. Machines of another server are told apart by chance: one in 200 million. @param runDir of the machine, from which it is found */
  take(runDir: string): number {
    const start = createHash('sha256').update(runDir).digest().readUInt32BE();
    for (let step = 0; ; step += 1) {
      const uid = FIRST_UID + ((start + step) % UIDS);
      if (!this.#taken.has(uid)) return this.claim(uid);
    }
  }

  claim(uid: number): number {
    this.#taken.add(uid);
    return uid;
  }

  release(uid: number): void {
    this.#taken.delete(uid);
  }
}

/** The user of a process (proc(5), /proc/PID/status); undefined where it is gone. */
export async function userOf(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/** The file through which a machine hands its device state out: it opens nothing else for writing that was not open at its start. */
export const handedOutPath = (runDir: string) => join(runDir, 'device-state');

/** QEMU reads it before it maps memory without reserving swap. */
const OVERCOMMIT = '/proc/sys/vm/overcommit_memory';

/** @param program folder of QEMU and its libraries */
export function jailArguments(spec: MachineSpec | BootSpec, program: string, { accelerator, opensMemoryReadOnly }: Pick<QemuTarget, 'accelerator' | 'opensMemoryReadOnly'>): string[] {
  const boots = 'kernelPath' in spec;
  const isMemoryRead = !boots && opensMemoryReadOnly;
  const { network } = spec;
  const read = [program, '/dev/urandom', OVERCOMMIT, ...(boots ? [spec.kernelPath, spec.initramfsPath] : []), ...(isMemoryRead ? [spec.memoryPath] : [])];
  const write = [
    '/dev/null',
    ...(isMemoryRead ? [] : [spec.memoryPath]),
    spec.runDir,
    ...(boots ? [spec.consolePath] : []),
    ...(accelerator === 'kvm' ? ['/dev/kvm'] : []),
    ...(network.kind === 'passt' ? [network.socketPath] : []),
  ];
  return ['--jail', ...read.flatMap((path) => ['--read', path]), ...write.flatMap((path) => ['--write', path])];
}
