/**
 * The memory of a suspended microVM: what differs from its image, and nothing else. The functions here are synchronous and
 * run on a worker thread (`memory-worker.ts`).
 *
 * File format, version 1, little endian: the kept pages one after the other; an index of runs, 12 bytes each (u32 first guest
 * page, u32 number of pages, u32 kind: 0 zeros, 1 the next kept pages); a trailer of 32 bytes (8 bytes `LULLDIF1`, u32 number of runs,
 * u32 number of kept pages, 16 bytes zero). A page that is in no run is the image's.
 */
import { shortName } from './data-layout.ts';
import { FreePages } from './free-pages.ts';
import type { PageStructs } from './page-structs.ts';
import { receivePages } from './receive-buffers.ts';
import type { RamRegion, Virtqueue } from '../vmm/driver.ts';
import { addressOf, PAGE_BYTES, privateRuns, type MemoryMapping, type PageRun } from '../host/memory.ts';
import { openedFile, readAt, sizeOfOpen, writeAt } from '../host/positioned-file.ts';

const CHUNK_PAGES = 256;
const RUN_BYTES = 12;
const TRAILER_BYTES = 32;
const MAGIC = Buffer.from('LULLDIF1');
const ZEROS = Buffer.alloc(CHUNK_PAGES * PAGE_BYTES);

const KIND_ZEROS = 0;
const KIND_KEPT = 1;

/** Bytes `[offset, offset + length)` of the image's memory file that are not a hole. */
export type Extent = readonly [offset: number, length: number];

export interface CaptureJob {
  readonly pid: number;
  readonly mappings: readonly MemoryMapping[];
  readonly imagePath: string;
  readonly imageExtents: readonly Extent[];
  readonly outPath: string;
  /** How to tell free pages, which nobody misses; every page is looked at without. */
  readonly free?: { readonly pageStructs: PageStructs; readonly regions: readonly RamRegion[] };
  /** Where to find the pages that devices will write into before anybody reads them. */
  readonly receive?: { readonly queues: readonly Virtqueue[]; readonly regions: readonly RamRegion[] };
}

export interface CaptureResult {
  readonly sizeBytes: number;
  /** Pages the process held privately and that are neither free in the guest nor a device's to write: what had to be looked at. */
  readonly scannedPages: number;
  readonly keptPages: number;
  readonly zeroPages: number;
}

export interface ApplyJob {
  readonly pid: number;
  readonly mappings: readonly MemoryMapping[];
  readonly path: string;
}

interface Run extends PageRun {
  readonly kind: typeof KIND_ZEROS | typeof KIND_KEPT;
}

/** What {@link captureDiff} writes at most, in bytes: of pages that may differ from the image it is not known yet whether they do. */
export function boundDiff(job: CaptureJob): number {
  using memory = openedFile(`/proc/${job.pid}/mem`, 'r');
  using image = openedFile(job.imagePath, 'r');
  const runs = pagesToLookAt(job, { memory: memory.fd, image: image.fd });
  return runs.reduce((bytes, { count }) => bytes + count * (PAGE_BYTES + RUN_BYTES), TRAILER_BYTES);
}

/** Writes what a paused process's memory differs from its image; the caller makes it durable. */
export function captureDiff(job: CaptureJob): CaptureResult {
  using memory = openedFile(`/proc/${job.pid}/mem`, 'r');
  using image = openedFile(job.imagePath, 'r');
  using out = openedFile(job.outPath, 'wx');
  const writer = new DiffWriter(out.fd);
  const isHole = holesOf(job.imageExtents);
  const own = Buffer.allocUnsafe(CHUNK_PAGES * PAGE_BYTES);
  const theirs = Buffer.allocUnsafe(CHUNK_PAGES * PAGE_BYTES);
  let scannedPages = 0;
  for (const chunk of chunksOf(pagesToLookAt(job, { memory: memory.fd, image: image.fd }))) {
    const bytes = chunk.count * PAGE_BYTES;
    readAt(memory.fd, own.subarray(0, bytes), addressOf(job.mappings, chunk.first));
    const hole = isHole(chunk.first * PAGE_BYTES, bytes);
    if (!hole) readAt(image.fd, theirs.subarray(0, bytes), chunk.first * PAGE_BYTES);
    writer.add(chunk, own, hole ? ZEROS : theirs);
    scannedPages += chunk.count;
  }
  return { ...writer.finish(), scannedPages };
}

