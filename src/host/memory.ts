/**
 * Another process's memory: which pages of a privately mapped file it has changed, and their bytes.
 * Sources: proc(5) (`maps`, `mem`), Documentation/admin-guide/mm/pagemap.rst of the kernel.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

export const PAGE_BYTES = 4096;

/** A stretch of a process's address space that maps the guest's memory file privately. */
export interface MemoryMapping {
  /** Address in the process. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
  /** Where in the file, which is where in the guest's memory, it begins. */
  readonly fileOffset: number;
}

/** A run of consecutive guest pages. */
export interface PageRun {
  /** Number of the first page in the guest's memory file. */
  readonly first: number;
  readonly count: number;
}

const ENTRY_BYTES = 8;
const SCAN_PAGES = 128 * 1024;
/** Bits 63 (present) and 62 (swapped) in the upper half of an entry. */
const HELD = 0xc0000000;
/** Bit 61: file page or shared anonymous. */
const FILE_PAGE = 0x20000000;

/**
 * The private, writable mappings of `path` in a process, in order of the file.
 * @throws Error where the process is gone or may not be read
 */
export function mappingsOf(pid: number, path: string): MemoryMapping[] {
  const mappings: MemoryMapping[] = [];
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw-p ([0-9a-f]+) \S+ \d+\s+(.*)$/.exec(line);
    if (match === null || match[4] !== path) continue;
    const address = Number.parseInt(match[1]!, 16);
    mappings.push({ address, length: Number.parseInt(match[2]!, 16) - address, fileOffset: Number.parseInt(match[3]!, 16) });
  }
  return mappings.sort((a, b) => a.fileOffset - b.fileOffset);
}

/** The runs of pages that the process holds privately: present or swapped, and not backed by the file. */
export function privateRuns(pid: number, mappings: readonly MemoryMapping[]): PageRun[] {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    return mappings.flatMap((mapping) => [...runsOf(pagemap, mapping)]);
  } finally {
    closeSync(pagemap);
  }
}

function* runsOf(pagemap: number, mapping: MemoryMapping): Generator<PageRun> {
  const pages = mapping.length / PAGE_BYTES;
  const firstPage = mapping.fileOffset / PAGE_BYTES;
  const entries = new Uint32Array(Math.min(SCAN_PAGES, pages) * 2);
  const bytes = Buffer.from(entries.buffer);
  let runStart = -1;
  for (let page = 0; page < pages; page += SCAN_PAGES) {
    const wanted = Math.min(SCAN_PAGES, pages - page);
    const position = (mapping.address / PAGE_BYTES + page) * ENTRY_BYTES;
    const got = readSync(pagemap, bytes, 0, wanted * ENTRY_BYTES, position);
    if (got !== wanted * ENTRY_BYTES) throw new Error(`pagemap of a running process ended early at page ${page}`);
    for (let index = 0; index < wanted; index += 1) {
      if (index % SKIP_PAGES === 0 && runStart < 0 && index + SKIP_PAGES <= wanted && isUntouched(bytes, index * ENTRY_BYTES)) {
        index += SKIP_PAGES - 1;
        continue;
      }
      const high = entries[index * 2 + 1]!;
      const isPrivate = (high & HELD) !== 0 && (high & FILE_PAGE) === 0;
      if (isPrivate === (runStart >= 0)) continue;
      if (!isPrivate) yield { first: firstPage + runStart, count: page + index - runStart };
      runStart = isPrivate ? page + index : -1;
    }
  }
  if (runStart >= 0) yield { first: firstPage + runStart, count: pages - runStart };
}

/** Most of a guest's memory was never touched: whole stretches of such entries are passed over by one comparison. */
const SKIP_PAGES = 512;
const UNTOUCHED = [0n, 1n << 55n].map((entry) => {
  // Bit 55, soft-dirty, is set for all of a mapping that is new.
  const entries = new BigUint64Array(SKIP_PAGES).fill(entry);
  return Buffer.from(entries.buffer);
});

function isUntouched(entries: Buffer, offset: number): boolean {
  const length = SKIP_PAGES * ENTRY_BYTES;
  return UNTOUCHED.some((untouched) => untouched.compare(entries, offset, offset + length) === 0);
}

/** What a process holds that is in no file, in bytes: proc(5), `RssAnon` and `VmSwap`, counters that cost no walk over its pages. */
export function anonymousBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0);
  return (kib('RssAnon') + kib('VmSwap')) * 1024;
}

/** The address in the process of a guest page. */
export function addressOf(mappings: readonly MemoryMapping[], page: number): number {
  const offset = page * PAGE_BYTES;
  const mapping = mappings.find((m) => offset >= m.fileOffset && offset < m.fileOffset + m.length);
  if (mapping === undefined) throw new Error(`guest page ${page} is not mapped`);
  return mapping.address + (offset - mapping.fileOffset);
}
