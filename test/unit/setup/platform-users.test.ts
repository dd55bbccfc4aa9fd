import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Platform } from '../../../src/domain/platform.ts';
import { noteUser, removeArtifact, unusedArtifacts } from '../../../src/setup/platform-users.ts';

const DAY_MS = 86_400_000;
/** Ids of copies: what the platform has today, and what it had before. */
const [TODAY, OF_IMAGE, OF_SLEEPER, OF_ABSENT, NOBODYS] = ['a', 'b', 'c', 'd', 'e'].map((letter) => letter.repeat(24)) as [string, string, string, string, string];

const platform = (id: string) => ({ kernel: { id }, initramfs: { id }, agent: { id }, qemu: { id } }) as Platform;

/** A platform folder with a copy under each id, and two data folders: one that names two of them, one that is gone. */
async function bed(): Promise<{ folder: string } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), 'lull-users-'));
  const [folder, data, absent] = [join(root, 'platform'), join(root, 'data'), join(root, 'absent')];
  await mkdir(join(folder, 'users'), { recursive: true });
  for (const id of [TODAY, OF_IMAGE, OF_SLEEPER, OF_ABSENT, NOBODYS]) {
    await mkdir(join(folder, 'artifacts', id, 'bin'), { recursive: true });
    await writeFile(join(folder, 'artifacts', id, 'bin/qemu'), '1234567');
  }
  await writeFile(join(folder, 'artifacts/something else'), '');
  await writeFile(join(folder, 'platform.json'), JSON.stringify({ qemu: { id: TODAY } }));
  await noteUser(folder, absent, platform(OF_ABSENT));
  await noteUser(folder, data, platform(TODAY));
  for (const [path, vmm] of [['images/one', OF_IMAGE], ['microvms/microvm-1/gen-3', OF_SLEEPER]] as const) {
    await mkdir(join(data, path), { recursive: true });
    await writeFile(join(data, path, 'manifest.json'), JSON.stringify({ placement: { vmm } }));
  }
  return { folder, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

const unused = async (folder: string, nowMs: number) => (await unusedArtifacts(folder, join(folder, 'no-data'), nowMs)).map(({ id, sizeBytes }) => [id, sizeBytes]);

describe('a copy of the platform', () => {
  it('is used while the platform, an image, a sleeper or an absent data folder names it', async () => {
    await using made = await bed();
    const { folder } = made;
    assert.deepEqual(await unused(folder, Date.now() + 2 * DAY_MS), [[NOBODYS, 7]]);
    for (const artifact of await unusedArtifacts(folder, join(folder, 'no-data'), Date.now() + 2 * DAY_MS)) await removeArtifact(folder, artifact);
    assert.deepEqual((await readdir(join(folder, 'artifacts'))).toSorted(), [TODAY, OF_IMAGE, OF_SLEEPER, OF_ABSENT, 'something else']);
  });

  it('is used where the data folder that asks names it, though it left no note', async () => {
    await using made = await bed();
    const { folder } = made;
    const own = join(folder, '../own');
    await mkdir(join(own, 'images/two'), { recursive: true });
    await writeFile(join(own, 'images/two/manifest.json'), JSON.stringify({ placement: { vmm: NOBODYS } }));
    assert.deepEqual(await unusedArtifacts(folder, own, Date.now() + 2 * DAY_MS), []);
  });

  it('is not taken for unused where something that may name it cannot be read', async () => {
    await using made = await bed();
    const { folder } = made;
    await mkdir(join(folder, '../data/images/three/manifest.json'), { recursive: true });
    await assert.rejects(unused(folder, Date.now() + 2 * DAY_MS), { code: 'EISDIR' });
  });

  it('is used, for all that is known, where it is older than the first note', async () => {
    await using made = await bed();
    const { folder } = made;
    await rm(join(folder, 'users'), { recursive: true });
    assert.deepEqual(await unused(folder, Date.now() + 2 * DAY_MS), []);
    await noteUser(folder, join(folder, 'no-data'), platform(TODAY));
    assert.deepEqual(await unused(folder, Date.now() + 2 * DAY_MS), []);
  });

  it('is not taken for unused on the day that it is made: set-up has not named it yet', async () => {
    await using made = await bed();
    assert.deepEqual(await unused(made.folder, Date.now()), []);
  });

  it('is no longer used by a data folder that has been absent for a month', async () => {
    await using made = await bed();
    const { folder } = made;
    const long = new Date(Date.now() - 31 * DAY_MS);
    for (const name of await readdir(join(folder, 'users'))) await utimes(join(folder, 'users', name), long, long);
    assert.deepEqual(await unused(folder, Date.now() + 2 * DAY_MS), [[OF_ABSENT, 7], [NOBODYS, 7]]);
  });
});
