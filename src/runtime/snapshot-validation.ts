/** The `/validate` hook: asked of a throw-away guest that is restored from the finished snapshot (contract reference, section 2.4). */
import type { EnabledHook } from '../domain/hooks.ts';
import { BuildFailure } from '../domain/image.ts';
import type { Clock, Random } from '../domain/ports.ts';
import { copySparse } from '../host/disk.ts';
import type { Files } from '../lib/files.ts';
import type { Driver, Machine } from '../vmm/driver.ts';
import { greetBuildGuest, whileAlive, type BuildGuest } from './build-guest.ts';
import { callBuildHook } from './build-hook.ts';
import type { DataLayout } from './data-layout.ts';

const RESTORE_LIMIT_MS = 60_000;
const SECRET_BYTES = 32;
const STEP = 'validate';

export interface Validation {
  readonly snapshotId: string;
  readonly guestMemoryMib: number;
  readonly vcpus: number;
  /** What the agent in the snapshot knows. */
  readonly agentSecret: string;
  readonly enabled: EnabledHook;
  /** The guest's output. */
  readonly onOutput: (bytes: Buffer) => void;
  readonly signal: AbortSignal;
}

interface ValidationParts {
  readonly layout: DataLayout;
  readonly files: Files;
  readonly driver: Pick<Driver, 'prepare'>;
  /** Factor on the hook's time-out. */
  readonly timeoutScale: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}

/**
 * Restores a guest, calls the hook, and throws the guest away: nothing that it does enters the snapshot.
 * @throws BuildFailure in AWS's words where the hook fails; the signal's reason where that ended it. The guest is gone either way
 */
export async function validateSnapshot(parts: ValidationParts, validation: Validation): Promise<void> {
  const { signal } = validation;
  const files = parts.layout.snapshot(validation.snapshotId);
  const dir = `${files.dir}/validate`;
  const runDir = parts.layout.buildRunDir(validation.snapshotId);
  try {
    for (const folder of [dir, runDir]) await parts.files.makeFolder(folder);
    await copySparse(files.scratch, `${dir}/scratch.ext4`, parts.files.effects);
    signal.throwIfAborted();
    await using guest = await restore(parts, validation, { dir, runDir });
    const { session } = guest;
    await whileAlive(guest, { step: STEP, signal }, callBuildHook({ ...validation, session, hook: 'validate', timeoutScale: parts.timeoutScale, step: STEP }));
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof BuildFailure ? error : new BuildFailure('INTERNAL_PLATFORM_ERROR', STEP, { cause: error });
  } finally {
    await parts.files.removeTree(dir);
  }
}

async function restore(parts: ValidationParts, validation: Validation, { dir, runDir }: { dir: string; runDir: string }): Promise<BuildGuest> {
  const files = parts.layout.snapshot(validation.snapshotId);
  const machine = await parts.driver.prepare({
    guestMemoryMib: validation.guestMemoryMib,
    vcpus: validation.vcpus,
    memoryPath: files.memory,
    rootDiskPath: files.rootDisk,
    scratchPath: `${dir}/scratch.ext4`,
    runDir,
    network: { kind: 'none' },
    deviceStatePath: files.deviceState,
  });
  try {
    await machine.loadDeviceState();
    return await wake(parts, validation, machine);
  } catch (error) {
    await machine.kill();
    throw error;
  }
}

/** The greeting waits in the channel when the guest begins to run, as in every restore. */
async function wake({ clock, random }: ValidationParts, { agentSecret, onOutput, signal }: Validation, machine: Machine): Promise<BuildGuest> {
  const channel = await machine.dial();
  const greeted = greetBuildGuest(
    { machine, channel },
    {
      secret: agentSecret,
      nextSecret: random.bytes(SECRET_BYTES).toString('hex'),
      restore: { resetConnections: true },
      thaw: true,
      timeoutMs: RESTORE_LIMIT_MS,
      signal,
      clock,
      random,
      onOutput: (_name, bytes) => onOutput(bytes),
    },
  );
  greeted.catch(() => undefined);
  await machine.resume();
  const guest = await greeted;
  const { warnings } = guest.session.welcome;
  if (warnings.length > 0) throw new Error(`the guest's agent could not make it right: ${warnings.join('; ')}`);
  return guest;
}
