/** The one boot in the life of an image: kernel, agent, application, and the snapshot that every launch restores. */
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BuildFailure, type HooksConfig } from '../domain/image.ts';
import { STATE_REASONS } from '../domain/microvm.ts';
import type { Clock, Random } from '../domain/ports.ts';
import { AgentSession } from '../guest/agent-session.ts';
import { extentsOf } from '../host/disk.ts';
import type { Driver, Machine } from '../vmm/driver.ts';
import { awaitReady } from './application-ready.ts';
import type { DataLayout } from './data-layout.ts';
import { writeManifest } from './manifests.ts';
import type { MemoryWorkers } from './memory-workers.ts';
import { pageStructsSchema } from './page-structs.ts';

/** Under emulation a boot takes 3 to 6 seconds on a quiet machine; one that hangs is tried once more. */
const BOOT_LIMIT_MS = 60_000;
const BOOT_TRIES = 2;
const SECRET_BYTES = 32;
const CALL_LIMIT_MS = 120_000;

/** What the application in the guest is: the agent's `start` call (docs/agent-protocol.md). */
export interface ApplicationSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: string;
  readonly hostname: string;
  readonly capabilities: 'default' | 'all';
  readonly exposedPorts: readonly number[];
}

export interface SnapshotRequest {
  /** Its folder holds `root.erofs` and `scratch.ext4` already. */
  readonly snapshotId: string;
  readonly guestMemoryMib: number;
  readonly vcpus: number;
  readonly application: ApplicationSpec;
  readonly hooks: HooksConfig | null;
  /** Runs one named step of the build, with its time in the log. */
  readonly step: <T>(name: string, work: () => Promise<T>) => Promise<T>;
  /** The application's output, for the build's log. */
  readonly onOutput: (bytes: Buffer) => void;
  readonly signal: AbortSignal;
}

export interface SnapshotMakerParts {
  readonly layout: DataLayout;
  readonly driver: Driver;
  readonly workers: MemoryWorkers;
  readonly kernelPath: string;
  readonly initramfsPath: string;
  /** The program `lull-host`. */
  readonly hostTool: string;
  /** Factor on every wait for the application (design, "Sizes"). */
  readonly timeoutScale: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}

/** A guest that has booted, with the session to its agent. */
interface Booted {
  readonly machine: Machine;
  readonly session: AgentSession;
  readonly secret: string;
  /** Resolves with the exit code when the application's first process ends. */
  readonly exited: Promise<number>;
}

export class SnapshotMaker {
  readonly #parts: SnapshotMakerParts;

  constructor(parts: SnapshotMakerParts) {
    this.#parts = parts;
  }

