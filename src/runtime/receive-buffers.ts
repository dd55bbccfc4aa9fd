/**
 * Pages that a guest has handed to its devices to write into. What is in them was read long ago: before anybody looks again a
 * device has written, so a sleep need not keep them. A guest's driver of the agent's channel holds a page for each message that may
 * come, 1024 in each of three queues, and uses them in turn: kept, they would cost a sleeper up to 8 MiB that it does not have at first.
 * Source: VIRTIO 1.2, sections 2.7.5 and 2.7.6 (split virtqueues), 2.7.8.2 (what a driver may read of a buffer).
 */
import { PAGE_BYTES } from '../host/memory.ts';
import type { RamRegion, Virtqueue } from '../vmm/driver.ts';
import type { ReadGuest } from './free-pages.ts';

const DESCRIPTOR_BYTES = 16;
const RING_HEADER_BYTES = 4;
const RING_ENTRY_BYTES = 2;
const INDEX_MASK = 0xffff;
/** `VIRTQ_DESC_F_WRITE`, and no flag beside it: a buffer of one piece. */
const ONLY_WRITTEN = 2;

/**
 * Everything is read from guest memory with bounds: a guest that lies there loses pages of its own.
 * @returns numbers of pages in the memory file
 */
export function receivePages({ queues, regions, readNow }: { queues: readonly Virtqueue[]; regions: readonly RamRegion[]; readNow: ReadGuest }): ReadonlySet<number> {
  const pages = new Set<number>();
  const read = (physical: number, length: number): Buffer | undefined => {
    const offset = fileOffset(regions, physical, length);
    if (offset === undefined) return undefined;
    const bytes = Buffer.alloc(length);
    readNow(bytes, offset);
    return bytes;
  };
  for (const queue of queues) {
    const descriptors = read(queue.descriptors, queue.size * DESCRIPTOR_BYTES);
    const ring = read(queue.available, RING_HEADER_BYTES + queue.size * RING_ENTRY_BYTES);
    if (descriptors === undefined || ring === undefined) continue;
    for (const { physical, length } of buffersOf(queue, descriptors, ring)) {
      const offset = fileOffset(regions, physical, length);
      if (offset === undefined) continue;
      // Of a page that is only partly the buffer's the rest is somebody else's.
      const end = Math.floor((offset + length) / PAGE_BYTES);
      for (let page = Math.ceil(offset / PAGE_BYTES); page < end; page += 1) pages.add(page);
    }
  }
  return pages;
}

function* buffersOf({ size, nextAvailable }: Virtqueue, descriptors: Buffer, ring: Buffer): Generator<{ physical: number; length: number }> {
  const count = (ring.readUInt16LE(2) - nextAvailable) & INDEX_MASK;
  if (count > size) return;
  for (let nth = 0; nth < count; nth += 1) {
    const head = ring.readUInt16LE(RING_HEADER_BYTES + ((nextAvailable + nth) % size) * RING_ENTRY_BYTES);
    if (head >= size) continue;
    const at = head * DESCRIPTOR_BYTES;
    if (descriptors.readUInt16LE(at + 12) !== ONLY_WRITTEN) continue;
    yield { physical: Number(descriptors.readBigUInt64LE(at)), length: descriptors.readUInt32LE(at + 8) };
  }
}

/** Where in the memory file a stretch of guest-physical addresses is, where it is RAM as a whole. */
function fileOffset(regions: readonly RamRegion[], physical: number, length: number): number | undefined {
  const region = regions.find((r) => physical >= r.physical && physical + length <= r.physical + r.length);
  return region && physical - region.physical + region.fileOffset;
}
