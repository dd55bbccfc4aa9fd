/** The one boot in the life of an image: kernel, agent, application, and the snapshot that every launch restores. */
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { enabledHook } from '../domain/hooks.ts';
import { BuildFailure, type HooksConfig } from '../domain/image.ts';
import type { Platform } from '../domain/platform.ts';
import type { Clock, Random } from '../domain/ports.ts';
import { extentsOf } from '../host/disk.ts';
import { endProcess } from '../host/process.ts';
import type { Files } from '../lib/files.ts';
import type { Driver } from '../vmm/driver.ts';
import { awaitReady } from './application-ready.ts';
import { greetBuildGuest, whileAlive, type BuildGuest } from './build-guest.ts';
import type { DataLayout } from './data-layout.ts';
import { writeManifest } from './manifests.ts';
import type { MemoryWorkers } from './memory-workers.ts';
import { pageStructsSchema } from './page-structs.ts';
import { validateSnapshot } from './snapshot-validation.ts';

/** Under emulation a boot takes 3 to 6 seconds on a quiet machine; one that hangs is tried once more. */
const BOOT_LIMIT_MS = 60_000;
const BOOT_TRIES = 2;
const SECRET_BYTES = 32;
const CALL_LIMIT_MS = 120_000;
const START = 'start application';
const SNAPSHOT = 'snapshot';

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
  /** Output for the build's log: of the application before the snapshot, and in the guest that validates it. */
  readonly onOutput: (source: 'application' | 'validate', bytes: Buffer) => void;
  readonly signal: AbortSignal;
}

export interface SnapshotMakerParts {
  readonly layout: DataLayout;
  readonly files: Files;
  readonly driver: Driver;
  readonly workers: MemoryWorkers;
  /** What guests are booted from. */
  readonly platform: Pick<Platform, 'kernel' | 'initramfs' | 'agent'>;
  /** The program `lull-host`. */
  readonly hostTool: string;
  /** Factor on every wait for the application (design, "Sizes"). */
  readonly timeoutScale: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}

/** A guest that has booted, and the secret that its agent has been given. */
interface Booted {
  readonly guest: BuildGuest;
  readonly secret: string;
}

export class SnapshotMaker {
  readonly #parts: SnapshotMakerParts;

  constructor(parts: SnapshotMakerParts) {
    this.#parts = parts;
  }

