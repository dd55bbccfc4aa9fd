/** A suspended microVM on disk: one complete generation, written beside the one before and committed by its manifest. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import type { DiskSpace } from '../host/disk-space.ts';
import { anonymousBytes } from '../host/memory.ts';
import { hostBootId } from '../host/process.ts';
import type { Files } from '../lib/files.ts';
import { StepTimer } from '../lib/step-timer.ts';
import type { Machine, PlacementKey } from '../vmm/driver.ts';
import { shortName, type DataLayout } from './data-layout.ts';
import { digestOf, requireIntact, requireSize } from './kept-files.ts';
import {
  belongsElsewhere,
  checkPlacement,
  isUnchanged,
  readGenerationManifest,
  scratchFingerprint,
  writeManifest,
  type GenerationManifest,
  type NewGenerationManifest,
} from './manifests.ts';
import { sealMemory } from './checked-memory.ts';
import type { CaptureJob, CaptureResult } from './memory-diff.ts';
import type { MemoryWorkers } from './memory-workers.ts';
import type { RestorableSnapshot } from './snapshots.ts';

/** Which generation of which microVM. */
export interface GenerationId {
  readonly microvmId: string;
  readonly snapshotId: string;
  readonly generation: number;
}

export interface SaveRequest {
  readonly id: GenerationId;
  readonly machine: Machine;
  readonly agentSecret: string;
  readonly snapshot: RestorableSnapshot;
}

/** Measured: 20 KB. Manifest, folder and the agent's secret are in it too. */
const DEVICE_STATE_BYTES = 1024 ** 2;

export class Generations {
  readonly #layout: DataLayout;
  readonly #files: Files;
  readonly #workers: MemoryWorkers;
  readonly #space: DiskSpace;

  constructor({ layout, files, workers, space }: { layout: DataLayout; files: Files; workers: MemoryWorkers; space: DiskSpace }) {
    this.#layout = layout;
    this.#files = files;
    this.#workers = workers;
    this.#space = space;
  }

