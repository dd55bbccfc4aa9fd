/** Which pages of a paused guest need not be saved because they are free: read from its own page array (`page-structs.ts`). */
import { PAGE_BYTES, type PageRun } from '../host/memory.ts';
import type { RamRegion } from '../vmm/driver.ts';
import { PAGES_IN_BLOCK, STRUCT_BYTES, type PageStructs } from './page-structs.ts';

/** The largest free block has 2^10 pages and is aligned to its size (MAX_ORDER of the kernel): a window of that many tells all. */
const MAX_ORDER = 10;
const WINDOW_PAGES = 1 << MAX_ORDER;
const STRUCTS_IN_PAGE = PAGE_BYTES / STRUCT_BYTES;
const WORD_BYTES = 4;
const STRUCT_WORDS = STRUCT_BYTES / WORD_BYTES;
const BLOCK_BYTES = PAGES_IN_BLOCK * STRUCT_BYTES;

const USED = 0;
/** First page of a free block: its structure holds the block's size and place in the lists. */
const FREE_HEAD = 1;
/** Any other page of a free block: nothing of its structure is ever looked at before it is set anew. */
const FREE_TAIL = 2;

/** Reads guest memory at an offset of the memory file: as it is in a process, or as it was in the image. */
export type ReadGuest = (into: Buffer, fileOffset: number) => void;

export interface FreePagesParts {
  readonly pageStructs: PageStructs;
  readonly regions: readonly RamRegion[];
  readonly readNow: ReadGuest;
  readonly readImage: ReadGuest;
}

/** Pages are counted in the memory file unless called physical. */
export class FreePages {
  readonly #regions: readonly RamRegion[];
  readonly #blocks: PageStructs['blocks'];
  readonly #now: PageStates;
  /** Apart from {@link #now}, so that each goes through the windows in order. */
  readonly #describedNow: PageStates;
  readonly #describedInImage: PageStates;

  constructor({ pageStructs, regions, readNow, readImage }: FreePagesParts) {
    this.#regions = regions;
    this.#blocks = pageStructs.blocks;
    this.#now = new PageStates(pageStructs, readNow);
    this.#describedNow = new PageStates(pageStructs, readNow);
    this.#describedInImage = new PageStates(pageStructs, readImage);
  }

  /** The same runs without what may be the image's bytes after a restore just as well. */
  *without(runs: Iterable<PageRun>): Generator<PageRun> {
    for (const run of runs) {
      let first = -1;
      const end = run.first + run.count;
      for (let page = run.first; page < end; page += 1) {
        const isNeeded = this.#now.at(this.#physical(page)) === USED && !this.#describesFreePages(page);
        if (isNeeded === (first >= 0)) continue;
        if (!isNeeded) yield { first, count: page - first };
        first = isNeeded ? page : -1;
      }
      if (first >= 0) yield { first, count: end - first };
    }
  }

  #physical(page: number): number {
    const offset = page * PAGE_BYTES;
    const region = this.#regions.find((r) => offset >= r.fileOffset && offset < r.fileOffset + r.length);
    if (region === undefined) throw new Error(`guest page ${page} is beyond its memory`);
    return (offset - region.fileOffset + region.physical) / PAGE_BYTES;
  }

  /**
   * True for a page of the array itself whose structures all belong to insides of free blocks, now and in the image: what
   * differs in them is left over from earlier use.
   */
  #describesFreePages(page: number): boolean {
    const offset = page * PAGE_BYTES;
    const block = this.#blocks.find(([, blockOffset]) => offset >= blockOffset && offset < blockOffset + BLOCK_BYTES);
    if (block === undefined) return false;
    const first = block[0] + (offset - block[1]) / STRUCT_BYTES;
    for (let described = first; described < first + STRUCTS_IN_PAGE; described += 1) {
      if (this.#describedNow.at(described) !== FREE_TAIL || this.#describedInImage.at(described) !== FREE_TAIL) return false;
    }
    return true;
  }
}

/** The state of each physical page by the array, one window at a time: questions come in ascending order. */
class PageStates {
  readonly #layout: PageStructs;
  readonly #blocks: ReadonlyMap<number, number>;
  readonly #read: ReadGuest;
  /** The structures of a window as 32-bit words: the host is little-endian, as its guests are. */
  readonly #words = new Uint32Array(WINDOW_PAGES * STRUCT_WORDS);
  readonly #structs = Buffer.from(this.#words.buffer);
  readonly #states = new Uint8Array(WINDOW_PAGES);
  #window = -1;

  constructor(layout: PageStructs, read: ReadGuest) {
    this.#layout = layout;
    this.#blocks = new Map(layout.blocks);
    this.#read = read;
  }

  at(physicalPage: number): number {
    const window = physicalPage - (physicalPage % WINDOW_PAGES);
    if (window !== this.#window) this.#load(window);
    return this.#states[physicalPage - window]!;
  }

  #load(window: number): void {
    this.#window = window;
    this.#states.fill(USED);
    const block = window - (window % PAGES_IN_BLOCK);
    const blockOffset = this.#blocks.get(block);
    if (blockOffset === undefined) return;
    this.#read(this.#structs, blockOffset + (window - block) * STRUCT_BYTES);
    const { typeOffset, freeType, orderOffset } = this.#layout;
    const [typeWord, orderWord] = [typeOffset / WORD_BYTES, orderOffset / WORD_BYTES];
    for (let index = 0; index < WINDOW_PAGES; ) {
      const at = index * STRUCT_WORDS;
      const isFree = this.#words[at + typeWord] === freeType && this.#words[at + orderWord + 1] === 0;
      const order = this.#words[at + orderWord]!;
      const count = isFree && order <= MAX_ORDER ? 1 << order : 0;
      // The buddy system aligns a free block to its size: what is not is no block, and would reach beyond the window.
      const isBlock = count > 0 && index % count === 0;
      if (isBlock) this.#states.fill(FREE_TAIL, index, index + count)[index] = FREE_HEAD;
      index += isBlock ? count : 1;
    }
  }
}
