import assert from 'node:assert/strict';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { allocatedBytes } from '../../src/host/disk.ts';
import { DiskSpace } from '../../src/host/disk-space.ts';
import { cannotMount, SmallDisk } from '../fakes/small-disk.ts';

const MIB = 1024 ** 2;
/** What is promised to nobody. */
const KEPT_MIB = 32;

describe('space on a disk', { skip: await cannotMount() }, () => {
  it('is promised once, also to those who ask at the same time, and is there again when it is given back', async () => {
    await using disk = await SmallDisk.make(256);
    const space = new DiskSpace();
    await disk.leave(100 * MIB);
    const asked = await Promise.all(Array.from({ length: 10 }, () => space.take(disk.folder, 20 * MIB)));
    const taken = asked.filter((promise) => promise !== undefined);
    assert.equal(taken.length, Math.floor((100 - KEPT_MIB) / 20));
    assert.equal((await space.figures(disk.folder)).reservedBytes, 60 * MIB);
    for (const promise of taken) promise[Symbol.dispose]();
    assert.equal((await space.figures(disk.folder)).reservedBytes, 0);
    using all = await space.take(disk.folder, 67 * MIB);
    assert.ok(all !== undefined);
  });

  it('is that of all folders of a file system, and of no other', async () => {
    await using disk = await SmallDisk.make(128);
    await using other = await SmallDisk.make(128);
    const space = new DiskSpace();
    const below = join(disk.folder, 'images');
    await mkdir(below);
    using _taken = await space.reserve(disk.folder, 60 * MIB, 'suspend it');
    assert.equal(await space.take(below, 40 * MIB), undefined);
    using elsewhere = await space.take(other.folder, 40 * MIB);
    assert.ok(elsewhere !== undefined);
  });

  it('is refused with what is left, what is needed and the mend', async () => {
    await using disk = await SmallDisk.make(128);
    const space = new DiskSpace();
    // Half a MiB more: what the file system takes for itself does not show.
    await disk.leave(40.5 * MIB);
    const message = "The host's disk has 8 MiB left to give and 9 MiB are needed to suspend it; make room on it (`lull gc`), or terminate others.";
    await assert.rejects(space.reserve(disk.folder, 9 * MIB - 5, 'suspend it'), { name: 'LullError', kind: 'insufficient-capacity', message });
    await disk.leave(0);
    await assert.rejects(space.reserve(disk.folder, 0, 'wake it'), /has 0 MiB left to give and 0 MiB are needed to wake it/);
  });

  it('is not taken by holes', async () => {
    await using disk = await SmallDisk.make(64);
    const path = join(disk.folder, 'sparse');
    await writeFile(path, 'x');
    const before = await allocatedBytes(path);
    await truncate(path, 1024 * MIB);
    assert.equal(await allocatedBytes(path), before);
  });
});