  /**
   * Boots, starts the application, waits until it is up, saves it, and asks a restored guest whether it is as it should be.
   * @returns the size of the memory snapshot, in bytes on disk
   * @throws BuildFailure with the step; the signal's reason where that ended it. The hypervisor is gone either way
   */
  async make(request: SnapshotRequest): Promise<{ memoryBytes: number; diskBytes: number }> {
    const runDir = this.#parts.layout.buildRunDir(request.snapshotId);
    try {
      const { secret, vmcoreinfo } = await this.#bootAndSave(request, runDir);
      const sizes = await request.step('seal', () => this.#seal(request, secret, vmcoreinfo));
      await this.#validate(request, secret);
      return sizes;
    } catch (error) {
      request.signal.throwIfAborted();
      throw error;
    } finally {
      await this.discard(request.snapshotId);
    }
  }

  /** Every version of which a process may be left. */
  left(): Promise<readonly string[]> {
    return this.#parts.layout.buildSocketFolders();
  }

  /** Ends what a build has left running, also where the end of its process had failed. */
  async discard(snapshotId: string): Promise<void> {
    const { layout, driver, files } = this.#parts;
    const runDir = layout.buildRunDir(snapshotId);
    for (const identity of await driver.processesBelow(runDir)) await endProcess(identity, files.effects);
    await files.removeTree(runDir);
  }

  async #bootAndSave(request: SnapshotRequest, runDir: string): Promise<{ secret: string; vmcoreinfo: string }> {
    const { guest, secret } = await request.step('boot', () => this.#boot(request, runDir));
    await using _ending = guest;
    await request.step(START, () => this.#startApplication(request, guest));
    const { signal } = request;
    // One that dies until it is frozen is not worth a snapshot.
    const save = () => whileAlive(guest, { step: SNAPSHOT, signal }, this.#save(request, guest));
    return { secret, vmcoreinfo: await request.step(SNAPSHOT, save) };
  }

  async #validate({ hooks, snapshotId, guestMemoryMib, vcpus, signal, step, onOutput }: SnapshotRequest, agentSecret: string): Promise<void> {
    const enabled = enabledHook(hooks, 'validate');
    if (enabled === undefined) return;
    const validation = { snapshotId, guestMemoryMib, vcpus, agentSecret, enabled, signal, onOutput: (bytes: Buffer) => onOutput('validate', bytes) };
    await step('validate', () => validateSnapshot(this.#parts, validation));
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
    const { driver, layout, platform, clock, random } = this.#parts;
    const files = layout.snapshot(request.snapshotId);
    await this.discard(request.snapshotId);
    await this.#parts.files.makeFolder(runDir);
    await this.#parts.files.remove(files.memory);
    const machine = await driver.boot({
      guestMemoryMib: request.guestMemoryMib,
      vcpus: request.vcpus,
      memoryPath: files.memory,
      rootDiskPath: files.rootDisk,
      scratchPath: files.scratch,
      runDir,
      network: { kind: 'none' },
      kernelPath: platform.kernel.path,
      initramfsPath: platform.initramfs.path,
      consolePath: `${files.dir}/console.log`,
    });
    const secret = random.bytes(SECRET_BYTES).toString('hex');
    try {
      const guest = await greetBuildGuest(
        { machine, channel: await machine.dial() },
        {
          secret: '',
          nextSecret: secret,
          restore: { resetConnections: false },
          timeoutMs: BOOT_LIMIT_MS,
          signal: request.signal,
          clock,
          random,
          onOutput: (_name, bytes) => request.onOutput('application', bytes),
        },
      );
      return { guest, secret };
    } catch (error) {
      await machine.kill();
      const console = await readFile(`${files.dir}/console.log`, 'utf8').catch(() => '');
      throw new Error(`the guest did not come up: ${console.trim().split('\n').at(-1) ?? ''}`, { cause: error });
    }
  }

  async #startApplication({ hooks, signal, application }: SnapshotRequest, guest: BuildGuest): Promise<void> {
    const { exposedPorts, ...start } = application;
    const { session } = guest;
    await session.call('start', start, { timeoutMs: CALL_LIMIT_MS, signal }).catch((error: unknown) => {
      throw new BuildFailure('APPLICATION_FAILED', START, {
        reason: `The application could not be started: ${error instanceof Error ? error.message : String(error)}`,
        cause: error,
      });
    });
    const ready = awaitReady({ session, exposedPorts, hooks, step: START, signal, timeoutScale: this.#parts.timeoutScale });
    await whileAlive(guest, { step: START, signal }, ready);
  }

  /** @returns where the guest's kernel describes itself */
  async #save({ snapshotId, signal }: SnapshotRequest, { session, machine }: BuildGuest): Promise<string> {
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
    const { layout, workers, hostTool, driver, platform, clock } = this.#parts;
    const files = layout.snapshot(request.snapshotId);
    const paths = { memory: files.memory, deviceState: files.deviceState, rootDisk: files.rootDisk, scratch: files.scratch };
    const memoryExtents = await extentsOf(hostTool, files.memory);
    const scratchExtents = await extentsOf(hostTool, files.scratch);
    const entry = async (path: string, extents?: [number, number][]) => {
      const isReadOnly = path !== paths.memory || driver.opensMemoryReadOnly;
      await this.#parts.files.chmod(path, isReadOnly ? 0o444 : 0o600);
      const sha256 = await workers.run('hash', { path, ...(extents === undefined ? {} : { extents }) });
      return { sizeBytes: (await stat(path)).size, sha256 };
    };
    const regions = driver.ramRegions(request.guestMemoryMib);
    const found = await workers.run('findPageStructs', { path: files.memory, regions, vmcoreinfo });
    // It comes from guest memory: what the manifest could not be read back with is not written into it.
    const { data: pageStructs } = pageStructsSchema.safeParse(found);
    for (const path of [...Object.values(paths), files.dir]) await this.#parts.files.sync(path);
    await writeManifest(this.#parts.files, files.manifest, {
      snapshotId: request.snapshotId,
      bootedFrom: { kernel: platform.kernel.id, initramfs: platform.initramfs.id, agent: platform.agent.id },
      placement: driver.placement,
      guestMemoryMib: request.guestMemoryMib,
      vcpus: request.vcpus,
      agentSecret,
      memoryExtents,
      scratchExtents,
      ...(pageStructs === undefined ? {} : { pageStructs }),
      files: {
        memory: await entry(paths.memory, memoryExtents),
        deviceState: await entry(paths.deviceState),
        rootDisk: await entry(paths.rootDisk),
        scratch: await entry(paths.scratch, scratchExtents),
      },
      createdAtMs: clock.nowMs(),
    });
    await this.#parts.files.sync(dirname(files.dir));
    const sum = (extents: [number, number][]) => extents.reduce((bytes, [, length]) => bytes + length, 0);
    return { memoryBytes: sum(memoryExtents), diskBytes: sum(scratchExtents) };
  }
}
