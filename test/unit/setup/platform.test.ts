/** The platform folder: artifacts, manifest, and what a broken one says. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isLullError } from '../../../src/domain/errors.ts';
import { makeArtifact } from '../../../src/setup/artifacts.ts';
import { freeRangeStart, parseIdRanges } from '../../../src/setup/build-user.ts';
import { hostArchitecture, loadPlatform, platformFolder, writeManifest } from '../../../src/setup/platform.ts';
import type { Manifest } from '../../../src/setup/platform.ts';
import { describeEarlierCopy, describeVmm, loadVmmCopy } from '../../../src/setup/vmm-copy.ts';

const folder = await mkdtemp(join(tmpdir(), 'lull-test-'));
after(() => rm(folder, { recursive: true, force: true }));

const manifest: Manifest = {
  version: 1,
  arch: hostArchitecture(),
  createdAtMs: 1,
  inputs: {},
  kernel: { id: 'k', path: 'kernel', release: '6.1' },
  initramfs: { id: 'i', path: 'initramfs' },
  agent: { id: 'a', path: 'agent' },
  qemu: { id: 'q', version: '7.2', path: 'qemu', argv: ['@/bin/ld.so', '--library-path', '@/lib', '@/bin/qemu'] },
  baseImages: [],
};

test('the folder is the one that is named, else the system\'s or the user\'s', () => {
  assert.equal(platformFolder({ LULL_PLATFORM: '/p' }, 0), '/p');
  assert.equal(platformFolder({}, 0), '/var/cache/lull');
  assert.equal(platformFolder({ HOME: '/h' }, 1000), '/h/.cache/lull');
  assert.equal(platformFolder({ HOME: '/h', XDG_CACHE_HOME: '/c' }, 1000), '/c/lull');
});

const notSetUp = (error: unknown) => isLullError(error, 'not-found') && error.message.includes('./lull setup');

test('without a manifest, with a damaged one, or with files gone, the error names the mend', async () => {
  await assert.rejects(loadPlatform(folder), notSetUp);
  await writeFile(join(folder, 'platform.json'), '{"version":1');
  await assert.rejects(loadPlatform(folder), notSetUp);
  await writeManifest(folder, manifest);
  await assert.rejects(loadPlatform(folder), notSetUp);
});

test('paths are absolute once loaded', async () => {
  await writeManifest(folder, manifest);
  for (const name of ['kernel', 'initramfs', 'agent']) await writeFile(join(folder, name), '');
  await mkdir(join(folder, 'qemu'), { recursive: true });
  const platform = await loadPlatform(folder);
  assert.equal(platform.kernel.path, join(folder, 'kernel'));
  assert.deepEqual(platform.qemu.argv, [join(folder, 'qemu/bin/ld.so'), '--library-path', join(folder, 'qemu/lib'), join(folder, 'qemu/bin/qemu')]);
});

test('the same content is one artifact, other content another, and a failure leaves nothing', async () => {
  const home = join(folder, 'home');
  const make = (text: string) => makeArtifact(home, (into) => writeFile(join(into, 'file'), text));
  const [first, again, other] = [await make('one'), await make('one'), await make('two')];
  assert.equal(first.id, again.id);
  assert.notEqual(first.id, other.id);
  assert.equal(await readFile(join(home, first.path, 'file'), 'utf8'), 'one');
  await assert.rejects(makeArtifact(home, () => Promise.reject(new Error('full'))), /full/);
  assert.deepEqual((await readdir(join(home, 'artifacts'))).sort(), [first.id, other.id].sort());
});

test('a range of ids is taken behind all others', () => {
  const ranges = parseIdRanges('# comment\nroot:100000:65536\n\n1000:300000:65536\nbroken\n');
  assert.deepEqual(ranges.map(({ owner }) => owner), ['root', '1000']);
  assert.equal(freeRangeStart(ranges), 365536);
  assert.equal(freeRangeStart([]), 100000);
});

test('a copy of QEMU says by itself how it is started; one that is gone, or does not say it, is refused with the mend', async () => {
  const argv = ['@/bin/ld.so', '--library-path', '@/lib', '@/bin/qemu'];
  const copy = (text: string, version: string) => makeArtifact(folder, async (into) => {
    await writeFile(join(into, 'qemu'), text);
    await describeVmm(into, { version, argv, libraries: ['libc.so.6'] });
  });
  const [older, newer] = [await copy('older', '7.2'), await copy('newer', '10.0')];
  assert.notEqual(older.id, newer.id);
  const at = (word: string) => join(folder, older.path, word);
  assert.deepEqual(await loadVmmCopy(folder, older.id), {
    id: older.id,
    version: '7.2',
    path: join(folder, older.path),
    argv: [at('bin/ld.so'), '--library-path', at('lib'), at('bin/qemu')],
  });
  const mute = await makeArtifact(folder, (into) => writeFile(join(into, 'qemu'), 'mute'));
  const gone = (error: unknown) => isLullError(error, 'not-found') && error.message.includes('lull images rebuild');
  for (const id of [mute.id, '0'.repeat(24), '../qemu']) await assert.rejects(loadVmmCopy(folder, id), gone);
  // As set-up does before another one becomes the newest.
  await describeEarlierCopy(join(folder, mute.path), { version: '6.0', argv });
  await describeEarlierCopy(join(folder, older.path), { version: '6.0', argv });
  assert.deepEqual([(await loadVmmCopy(folder, mute.id)).version, (await loadVmmCopy(folder, older.id)).version], ['6.0', '7.2']);
});
