/** Every byte of snapshots and generations against their manifests (`lull verify`). */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FileFinding, Inspection, Sleeper } from '../domain/integrity.ts';
import { extentsOf } from '../host/disk.ts';
import type { DataLayout } from './data-layout.ts';
import { isUnchanged, readGenerationManifest, readSnapshotManifest, type FileEntry } from './manifests.ts';
import type { Extent } from './memory-diff.ts';
import { MemoryWorkers } from './memory-workers.ts';

export class FileInspection implements Inspection {
  readonly #layout: DataLayout;
  readonly #hostTool: string;
  /** A thread of its own: no wake waits behind gigabytes. */
  readonly #workers = new MemoryWorkers({ threads: 1 });

  /** @param parts.hostTool the program `lull-host` */
  constructor({ layout, hostTool }: { layout: DataLayout; hostTool: string }) {
    this.#layout = layout;
    this.#hostTool = hostTool;
  }

  async *snapshot(snapshotId: string): AsyncIterable<FileFinding> {
    const files = this.#layout.snapshot(snapshotId);
    const manifest = await finding(files.manifest, () => readSnapshotManifest(files.manifest, snapshotId));
    yield manifest.finding;
    if (manifest.value === undefined) return;
    const { files: expected, memoryExtents } = manifest.value;
    const scratchExtents = manifest.value.version === 1 ? undefined : manifest.value.scratchExtents;
    yield await this.#compared(files.deviceState, expected.deviceState);
    yield await this.#compared(files.rootDisk, expected.rootDisk);
    yield await this.#comparedSparse(files.scratch, expected.scratch, scratchExtents);
    yield await this.#comparedSparse(files.memory, expected.memory, memoryExtents);
  }

  async *generation(sleeper: Sleeper): AsyncIterable<FileFinding> {
    const files = this.#layout.generation(sleeper.microvmId, sleeper.generation);
    const manifest = await finding(files.manifest, () => readGenerationManifest(files.manifest, sleeper));
    yield manifest.finding;
    if (manifest.value === undefined) return;
    const { files: expected, scratch: disk } = manifest.value;
    yield await this.#compared(files.deviceState, expected.deviceState);
    yield await this.#compared(files.memoryDiff, expected.memoryDiff);
    const { scratch } = this.#layout.microvm(sleeper.microvmId);
    const now = await finding(scratch, async () => {
      if (!(await isUnchanged(scratch, disk))) throw new Error('was written to after the microVM fell asleep');
    });
    yield now.finding;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workers[Symbol.asyncDispose]();
  }

  async #compared(path: string, expected: FileEntry): Promise<FileFinding> {
    return (await finding(path, () => this.#requireBytes(path, expected))).finding;
  }

  /** @param extents what was hashed; what is not a hole today where that was not written down */
  async #comparedSparse(path: string, expected: FileEntry, extents?: readonly Extent[]): Promise<FileFinding> {
    const compare = async () => {
      const present = await extentsOf(this.#hostTool, path);
      const hashed = extents ?? present;
      await this.#requireBytes(path, expected, hashed);
      const isZero = await this.#workers.run('isZero', { path, extents: outside(present, hashed) });
      if (!isZero) throw new Error(OTHER_BYTES);
    };
    return (await finding(path, compare)).finding;
  }

  async #requireBytes(path: string, { sizeBytes, sha256 }: FileEntry, extents?: readonly Extent[]): Promise<void> {
    const { size } = await stat(path);
    if (size !== sizeBytes) throw new Error(`has ${size} bytes, not ${sizeBytes}`);
    const found = await this.#workers.run('hash', { path, ...(extents === undefined ? {} : { extents }) });
    if (found !== sha256) throw new Error(OTHER_BYTES);
  }
}

const OTHER_BYTES = 'has other bytes than were written';

/** What became of looking at a file: a failure is its fault. */
async function finding<T>(path: string, look: () => Promise<T>): Promise<{ finding: FileFinding; value?: T }> {
  const found = await stat(path).catch(() => undefined);
  const about = { file: basename(path), sizeBytes: found?.size ?? 0 };
  if (found === undefined) return { finding: { ...about, fault: 'is missing' } };
  try {
    return { value: await look(), finding: { ...about, fault: null } };
  } catch (error) {
    return { finding: { ...about, fault: error instanceof Error ? error.message : String(error) } };
  }
}

/** What of `present` is in none of `hashed`; both in ascending order. */
export function outside(present: readonly Extent[], hashed: readonly Extent[]): Extent[] {
  const rest: Extent[] = [];
  for (const [offset, length] of present) {
    let from = offset;
    for (const [start, size] of hashed) {
      if (start + size <= from) continue;
      if (start >= offset + length) break;
      if (start > from) rest.push([from, start - from]);
      from = start + size;
    }
    if (from < offset + length) rest.push([from, offset + length - from]);
  }
  return rest;
}
