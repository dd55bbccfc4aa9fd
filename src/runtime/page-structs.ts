/**
 * Where a Linux guest keeps its `struct page` array, found in the memory of its image. With it a suspend knows which pages of
 * a paused guest are free, so that what was allocated and freed, read and dropped is not written (the way of makedumpfile(8),
 * which leaves free pages out of a crash dump). Sources: Documentation/admin-guide/kdump/vmcoreinfo.rst and
 * include/linux/mmzone.h of the kernel; Intel SDM volume 3, 4.5 for the page tables.
 *
 * Everything here is read from guest memory. What a hostile guest kernel writes there can cost that guest its own pages, and
 * nothing else: every read is bounds-checked against the guest's memory.
 */
import { z } from 'zod';
import { PAGE_BYTES } from '../host/memory.ts';
import { openedFile, readSome } from '../host/positioned-file.ts';
import type { RamRegion } from '../vmm/driver.ts';

/** How many pages one block of the array describes: the array is mapped in pieces of 2 MiB. */
const BLOCK_BYTES = 2 * 1024 * 1024;
export const STRUCT_BYTES = 64;
export const PAGES_IN_BLOCK = BLOCK_BYTES / STRUCT_BYTES;

export const pageStructsSchema = z.object({
  /** Offset of the page's type in its structure, and the type of a free one. */
  typeOffset: z.number().int().min(0).max(STRUCT_BYTES - 4).multipleOf(4),
  freeType: z.number().int(),
  /** Offset of the order (power of two of pages) of the free block that begins with a page. */
  orderOffset: z.number().int().min(0).max(STRUCT_BYTES - 8).multipleOf(8),
  /** Where in the memory file the structures of each {@link PAGES_IN_BLOCK} physical pages are, and which page is the first. */
  blocks: z.array(z.tuple([z.number().int(), z.number().int()])),
});
export type PageStructs = z.infer<typeof pageStructsSchema>;

const NOTE_NAME = 'VMCOREINFO';
const NOTE_HEADER_BYTES = 12 + 12;
const MAX_NOTE_BYTES = 64 * 1024;
/** __START_KERNEL_map of x86-64: where the kernel's own image is mapped. */
const KERNEL_MAP = 0xffffffff80000000n;
const ADDRESS_BITS = 0x000ffffffffff000n;
const PRESENT = 1n;
const HUGE = 0x80n;
/** SECTION_MAP_MASK: the low bits of a section's map are flags. */
const SECTION_FLAGS = 0x3fn;

/**
 * @param options.path memory file of a paused or sealed guest
 * @param options.vmcoreinfo what the agent read in /sys/kernel/vmcoreinfo: address and length, hexadecimal
 * @returns undefined where this kernel does not describe itself so that its free pages can be told
 */