/** What the process holds privately, without what is free in the guest or a device's to write. */
function pagesToLookAt({ pid, mappings, free, receive }: CaptureJob, { memory, image }: { memory: number; image: number }): readonly PageRun[] {
  const held = privateRuns(pid, mappings);
  const readNow = (into: Buffer, offset: number) => readAt(memory, into, addressOf(mappings, offset / PAGE_BYTES));
  const readImage = (into: Buffer, offset: number) => readAt(image, into, offset);
  const used = free === undefined ? held : new FreePages({ ...free, readNow, readImage }).without(held);
  return [...(receive === undefined ? used : without(used, receivePages({ ...receive, readNow })))];
}

/**
 * Writes a diff's pages into a fresh process's private mapping of the image.
 * @throws Error where the file cannot be what was written (its checksum is `checked-memory.ts`'s business); the process must then be abandoned, it may hold part of it
 */
export function applyDiff(job: ApplyJob): void {
  using memory = openedFile(`/proc/${job.pid}/mem`, 'r+');
  using diff = openedFile(job.path, 'r');
  const { runs, keptPages } = readIndex(diff.fd, job);
  const buffer = Buffer.allocUnsafe(CHUNK_PAGES * PAGE_BYTES);
  let position = 0;
  for (const run of runs) {
    for (const chunk of chunksOf(mappedParts(run, job.mappings))) {
      const bytes = chunk.count * PAGE_BYTES;
      const pages = (run.kind === KIND_ZEROS ? ZEROS : buffer).subarray(0, bytes);
      if (run.kind === KIND_KEPT) {
        readAt(diff.fd, pages, position);
        position += bytes;
      }
      writeAt(memory.fd, pages, addressOf(job.mappings, chunk.first));
    }
  }
  if (position !== keptPages * PAGE_BYTES) throw damaged(job.path);
}

/** Classifies pages and streams the kept ones to the file. */
class DiffWriter {
  readonly #out: number;
  readonly #runs: { first: number; count: number; kind: Run['kind'] }[] = [];
  #keptPages = 0;
  #zeroPages = 0;
  #sizeBytes = 0;

  constructor(out: number) {
    this.#out = out;
  }

  /** Takes the pages of one chunk; `image` holds the image's bytes of the same pages. */
  add(chunk: PageRun, own: Buffer, image: Buffer): void {
    let keptFrom = -1;
    for (let index = 0; index <= chunk.count; index += 1) {
      const kind = index === chunk.count ? undefined : kindOf(own, image, index * PAGE_BYTES);
      if (kind !== undefined) this.#note(chunk.first + index, kind);
      if (kind === KIND_KEPT && keptFrom < 0) keptFrom = index;
      if (kind !== KIND_KEPT && keptFrom >= 0) {
        this.#write(own.subarray(keptFrom * PAGE_BYTES, index * PAGE_BYTES));
        keptFrom = -1;
      }
    }
  }

