/** What `lull gc` finds with a real store and real files. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { createGarbageUseCases } from '../../../src/control/garbage.ts';
import { LogCatalogue } from '../../../src/control/logs/log-catalogue.ts';
import { LogRetention } from '../../../src/control/logs/log-retention.ts';
import { RootDiskPool } from '../../../src/image/root-disk-pool.ts';
import { Files } from '../../../src/lib/files.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { garbageSources } from '../../../src/main/garbage-sources.ts';
import { parseServerOptions } from '../../../src/main/options.ts';
import { openBlobs } from '../../../src/store/blobs.ts';
import { openStore } from '../../../src/store/store.ts';
import { insertLaunchable } from '../../fakes/records.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

const DAY_MS = 86_400_000;
/** The record of the image is years old at most. */
const DAYS_KEPT = 10_000;

async function bed() {
  const stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'lull-gc-'));
  stack.defer(() => rm(root, { recursive: true }));
  const files = new Files();
  const store = stack.use(await openStore({ path: ':memory:' }));
  await insertLaunchable(store, 'app');
  const blobs = await openBlobs(join(root, 'objects'));
  const clock = new SteeredClock(Date.now());
  const options = parseServerOptions({ data: root, platform: join(root, 'platform'), config: 'none' }, { env: {}, uid: 1000 });
  await mkdir(join(root, 'platform/artifacts'), { recursive: true });
  await writeFile(join(root, 'platform/platform.json'), '{}');
  const rootDisks = new RootDiskPool({ files, folder: join(root, 'root-disks'), hash: async () => 'hash' });
  const noFiles = { lines: () => assert.fail('nobody reads'), extent: async () => undefined, remove: async () => undefined };
  const catalogue = new LogCatalogue({ streams: store.logs, files: { microvm: noFiles, build: noFiles } });
  const logRetention = new LogRetention({ catalogue, clock, log: SILENT, daysKept: DAYS_KEPT, maxBytes: 1000 });
  const forgotten: string[] = [];
  const containers = { cached: async () => [{ tag: 'snapshot-app-1.0', sizeBytes: 5 }, { tag: 'gone', sizeBytes: 6 }], forget: async (tag: string) => void forgotten.push(tag) };
  const sources = garbageSources({ files, clock, options }, { store, containers, blobs, rootDisks, logRetention, catalogue });
  return { root, store, blobs, clock, rootDisks, forgotten, garbage: createGarbageUseCases({ sources, log: SILENT }), [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe('garbage', () => {
  it('is bytes without a row, root disks without a version and layers of versions that are gone; a dry run removes none', async () => {
    await using made = await bed();
    const { root, store, blobs, clock, rootDisks, forgotten, garbage } = made;
    const kept = await blobs.write(Readable.from(['kept']));
    await store.objects.createBucket('bucket', 1);
    const described = { contentType: 'text/plain', systemMetadata: {}, metadata: {}, checksums: {}, checksumType: 'FULL_OBJECT', modifiedAtMs: 1, multipart: null } as const;
    await store.objects.put({ ...described, bucket: 'bucket', key: 'key', blobId: kept.blobId, size: 4, etag: kept.md5 });
    const orphan = await blobs.write(Readable.from(['orphan']));
    await writeFile(join(root, 'objects/not ours'), 'stays');
    await writeFile(join(root, 'disk'), 'root');
    await rootDisks.share(join(root, 'disk'));
    await rm(join(root, 'disk'));
    clock.advance(2 * DAY_MS);
    const expected = [
      { kind: 'object', name: `objects/${orphan.blobId}`, sizeBytes: 6 },
      { kind: 'root disk', name: 'root-disks/hash', sizeBytes: 4 },
      { kind: 'layers', name: 'gone', sizeBytes: 6 },
    ];
    assert.deepEqual(await garbage.collect({ dryRun: true }), expected);
    assert.equal(existsSync(blobs.path(orphan.blobId)), true);
    assert.deepEqual(await garbage.collect({ dryRun: false }), expected);
    assert.deepEqual(forgotten, ['gone']);
    assert.deepEqual((await garbage.collect({ dryRun: false })).map(({ kind }) => kind), ['layers']);
    assert.deepEqual([existsSync(blobs.path(kept.blobId)), existsSync(join(root, 'objects/not ours'))], [true, true]);
  });

  it('is logs beyond what is kept', async () => {
    await using made = await bed();
    made.clock.advance((DAYS_KEPT + 1) * DAY_MS);
    const logs = async (dryRun: boolean) => (await made.garbage.collect({ dryRun })).flatMap(({ kind, name }) => (kind === 'log' ? [name] : []));
    const [log, ...others] = await logs(true);
    assert.match(log ?? '', /^\/aws\/lambda-microvms\/app .*\[1\.0\]build-/);
    assert.deepEqual([others, await logs(false), await logs(true)], [[], [log], []]);
  });

  it('is not what has just been stored and has no row yet', async () => {
    await using made = await bed();
    await made.blobs.write(Readable.from(['on its way']));
    assert.deepEqual((await made.garbage.collect({ dryRun: true })).map(({ kind }) => kind), ['layers']);
  });
});
