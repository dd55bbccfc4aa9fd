/** Which pages of a guest are only waiting to be written by a device, read from rings that a test writes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PAGE_BYTES } from '../../../src/host/memory.ts';
import { receivePages } from '../../../src/runtime/receive-buffers.ts';
import type { Virtqueue } from '../../../src/vmm/driver.ts';

const PAGES = 64;
/** Guest memory begins here, so that physical addresses are not places in the file. */
const BASE = 0x10_0000;
const SIZE = 8;
const DESCRIPTORS = 0;
const AVAILABLE = PAGE_BYTES;
const WRITE = 2;
const NEXT = 1;

interface Given {
  readonly physical: number;
  readonly length?: number;
  readonly flags?: number;
}

const page = (number: number): number => BASE + number * PAGE_BYTES;

/** Guest memory with one queue in it. @param index the guest's, which counts up for ever */
function guest(buffers: readonly Given[], { index = buffers.length, heads = buffers.map((_, at) => at) } = {}) {
  const memory = Buffer.alloc(PAGES * PAGE_BYTES);
  buffers.forEach(({ physical, length = PAGE_BYTES, flags = WRITE }, at) => {
    memory.writeBigUInt64LE(BigInt(physical), DESCRIPTORS + at * 16);
    memory.writeUInt32LE(length, DESCRIPTORS + at * 16 + 8);
    memory.writeUInt16LE(flags, DESCRIPTORS + at * 16 + 12);
  });
  memory.writeUInt16LE(index & 0xffff, AVAILABLE + 2);
  heads.forEach((head, at) => memory.writeUInt16LE(head, AVAILABLE + 4 + ((index - heads.length + at) % SIZE) * 2));
  return memory;
}

function found(memory: Buffer, given: Partial<Virtqueue> = {}): number[] {
  const queue = { descriptors: BASE + DESCRIPTORS, available: BASE + AVAILABLE, size: SIZE, nextAvailable: 0, ...given };
  const regions = [{ physical: BASE, fileOffset: 0, length: memory.length }];
  return [...receivePages({ queues: [queue], regions, readNow: (into, offset) => void memory.copy(into, 0, offset) })].toSorted((a, b) => a - b);
}

describe('receive buffers', () => {
  it('are those that the guest has handed over and the device has not taken', () => {
    const buffers = [10, 11, 20, 30].map((number) => ({ physical: page(number) }));
    assert.deepEqual(found(guest(buffers)), [10, 11, 20, 30]);
    assert.deepEqual(found(guest(buffers), { nextAvailable: 3 }), [30]);
    assert.deepEqual(found(guest(buffers), { nextAvailable: 4 }), []);
  });

  it('are found where the indices have gone round', () => {
    const buffers = [10, 11, 12].map((number) => ({ physical: page(number) }));
    assert.deepEqual(found(guest(buffers, { index: 65_537 }), { nextAvailable: 65_534 }), [10, 11, 12]);
  });

  it('count as whole pages only', () => {
    const buffers = [{ physical: page(10) + 1 }, { physical: page(20) + 1, length: 3 * PAGE_BYTES }, { physical: page(30), length: PAGE_BYTES - 1 }];
    assert.deepEqual(found(guest(buffers)), [21, 22]);
  });

  it('are no buffers of several pieces, none that the device reads, and none that it looks up', () => {
    const buffers = [0, NEXT, WRITE | NEXT, WRITE | 4].map((flags, at) => ({ physical: page(10 + at), flags }));
    assert.deepEqual(found(guest(buffers)), []);
  });

  it('that a guest lies about lead nowhere', () => {
    assert.deepEqual(found(guest([{ physical: page(PAGES) }, { physical: 0 }, { physical: page(5), length: 2 ** 32 - 1 }])), []);
    assert.deepEqual(found(guest([{ physical: page(10) }], { heads: [SIZE] })), []);
    // More than the queue holds.
    assert.deepEqual(found(guest([{ physical: page(10) }], { index: SIZE + 1 })), []);
    assert.deepEqual(found(guest([{ physical: page(10) }]), { descriptors: page(PAGES) - 16 }), []);
    assert.deepEqual(found(guest([{ physical: page(10) }]), { available: 0 }), []);
  });
});