  /**
   * Writes a paused machine as a generation. Where this returns, it survives the loss of power.
   * @throws LullError insufficient-capacity, and nothing is written, where the disk has too little room for it
   */
  async save(request: SaveRequest): Promise<{ capture: CaptureResult; deviceStateBytes: number; steps: StepTimer['steps'] }> {
    const { id, machine } = request;
    const { microvmId, snapshotId, generation } = id;
    const files = this.#layout.generation(microvmId, generation);
    const { scratch, dir } = this.#layout.microvm(microvmId);
    const { driver, manifest: image } = request.snapshot;
    const { pageStructs, guestMemoryMib } = image;
    const timer = new StepTimer();
    const regions = driver.ramRegions(guestMemoryMib);
    const job: CaptureJob = {
      pid: machine.identity.pid,
      mappings: machine.mappings(),
      imagePath: this.#layout.snapshot(snapshotId).memory,
      imageExtents: image.memoryExtents,
      ...(pageStructs === undefined ? {} : { free: { pageStructs, regions } }),
      receive: { queues: await machine.receiveQueues(), regions },
      outPath: files.memoryDiff,
    };
    using _room = await this.#reserve(dir, job);
    await this.#files.makeNewFolder(files.dir);
    // The disk is flushed while memory is read: they do not touch each other.
    const flushed = timer.time('flush disk', () => this.#files.sync(scratch));
    flushed.catch(() => undefined);
    await timer.time('device state', () => machine.saveDeviceState(files.deviceState));
    const capture = await timer.time('memory', () => this.#workers.run('capture', job));
    await flushed;
    const deviceState = await digestOf(files.deviceState);
    await timer.time('commit', async () => {
      const sha256 = await sealMemory(files.memoryDiff, { workers: this.#workers, files: this.#files });
      for (const path of [files.deviceState, files.dir]) await this.#files.sync(path);
      const manifest: NewGenerationManifest = {
        microvmId,
        generation,
        snapshotId,
        placement: driver.placement,
        agentSecret: request.agentSecret,
        files: { deviceState, memoryDiff: { sizeBytes: capture.sizeBytes, sha256 } },
        scratch: await scratchFingerprint(scratch),
        hostBootId: hostBootId(),
      };
      await writeManifest(this.#files, files.manifest, manifest);
      for (const path of [dir, this.#layout.microvmsDir]) await this.#files.sync(path);
    });
    return { capture, deviceStateBytes: deviceState.sizeBytes, steps: timer.steps };
  }

  /** Room for all that the process holds, which costs nothing to know; where there is less, for what may differ from the image. */
  async #reserve(dir: string, job: CaptureJob): Promise<Disposable> {
    const taken = await this.#space.take(dir, anonymousBytes(job.pid) + DEVICE_STATE_BYTES);
    return taken ?? this.#space.reserve(dir, (await this.#workers.run('bound', job)) + DEVICE_STATE_BYTES, 'suspend it');
  }

  /**
   * The manifest of a complete generation whose device state is intact (the memory's checksum is compared while it is applied),
   * and whose disk is still the one that its memory belongs to.
   * @param here of the driver that is to restore it
   * @throws LullError internal that names what is missing, damaged, of another microVM, image or generation, or of another kind of machine
   */
  async load(id: GenerationId, here: PlacementKey): Promise<GenerationManifest> {
    const manifest = await this.#intact(id.microvmId, id.generation);
    checkPlacement(manifest.placement, here);
    if (manifest.snapshotId !== id.snapshotId) throw belongsElsewhere(this.#layout.generation(id.microvmId, id.generation).manifest, 'image');
    const { scratch } = this.#layout.microvm(id.microvmId);
    if (!(await isUnchanged(scratch, manifest.scratch))) {
      throw new LullError('internal', `${shortName(scratch)} is missing, or was written to after the MicroVM fell asleep`);
    }
    return manifest;
  }

  /** True where every file of the generation is what its manifest says. */
  async verify(microvmId: string, generation: number): Promise<boolean> {
    try {
      const manifest = await this.#intact(microvmId, generation);
      const path = this.#layout.generation(microvmId, generation).memoryDiff;
      return (await this.#workers.run('hash', { path })) === manifest.files.memoryDiff.sha256;
    } catch {
      return false;
    }
  }

  /** True where the scratch disk is still the one that the generation's memory belongs to, on this boot of the host. */
  async untouchedSince(microvmId: string, generation: number): Promise<boolean> {
    try {
      const manifest = await readGenerationManifest(this.#layout.generation(microvmId, generation).manifest, { microvmId, generation });
      return manifest.hostBootId === hostBootId() && (await isUnchanged(this.#layout.microvm(microvmId).scratch, manifest.scratch));
    } catch {
      return false;
    }
  }

  /** Removes one generation so that no crash brings it back: the manifest goes first. */
  async void(microvmId: string, generation: number): Promise<void> {
    const files = this.#layout.generation(microvmId, generation);
    await this.#files.remove(files.manifest);
    await this.#files.sync(files.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await this.#files.removeTree(files.dir);
  }

  /** Removes every generation but one. */
  async keepOnly(microvmId: string, generation: number): Promise<void> {
    for (const other of await this.#others(microvmId, generation)) await this.void(microvmId, other);
  }

  /** {@link keepOnly}, and what was written under a temporary name goes too. @returns the names of what was removed */
  async tidy(microvmId: string, generation: number): Promise<readonly string[]> {
    const { dir } = this.#layout.microvm(microvmId);
    const others = await this.#others(microvmId, generation);
    for (const other of others) await this.void(microvmId, other);
    const temporary = (await namesIn(dir)).filter((name) => name.endsWith('.tmp'));
    for (const name of temporary) await this.#files.remove(join(dir, name));
    return [...others.map((other) => `gen-${other}`), ...temporary];
  }

  /** A manifest that belongs here, its device state whole, its memory of the right length. */
  async #intact(microvmId: string, generation: number): Promise<GenerationManifest> {
    const files = this.#layout.generation(microvmId, generation);
    const manifest = await readGenerationManifest(files.manifest, { microvmId, generation });
    await requireIntact(files.deviceState, manifest.files.deviceState);
    await requireSize(files.memoryDiff, manifest.files.memoryDiff);
    return manifest;
  }

  async #others(microvmId: string, generation: number): Promise<readonly number[]> {
    const numbers = (await namesIn(this.#layout.microvm(microvmId).dir)).map((name) => /^gen-(\d+)$/.exec(name)?.[1]);
    return numbers.filter((number) => number !== undefined).map(Number).filter((number) => number !== generation);
  }
}

/** None where the folder is not there. */
const namesIn = (dir: string) =>
  readdir(dir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