export function findPageStructs(options: { path: string; regions: readonly RamRegion[]; vmcoreinfo: string }): PageStructs | undefined {
  using memory = openedFile(options.path, 'r');
  try {
    const guest = new GuestMemory(memory.fd, options.regions);
    const notes = readNotes(guest, options.vmcoreinfo);
    return notes === undefined ? undefined : locate(guest, notes, options.regions);
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

/** Something in the guest does not lead where it should. */
class Unreadable extends Error {}

/** Reads guest memory by physical and by kernel-virtual address. */
class GuestMemory {
  readonly #file: number;
  readonly #regions: readonly RamRegion[];
  /** Physical address of the top page table. */
  root = 0n;
  levels = 4;

  constructor(file: number, regions: readonly RamRegion[]) {
    this.#file = file;
    this.#regions = regions;
  }

  fileOffset(physical: bigint, length: number): number {
    const address = Number(physical);
    const region = this.#regions.find((r) => address >= r.physical && address + length <= r.physical + r.length);
    if (region === undefined) throw new Unreadable(`0x${physical.toString(16)} is not RAM`);
    return address - region.physical + region.fileOffset;
  }

  read(physical: bigint, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSome(this.#file, bytes, this.fileOffset(physical, length));
    return bytes;
  }

  word(virtual: bigint): bigint {
    return this.read(this.translate(virtual).physical, 8).readBigUInt64LE();
  }

  /** Walks the page tables. `isHuge` where a page of 2 MiB or more maps it. */
  translate(virtual: bigint): { physical: bigint; isHuge: boolean } {
    let table = this.root;
    for (let level = this.levels; level >= 1; level -= 1) {
      const shift = BigInt(12 + 9 * (level - 1));
      const entry = this.read(table + ((virtual >> shift) & 0x1ffn) * 8n, 8).readBigUInt64LE();
      if ((entry & PRESENT) === 0n) throw new Unreadable(`0x${virtual.toString(16)} is not mapped`);
      const isHuge = level > 1 && level < 4 && (entry & HUGE) !== 0n;
      if (level === 1 || isHuge) {
        const inPage = (1n << shift) - 1n;
        return { physical: (entry & ADDRESS_BITS & ~inPage) | (virtual & inPage), isHuge };
      }
      table = entry & ADDRESS_BITS;
    }
    throw new Unreadable('no level of the page tables is the last');
  }
}

type Notes = ReadonlyMap<string, string>;

function readNotes(guest: GuestMemory, vmcoreinfo: string): Notes | undefined {
  const match = /^(?:0x)?([0-9a-f]{1,16}) ([0-9a-f]{1,8})$/.exec(vmcoreinfo.trim());
  if (match === null) return undefined;
  const length = Math.min(Number.parseInt(match[2]!, 16), MAX_NOTE_BYTES);
  const note = guest.read(BigInt(`0x${match[1]!}`), length);
  if (note.subarray(12, 12 + NOTE_NAME.length).toString('latin1') !== NOTE_NAME) return undefined;
  const lines = note.subarray(NOTE_HEADER_BYTES).toString('latin1').split('\n');
  return new Map(lines.map((line) => line.split('=', 2) as [string, string]).filter(([, value]) => value !== undefined));
}

function locate(guest: GuestMemory, notes: Notes, regions: readonly RamRegion[]): PageStructs | undefined {
  if (number(notes, 'SIZE(page)') !== STRUCT_BYTES) return undefined;
  guest.root = symbol(notes, 'init_top_pgt') - KERNEL_MAP + BigInt(number(notes, 'NUMBER(phys_base)'));
  guest.levels = number(notes, 'NUMBER(pgtable_l5_enabled)') === 1 ? 5 : 4;
  const array = arrayAddress(guest, notes);
  const blocks = regions.flatMap(({ physical, length }) => {
    const first = Math.floor(physical / PAGE_BYTES / PAGES_IN_BLOCK) * PAGES_IN_BLOCK;
    const end = (physical + length) / PAGE_BYTES;
    const found: [number, number][] = [];
    for (let page = first; page < end; page += PAGES_IN_BLOCK) {
      const at = guest.translate(array + BigInt(page) * BigInt(STRUCT_BYTES));
      if (!at.isHuge) throw new Unreadable('the array is not in pieces of 2 MiB');
      found.push([page, guest.fileOffset(at.physical, BLOCK_BYTES)]);
    }
    return found;
  });
  return {
    typeOffset: number(notes, 'OFFSET(page._mapcount)'),
    freeType: number(notes, 'NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)') >>> 0,
    orderOffset: number(notes, 'OFFSET(page.private)'),
    blocks,
  };
}

/** Virtual address of page 0's structure: from the first memory section, whose map is encoded so that a page number indexes it. */
function arrayAddress(guest: GuestMemory, notes: Notes): bigint {
  const firstRoot = guest.word(symbol(notes, 'mem_section'));
  const map = guest.word(firstRoot + BigInt(number(notes, 'OFFSET(mem_section.section_mem_map)')));
  return map & ~SECTION_FLAGS;
}

function number(notes: Notes, name: string): number {
  const value = Number(notes.get(name));
  if (!Number.isSafeInteger(value)) throw new Unreadable(`no ${name}`);
  return value;
}

function symbol(notes: Notes, name: string): bigint {
  const value = notes.get(`SYMBOL(${name})`);
  if (value === undefined || !/^[0-9a-f]{1,16}$/.test(value)) throw new Unreadable(`no symbol ${name}`);
  return BigInt(`0x${value}`);
}