  finish(): Omit<CaptureResult, 'scannedPages'> {
    const index = Buffer.alloc(this.#runs.length * RUN_BYTES + TRAILER_BYTES);
    this.#runs.forEach((run, position) => {
      index.writeUInt32LE(run.first, position * RUN_BYTES);
      index.writeUInt32LE(run.count, position * RUN_BYTES + 4);
      index.writeUInt32LE(run.kind, position * RUN_BYTES + 8);
    });
    const trailer = index.length - TRAILER_BYTES;
    MAGIC.copy(index, trailer);
    index.writeUInt32LE(this.#runs.length, trailer + 8);
    index.writeUInt32LE(this.#keptPages, trailer + 12);
    this.#write(index);
    return { keptPages: this.#keptPages, zeroPages: this.#zeroPages, sizeBytes: this.#sizeBytes };
  }

  #note(page: number, kind: Run['kind']): void {
    if (kind === KIND_KEPT) this.#keptPages += 1;
    else this.#zeroPages += 1;
    const last = this.#runs.at(-1);
    if (last !== undefined && last.kind === kind && last.first + last.count === page) last.count += 1;
    else this.#runs.push({ first: page, count: 1, kind });
  }

  #write(bytes: Buffer): void {
    writeAt(this.#out, bytes, this.#sizeBytes);
    this.#sizeBytes += bytes.length;
  }
}

/** What to do with the page at `offset`: nothing where it is the image's. */
function kindOf(own: Buffer, image: Buffer, offset: number): Run['kind'] | undefined {
  const end = offset + PAGE_BYTES;
  if (image.compare(own, offset, end, offset, end) === 0) return undefined;
  return ZEROS.compare(own, offset, end, 0, PAGE_BYTES) === 0 ? KIND_ZEROS : KIND_KEPT;
}

/** The same runs without some pages. */
function* without(runs: Iterable<PageRun>, pages: ReadonlySet<number>): Generator<PageRun> {
  for (const { first, count } of runs) {
    let start = first;
    for (let page = first; page < first + count; page += 1) {
      if (!pages.has(page)) continue;
      if (page > start) yield { first: start, count: page - start };
      start = page + 1;
    }
    if (start < first + count) yield { first: start, count: first + count - start };
  }
}

function* chunksOf(runs: Iterable<PageRun>): Generator<PageRun> {
  for (const run of runs) {
    for (let done = 0; done < run.count; done += CHUNK_PAGES) {
      yield { first: run.first + done, count: Math.min(CHUNK_PAGES, run.count - done) };
    }
  }
}

/** A run of the file cut where mappings end: neighbours in guest memory need not be neighbours in the process. */
function* mappedParts(run: PageRun, mappings: readonly MemoryMapping[]): Generator<PageRun> {
  const end = run.first + run.count;
  for (let first = run.first; first < end; ) {
    const offset = first * PAGE_BYTES;
    const mapping = mappings.find((m) => offset >= m.fileOffset && offset < m.fileOffset + m.length);
    // Where there is none, asking for the address says so.
    const count = mapping === undefined ? 1 : Math.min(end - first, (mapping.fileOffset + mapping.length - offset) / PAGE_BYTES);
    yield { first, count };
    first += count;
  }
}

/** Whether a stretch of the image's memory is all hole. Asked in ascending order, so one cursor is enough. */
function holesOf(extents: readonly Extent[]): (offset: number, length: number) => boolean {
  let cursor = 0;
  return (offset, length) => {
    while (cursor < extents.length && extents[cursor]![0] + extents[cursor]![1] <= offset) cursor += 1;
    const next = extents[cursor];
    return next === undefined || next[0] >= offset + length;
  };
}

function readIndex(diff: number, job: ApplyJob): { runs: Run[]; keptPages: number } {
  const size = sizeOfOpen(diff);
  if (size < TRAILER_BYTES) throw damaged(job.path);
  const trailer = Buffer.alloc(TRAILER_BYTES);
  readAt(diff, trailer, size - TRAILER_BYTES);
  const runCount = trailer.readUInt32LE(8);
  const keptPages = trailer.readUInt32LE(12);
  const wellFormed = trailer.subarray(0, 8).equals(MAGIC) && size === keptPages * PAGE_BYTES + runCount * RUN_BYTES + TRAILER_BYTES;
  if (!wellFormed) throw damaged(job.path);
  const tail = Buffer.alloc(runCount * RUN_BYTES + TRAILER_BYTES);
  readAt(diff, tail, keptPages * PAGE_BYTES);
  const guestPages = job.mappings.reduce((pages, mapping) => pages + mapping.length / PAGE_BYTES, 0);
  const runs = Array.from({ length: runCount }, (_, index): Run => {
    const [first, count, kind] = [0, 4, 8].map((at) => tail.readUInt32LE(index * RUN_BYTES + at)) as [number, number, number];
    if (count === 0 || first + count > guestPages || (kind !== KIND_ZEROS && kind !== KIND_KEPT)) throw damaged(job.path);
    return { first, count, kind };
  });
  return { runs, keptPages };
}

/** What is not what was written. */
export const damaged = (path: string) => new Error(`${shortName(path)} is damaged: its contents are not what was written`);
