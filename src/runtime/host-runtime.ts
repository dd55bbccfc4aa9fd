/**
 * MicroVMs on this host: what `control` orders, done with processes, memory and disks. Nothing durable is decided here; the
 * caller gives one order at a time for each microVM and commits between them.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { LullError } from '../domain/errors.ts';
import type { HookOutcome } from '../domain/hooks.ts';
import type { DiskFault, ProcessIdentity } from '../domain/microvm.ts';
import type { Egress } from '../domain/network-connector.ts';
import type { Clock, LaunchRequest, MicrovmRuntime, Random, RuntimeObserver, ShellSession, StepTimes, SuspendReport } from '../domain/ports.ts';
import { allocatedBytes, copySparse } from '../host/disk.ts';
import type { DiskSpace } from '../host/disk-space.ts';
import { endProcess, isRunning } from '../host/process.ts';
import type { Files } from '../lib/files.ts';
import { StepTimer } from '../lib/step-timer.ts';
import { AddressTakenError, type Drivers, type Machine, type NetworkAttachment, type RestoreSpec } from '../vmm/driver.ts';
import type { ApplicationLogs } from './application-logs.ts';
import type { DataLayout } from './data-layout.ts';
import { restoreMemory } from './checked-memory.ts';
import { Generations } from './generations.ts';
import { postHook, type HookCall } from './hook-call.ts';
import { Incarnation } from './incarnation.ts';
import type { SnapshotManifest } from './manifests.ts';
import type { MemoryWorkers } from './memory-workers.ts';
import type { RestorableSnapshot, Snapshots } from './snapshots.ts';

export interface RuntimeParts {
  readonly layout: DataLayout;
  readonly files: Files;
  readonly drivers: Drivers;
  readonly workers: MemoryWorkers;
  readonly space: DiskSpace;
  readonly snapshots: Snapshots;
  readonly logs: ApplicationLogs;
  readonly observer: RuntimeObserver;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
  /** How a microVM's network card is connected at each restore. */
  readonly network: (egress: Egress) => NetworkAttachment;
}

/** The agent's next secret, and folders. */
const WAKE_BYTES = 1024 ** 2;