  /**
   * Boots, starts the application, waits until it is up, and saves it.
   * @returns the size of the memory snapshot, in bytes on disk
   * @throws BuildFailure with the step; the signal's reason where that ended it. The hypervisor is gone either way
   */
  async make(request: SnapshotRequest): Promise<{ memoryBytes: number; diskBytes: number }> {
    const runDir = `${this.#parts.layout.runtimeFolder}/${request.snapshotId}`;
    try {
      let vmcoreinfo = '';
      const booted = await request.step('boot', () => this.#boot(request, runDir));
      try {
        await request.step('start application', () => this.#startApplication(request, booted));
        vmcoreinfo = await request.step('snapshot', () => this.#save(request, booted));
      } finally {
        // First, so that nothing of the session's end can keep the hypervisor alive.
        await booted.machine.kill();
        await booted.session.close();
      }
      return await request.step('seal', () => this.#seal(request, booted.secret, vmcoreinfo));
    } catch (error) {
      request.signal.throwIfAborted();
      throw error;
    } finally {
      await rm(runDir, { recursive: true, force: true });
    }
  }

  async #boot(request: SnapshotRequest, runDir: string): Promise<Booted> {
    for (let tries = 1; ; tries += 1) {
      request.signal.throwIfAborted();
      try {
        return await this.#bootOnce(request, runDir);
      } catch (error) {
        if (tries < BOOT_TRIES && !request.signal.aborted) continue;
        throw new BuildFailure('INTERNAL_PLATFORM_ERROR', 'boot', { cause: error });
      }
    }
  }

  async #bootOnce(request: SnapshotRequest, runDir: string): Promise<Booted> {
    const { driver, layout, kernelPath, initramfsPath, clock, random } = this.#parts;
    const files = layout.snapshot(request.snapshotId);
    await rm(runDir, { recursive: true, force: true });
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    await rm(files.memory, { force: true });
    const machine = await driver.boot({
      guestMemoryMib: request.guestMemoryMib,
      vcpus: request.vcpus,
      memoryPath: files.memory,
      rootDiskPath: files.rootDisk,
      scratchPath: files.scratch,
      runDir,
      network: { kind: 'none' },
      kernelPath,
      initramfsPath,
      consolePath: `${files.dir}/console.log`,
    });
    const secret = random.bytes(SECRET_BYTES).toString('hex');
    const exited = Promise.withResolvers<number>();
    try {
      const session = await AgentSession.connect(await machine.dial(), {
        secret: '',
        nextSecret: secret,
        restore: { resetConnections: false },
        timeoutMs: BOOT_LIMIT_MS,
        signal: request.signal,
        clock,
        random,
        onOutput: (_name, bytes) => request.onOutput(bytes),
        onEvent: ({ exitCode, signal }) => exited.resolve(exitCode ?? 128 + (signal ?? 0)),
      });
      return { machine, session, secret, exited: exited.promise };
    } catch (error) {
      await machine.kill();
      const console = await readFile(`${files.dir}/console.log`, 'utf8').catch(() => '');
      throw new Error(`the guest did not come up: ${console.trim().split('\n').at(-1) ?? ''}`, { cause: error });
    }
  }

  async #startApplication(request: SnapshotRequest, booted: Booted): Promise<void> {
    const { hooks, signal } = request;
    const { exposedPorts, ...start } = request.application;
    const step = 'start application';
    await booted.session.call('start', start, { timeoutMs: CALL_LIMIT_MS, signal }).catch((error: unknown) => {
      throw new BuildFailure('APPLICATION_FAILED', step, {
        reason: `The application could not be started: ${error instanceof Error ? error.message : String(error)}`,
        cause: error,
      });
    });
    const exit = booted.exited.then((exitCode) => {
      throw new BuildFailure('APPLICATION_FAILED', step, { reason: STATE_REASONS.containerExited(exitCode) });
    });
    exit.catch(() => undefined);
    const gone = booted.machine.exited.then((said) => {
      throw new BuildFailure('INTERNAL_PLATFORM_ERROR', step, { cause: new Error(said) });
    });
    gone.catch(() => undefined);
    using abort = abortOf(signal);
    const ready = awaitReady({ session: booted.session, exposedPorts, hooks, signal, timeoutScale: this.#parts.timeoutScale });
    await Promise.race([abort.promise, ready, exit, gone]);
  }

  /** @returns where the guest's kernel describes itself */
  async #save({ snapshotId, signal }: SnapshotRequest, { session, machine }: Booted): Promise<string> {
    const files = this.#parts.layout.snapshot(snapshotId);
    const limits = { timeoutMs: CALL_LIMIT_MS, signal };
    const { vmcoreinfo } = await session.call('status', {}, limits);
    await session.call('freeze', {}, limits);
    await session.call('quiesce', {}, limits);
    await session.close();
    await machine.hungUp();
    await machine.pause();
    await machine.saveDeviceState(files.deviceState);
    return vmcoreinfo;
  }

  /** Makes the files immutable and durable; the manifest is the last of them. */
  async #seal(request: SnapshotRequest, agentSecret: string, vmcoreinfo: string): Promise<{ memoryBytes: number; diskBytes: number }> {
    const { layout, workers, hostTool, driver, clock } = this.#parts;
    const files = layout.snapshot(request.snapshotId);
    const paths = { memory: files.memory, deviceState: files.deviceState, rootDisk: files.rootDisk, scratch: files.scratch };
    const memoryExtents = await extentsOf(hostTool, files.memory);
    const scratchExtents = await extentsOf(hostTool, files.scratch);
    const entry = async (path: string, extents?: [number, number][]) => {
      const isReadOnly = path !== paths.memory || driver.opensMemoryReadOnly;
      await chmod(path, isReadOnly ? 0o444 : 0o600);
      const sha256 = await workers.run('hash', { path, ...(extents === undefined ? {} : { extents }) });
      return { sizeBytes: (await stat(path)).size, sha256 };
    };
    const regions = driver.ramRegions(request.guestMemoryMib);
    const found = await workers.run('findPageStructs', { path: files.memory, regions, vmcoreinfo });
    // It comes from guest memory: what the manifest could not be read back with is not written into it.
    const { data: pageStructs } = pageStructsSchema.safeParse(found);
    await workers.run('fsync', { paths: [...Object.values(paths), files.dir] });
    await writeManifest(files.manifest, {
      placement: driver.placement,
      guestMemoryMib: request.guestMemoryMib,
      vcpus: request.vcpus,
      agentSecret,
      memoryExtents,
      ...(pageStructs === undefined ? {} : { pageStructs }),
      files: {
        memory: await entry(paths.memory, memoryExtents),
        deviceState: await entry(paths.deviceState),
        rootDisk: await entry(paths.rootDisk),
        scratch: await entry(paths.scratch, scratchExtents),
      },
      createdAtMs: clock.nowMs(),
    });
    await workers.run('fsync', { paths: [dirname(files.dir)] });
    const sum = (extents: [number, number][]) => extents.reduce((bytes, [, length]) => bytes + length, 0);
    return { memoryBytes: sum(memoryExtents), diskBytes: sum(scratchExtents) };
  }
}

/** A promise that rejects with the signal's reason; disposing lets go of the signal. */
function abortOf(signal: AbortSignal): { promise: Promise<never> } & Disposable {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  const abort = (): void => reject(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return { promise, [Symbol.dispose]: () => signal.removeEventListener('abort', abort) };
}
