import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { RootDiskPool } from '../../../src/image/root-disk-pool.ts';
import { Files } from '../../../src/lib/files.ts';

const hash = async (path: string) => createHash('sha256').update(await readFile(path)).digest('hex');

async function bed() {
  const root = await mkdtemp(join(tmpdir(), 'lull-pool-'));
  const pool = new RootDiskPool({ files: new Files(), folder: join(root, 'root-disks'), hash });
  const disk = async (name: string, content: string) => {
    const path = join(root, name);
    await writeFile(path, content, { mode: 0o444 });
    await pool.share(path);
    return path;
  };
  return { root, pool, disk, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

const hashOf = (content: string) => createHash('sha256').update(content).digest('hex');

const inode = async (path: string) => (await stat(path)).ino;

describe('root disks', () => {
  it('of one content are one file, and of another are not', async () => {
    await using made = await bed();
    const [one, two, other] = [await made.disk('one', 'a tree'), await made.disk('two', 'a tree'), await made.disk('other', 'another tree')];
    assert.equal(await inode(one), await inode(two));
    assert.notEqual(await inode(one), await inode(other));
    assert.equal((await stat(two)).mode & 0o777, 0o444);
    assert.deepEqual((await readdir(made.root)).toSorted(), ['one', 'other', 'root-disks', 'two']);
  });

  it('that have changed since are not taken for what their name says: the new one stays whole, and the pool goes on with it', async () => {
    await using made = await bed();
    const one = await made.disk('one', 'a tree');
    await rm(one);
    await writeFile(join(made.root, 'root-disks', hashOf('a tree')), 'a tRee');
    const two = await made.disk('two', 'a tree');
    const three = await made.disk('three', 'a tree');
    assert.deepEqual([await readFile(two, 'utf8'), await inode(three)], ['a tree', await inode(two)]);
  });

  it('stay while a version has one of the names, and go with the last', async () => {
    await using made = await bed();
    const [one, two] = [await made.disk('one', 'a tree'), await made.disk('two', 'a tree')];
    await rm(one);
    await made.pool.prune();
    assert.equal(await readFile(two, 'utf8'), 'a tree');
    assert.deepEqual(await made.pool.unused(), []);
    await rm(two);
    assert.deepEqual((await made.pool.unused()).map(({ sizeBytes }) => sizeBytes), [6]);
    await made.pool.prune();
    assert.deepEqual(await readdir(join(made.root, 'root-disks')), []);
  });

  it('that a build takes while they are pruned are still that build\'s', async () => {
    await using made = await bed();
    await rm(await made.disk('one', 'a tree'));
    const [{ path } = { path: '' }] = await made.pool.unused();
    const two = await made.disk('two', 'a tree');
    await rm(path);
    const three = await made.disk('three', 'a tree');
    assert.deepEqual([await readFile(two, 'utf8'), await readFile(three, 'utf8')], ['a tree', 'a tree']);
  });
});