export class HostRuntime implements MicrovmRuntime {
  readonly #parts: RuntimeParts;
  readonly #generations: Generations;
  readonly #live = new Map<string, Incarnation>();
  /** Whose image is which: needed to save what an earlier server started. */
  readonly #snapshotIds = new Map<string, string>();
  /** What it took to make each process, for the report of its launch or wake. */
  readonly #prepared = new WeakMap<Incarnation, StepTimes>();

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
    this.#generations = new Generations(parts);
  }

  async prepareLaunch(request: LaunchRequest): Promise<ProcessIdentity> {
    const { layout, snapshots, space } = this.#parts;
    const files = layout.microvm(request.microvmId);
    const { scratch } = layout.snapshot(request.snapshotId);
    const timer = new StepTimer();
    const snapshot = await snapshots.restorable(request.snapshotId);
    using _room = await space.reserve(layout.microvmsDir, await allocatedBytes(scratch), 'copy its disk');
    await this.#parts.files.makeFolder(files.dir);
    await timer.time('copy disk', () => copySparse(scratch, files.scratch, this.#parts.files.effects));
    const { deviceState } = layout.snapshot(request.snapshotId);
    const { machine, network } = await timer.time('start process', () => this.#prepare(request, snapshot, deviceState));
    await orEnd(machine, () => timer.time('device state', () => machine.loadDeviceState()));
    this.#prepared.set(this.#hold(request, machine, { secrets: [snapshot.manifest.agentSecret], network }), timer.steps);
    return machine.identity;
  }

  async prepareWake(request: LaunchRequest & { generation: number }): Promise<ProcessIdentity> {
    const { layout, snapshots, workers, space } = this.#parts;
    // It takes next to nothing itself; but on a full disk it would be stopped at its first write, and asleep it is safe.
    using _room = await space.reserve(layout.microvmsDir, WAKE_BYTES, 'wake it');
    const files = layout.generation(request.microvmId, request.generation);
    const timer = new StepTimer();
    const snapshot = await snapshots.restorable(request.snapshotId);
    const manifest = await this.#generations.load(request, snapshot.driver.placement);
    const { machine, network } = await timer.time('start process', () => this.#prepare(request, snapshot, files.deviceState));
    await orEnd(machine, async () => {
      // Pages first: loading device state already looks into the guest's memory.
      const { sha256 } = manifest.files.memoryDiff;
      const job = { pid: machine.identity.pid, mappings: machine.mappings(), path: files.memoryDiff };
      await timer.time('memory', () => restoreMemory(workers, job, sha256));
      await timer.time('device state', () => machine.loadDeviceState());
    });
    this.#prepared.set(this.#hold(request, machine, { secrets: [manifest.agentSecret], network }), timer.steps);
    return machine.identity;
  }

  async continue(microvmId: string): Promise<StepTimes> {
    const incarnation = this.#required(microvmId);
    const prepared = this.#prepared.get(incarnation) ?? [];
    return [...prepared, ...(await incarnation.continue())];
  }

  reconnect(microvmId: string): Promise<void> {
    return this.#required(microvmId).reconnect();
  }

  async saveGeneration(microvmId: string, generation: number): Promise<SuspendReport> {
    const incarnation = this.#required(microvmId);
    const snapshotId = this.#snapshotIds.get(microvmId)!;
    // Asked before anything is disturbed: one that could not be woken here is better left running.
    const snapshot = await this.#parts.snapshots.restorable(snapshotId);
    const quiesced = await incarnation.quiesce();
    const { capture, deviceStateBytes, steps } = await this.#generations.save({
      id: { microvmId, snapshotId, generation },
      machine: incarnation.machine,
      agentSecret: incarnation.secret,
      snapshot,
    });
    return {
      bytesWritten: capture.sizeBytes + deviceStateBytes,
      pages: capture.keptPages,
      zeroPages: capture.zeroPages,
      steps: [...quiesced, ...steps],
    };
  }

  async undoSuspend(microvmId: string, generation: number): Promise<void> {
    await this.#generations.void(microvmId, generation);
    await this.#required(microvmId).undoQuiesce();
  }

  async release(microvmId: string, generation: number): Promise<void> {
    await this.#end(microvmId);
    await this.#generations.keepOnly(microvmId, generation);
  }

  async abandonPrepared(microvmId: string): Promise<void> {
    await this.#end(microvmId);
  }

  async destroy(microvmId: string): Promise<void> {
    await this.#end(microvmId);
    await this.#parts.files.removeTree(this.#parts.layout.microvm(microvmId).dir);
    this.#snapshotIds.delete(microvmId);
    this.#parts.logs.letGo(microvmId);
  }

  async adopt(request: LaunchRequest & { process: ProcessIdentity }): Promise<boolean> {
    const { drivers, snapshots, layout } = this.#parts;
    const files = layout.microvm(request.microvmId);
    this.#snapshotIds.set(request.microvmId, request.snapshotId);
    try {
      const snapshot = await snapshots.load(request.snapshotId);
      const machine = await adoptPatiently(() => drivers.current.adopt(this.#spec(request, snapshot, NO_NETWORK), request.process), request.process);
      if (machine === undefined) return false;
      this.#hold(request, machine, { secrets: await Incarnation.keptSecrets(files.secret).catch(() => [snapshot.agentSecret]), network: NO_NETWORK });
      return true;
    } catch {
      return false;
    } finally {
      // One that runs but cannot be led is as good as gone, and must not write to its disk any more.
      if (!this.#live.has(request.microvmId)) await endProcess(request.process, this.#parts.files.effects);
    }
  }

  verifyGeneration(microvmId: string, generation: number): Promise<boolean> {
    return this.#generations.verify(microvmId, generation);
  }

  untouchedSince(microvmId: string, generation: number): Promise<boolean> {
    return this.#generations.untouchedSince(microvmId, generation);
  }

  async dial(microvmId: string, port: number, signal?: AbortSignal): Promise<Duplex> {
    return this.#required(microvmId).dial(port, signal);
  }

  async openShell(microvmId: string, signal?: AbortSignal): Promise<ShellSession> {
    return this.#required(microvmId).openShell(signal);
  }

  callHook(microvmId: string, hook: HookCall): Promise<HookOutcome> {
    return postHook(() => this.dial(microvmId, hook.port), hook);
  }

  logs(microvmId: string, options: { follow: boolean; signal: AbortSignal }): AsyncIterable<Buffer> {
    return this.#parts.logs.read(microvmId, options);
  }

  async sweep(known: ReadonlySet<string>): Promise<readonly string[]> {
    const { layout, drivers } = this.#parts;
    const folders = await readdir(layout.microvmsDir).catch(() => []);
    const strays = folders.filter((name) => name.startsWith('microvm-') && !known.has(name));
    const held = new Set([...this.#live.values()].map(({ machine }) => machine.identity.pid));
    for (const identity of await drivers.current.processesBelow(layout.runtimeFolder)) {
      if (!held.has(identity.pid)) await endProcess(identity, this.#parts.files.effects);
    }
    for (const microvmId of strays) await this.destroy(microvmId);
    await this.#sweepSockets();
    return strays;
  }

  diskFault(microvmId: string): DiskFault | undefined {
    return this.#live.get(microvmId)?.machine.diskFault;
  }

  diskStops(microvmId: string): number {
    return this.#live.get(microvmId)?.diskStops ?? 0;
  }

  goOn(microvmId: string): Promise<void> {
    return this.#required(microvmId).goOn();
  }

  holds(microvmId: string): boolean {
    return this.#live.has(microvmId);
  }

  async present(): Promise<readonly string[]> {
    const { layout } = this.#parts;
    const folders = (await readdir(layout.microvmsDir)).filter((name) => name.startsWith('microvm-'));
    return [...new Set([...folders, ...(await layout.socketFolders())])];
  }

  async tidy(microvmId: string, generation: number): Promise<readonly string[]> {
    const { runDir } = this.#parts.layout.microvm(microvmId);
    const removed: string[] = [];
    if (!this.#live.has(microvmId) && existsSync(runDir)) {
      await this.#end(microvmId);
      removed.push('process');
    }
    return [...removed, ...(await this.#generations.tidy(microvmId, generation))];
  }

  async detach(): Promise<void> {
    await Promise.all([...this.#live.values()].map((incarnation) => incarnation.detach()));
    this.#live.clear();
  }

  /** Folders of sockets whose process is gone, of builds too. */
  async #sweepSockets(): Promise<void> {
    const { layout } = this.#parts;
    const used = new Set([...this.#live.keys()].map((microvmId) => layout.microvm(microvmId).runDir));
    for (const name of await readdir(layout.runtimeFolder)) {
      const path = join(layout.runtimeFolder, name);
      if (!used.has(path)) await this.#parts.files.removeTree(path);
    }
  }

  async #prepare(request: LaunchRequest, { manifest, driver }: RestorableSnapshot, deviceStatePath: string): Promise<{ machine: Machine; network: NetworkAttachment }> {
    if (this.#live.has(request.microvmId)) throw new LullError('internal', `${request.microvmId} already has a process`);
    const { files } = this.#parts;
    for (let tries = 1; ; tries += 1) {
      const network = this.#parts.network(request.egress);
      const spec: RestoreSpec = { ...this.#spec(request, manifest, network), deviceStatePath };
      await files.removeTree(spec.runDir);
      await files.makeFolder(spec.runDir);
      try {
        return { machine: await driver.prepare(spec), network };
      } catch (error) {
        // Another server of this host has it: the next one is asked for.
        if (!(error instanceof AddressTakenError) || tries === ADDRESS_TRIES) throw error;
      }
    }
  }

  #spec({ microvmId, snapshotId }: LaunchRequest, snapshot: SnapshotManifest, network: NetworkAttachment) {
    const image = this.#parts.layout.snapshot(snapshotId);
    const files = this.#parts.layout.microvm(microvmId);
    return {
      guestMemoryMib: snapshot.guestMemoryMib,
      vcpus: snapshot.vcpus,
      memoryPath: image.memory,
      rootDiskPath: image.rootDisk,
      scratchPath: files.scratch,
      runDir: files.runDir,
      network,
    };
  }

  #hold({ microvmId, snapshotId }: LaunchRequest, machine: Machine, { secrets, network }: { secrets: readonly string[]; network: NetworkAttachment }): Incarnation {
    const incarnation = new Incarnation({
      machine,
      files: this.#parts.files,
      secrets,
      network,
      secretPath: this.#parts.layout.microvm(microvmId).secret,
      log: this.#parts.logs.hold(microvmId),
      clock: this.#parts.clock,
      random: this.#parts.random,
      onLost: () => {
        if (this.#live.get(microvmId) === incarnation) this.#parts.observer.agentLost(microvmId);
      },
      onExit: (exitCode) => {
        if (this.#live.get(microvmId) === incarnation) this.#parts.observer.applicationExited(microvmId, exitCode);
      },
      onDiskFault: () => this.#parts.observer.diskFailed(microvmId),
      onConnection: (service, connection) => this.#parts.observer.guestConnected(microvmId, service, connection),
    });
    this.#live.set(microvmId, incarnation);
    this.#snapshotIds.set(microvmId, snapshotId);
    void machine.exited.then(() => {
      if (!incarnation.isEnding) this.#parts.observer.vmmDied(microvmId, machine.identity);
    });
    return incarnation;
  }

  async #end(microvmId: string): Promise<void> {
    const { layout, files, drivers } = this.#parts;
    const { runDir } = layout.microvm(microvmId);
    const incarnation = this.#live.get(microvmId);
    this.#live.delete(microvmId);
    if (incarnation !== undefined) await incarnation.kill();
    // One that nobody leads any more may be there all the same, where its sockets are: its end had failed.
    else if (existsSync(runDir)) for (const identity of await drivers.current.processesBelow(runDir)) await endProcess(identity, files.effects);
    await files.removeTree(runDir);
  }

  #required(microvmId: string): Incarnation {
    const incarnation = this.#live.get(microvmId);
    if (incarnation === undefined) throw new LullError('internal', `${microvmId} has no process on this host`);
    return incarnation;
  }
}

/** Does the work; where it fails the machine is ended, since nobody else will know of it. */
async function orEnd(machine: Machine, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await machine.kill();
    throw error;
  }
}

/** One that is taken over keeps what its guest was given. */
const NO_NETWORK: NetworkAttachment = { kind: 'none' };
const ADDRESS_TRIES = 8;
const ADOPT_TRIES = 4;
const ADOPT_DELAY_MS = 500;

/** A process that lives and does not answer at once may be busy: only one that stays silent is given up. */
async function adoptPatiently(adopt: () => Promise<Machine | undefined>, identity: ProcessIdentity): Promise<Machine | undefined> {
  for (let tries = 1; ; tries += 1) {
    const machine = await adopt();
    if (machine !== undefined || tries === ADOPT_TRIES || !(await isRunning(identity))) return machine;
    await new Promise((resolve) => setTimeout(resolve, ADOPT_DELAY_MS));
  }
}
