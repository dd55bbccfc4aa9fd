/** The contract of `Store.uploads`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import { objectRecord, partRecord, uploadRecord } from '../fakes/records.ts';

const MANY = 100;

/** The object that an upload becomes. */
const made = (key: string, uploadId: string, blobId = 'whole') => objectRecord('b', key, { blobId, multipart: { uploadId, partSizes: [3, 3] } });

async function openWithBucket(open: () => Promise<Store>): Promise<Store> {
  const store = await open();
  await store.objects.createBucket('b', 1);
  return store;
}

export function uploadContract(open: () => Promise<Store>): void {
  test('an upload is found by bucket, key and id together, and comes back as it was', async () => {
    await using store = await openWithBucket(open);
    const upload = uploadRecord('k', 'u', { metadata: { a: 'b' }, systemMetadata: { expires: 'x' }, checksum: { algorithm: 'CRC32', type: 'COMPOSITE' } });
    assert.equal(await store.uploads.create(upload, MANY), 'created');
    assert.deepEqual(await store.uploads.get('b', 'k', 'u'), upload);
    for (const [bucket, key, id] of [['a', 'k', 'u'], ['b', 'l', 'u'], ['b', 'k', 'v']] as const) {
      assert.equal(await store.uploads.get(bucket, key, id), undefined);
      assert.equal(await store.uploads.abort(bucket, key, id), undefined);
    }
    assert.equal(await store.uploads.create(uploadRecord('k', 'w', { bucket: 'none' }), MANY), 'no-bucket');
  });

  test('a bucket has no more of them than it may', async () => {
    await using store = await openWithBucket(open);
    await store.objects.createBucket('c', 1);
    const outcomes = [];
    for (const id of ['1', '2', '3']) outcomes.push(await store.uploads.create(uploadRecord('k', id), 2));
    assert.deepEqual(outcomes, ['created', 'created', 'too-many']);
    assert.equal(await store.uploads.create(uploadRecord('k', '4', { bucket: 'c' }), 2), 'created');
    await store.uploads.abort('b', 'k', '1');
    assert.equal(await store.uploads.create(uploadRecord('k', '3'), 2), 'created');
  });

  test('parts: replaced by number, listed in order, none without an upload', async () => {
    await using store = await openWithBucket(open);
    await store.uploads.create(uploadRecord('k', 'u'), MANY);
    const again = partRecord(2, { blobId: 'again', size: 2 ** 33, checksums: { CRC32: 'x' } });
    assert.deepEqual(await store.uploads.putPart('u', partRecord(10)), { outcome: 'stored', freed: [] });
    assert.deepEqual(await store.uploads.putPart('u', partRecord(2)), { outcome: 'stored', freed: [] });
    assert.deepEqual(await store.uploads.putPart('u', again), { outcome: 'stored', freed: ['part-2'] });
    assert.deepEqual(await store.uploads.putPart('none', partRecord(1)), { outcome: 'no-upload' });
    assert.deepEqual(await store.uploads.parts('u', { after: 0, limit: 10 }), [again, partRecord(10)]);
    assert.deepEqual(await store.uploads.parts('u', { after: 2, limit: 1 }), [partRecord(10)]);
    assert.deepEqual(await store.objects.blobIds(), ['again', 'part-10']);
  });

  test('completing ends the upload and puts the object, or does neither', async () => {
    await using store = await openWithBucket(open);
    await store.objects.put(objectRecord('b', 'k', { blobId: 'old', etag: 'old' }));
    await store.uploads.create(uploadRecord('k', 'u'), MANY);
    for (const number of [1, 2]) await store.uploads.putPart('u', partRecord(number));
    assert.deepEqual(await store.uploads.complete(made('k', 'u'), 'absent'), { outcome: 'precondition-failed' });
    assert.deepEqual(await store.uploads.complete(made('other', 'u')), { outcome: 'no-upload' });
    assert.equal((await store.uploads.parts('u', { after: 0, limit: 10 })).length, 2);
    assert.deepEqual(await store.uploads.complete(made('k', 'u'), { etag: 'old' }), { outcome: 'stored', freed: ['old', 'part-1', 'part-2'] });
    assert.deepEqual(await store.objects.get('b', 'k'), made('k', 'u'));
    assert.deepEqual(await store.uploads.complete(made('k', 'u', 'second')), { outcome: 'no-upload' });
    assert.deepEqual(await store.uploads.putPart('u', partRecord(3)), { outcome: 'no-upload' });
    assert.deepEqual(await store.objects.blobIds(), ['whole']);
  });

  test('an upload that is aborted, or whose bucket is deleted, gives its parts back', async () => {
    await using store = await openWithBucket(open);
    for (const id of ['u', 'v', 'w']) await store.uploads.create(uploadRecord('k', id), MANY);
    await store.uploads.putPart('u', partRecord(1));
    await store.uploads.putPart('v', partRecord(2));
    await store.uploads.putPart('w', partRecord(3));
    assert.deepEqual(await store.uploads.abort('b', 'k', 'u'), ['part-1']);
    assert.equal(await store.uploads.abort('b', 'k', 'u'), undefined);
    assert.deepEqual((await store.objects.deleteBucket('b'))?.toSorted(), ['part-2', 'part-3']);
    assert.equal(await store.uploads.get('b', 'k', 'v'), undefined);
    assert.deepEqual(await store.objects.blobIds(), []);
  });

  test('uploads that began before a moment are forgotten, and their parts with them', async () => {
    await using store = await openWithBucket(open);
    await store.uploads.create(uploadRecord('k', 'old', { startedAtMs: 9 }), MANY);
    await store.uploads.create(uploadRecord('k', 'new', { startedAtMs: 10 }), MANY);
    await store.uploads.putPart('old', partRecord(1));
    await store.uploads.forgetBefore(10);
    assert.equal(await store.uploads.get('b', 'k', 'old'), undefined);
    assert.notEqual(await store.uploads.get('b', 'k', 'new'), undefined);
    assert.deepEqual(await store.objects.blobIds(), []);
  });

  test('listed by key, then by id, after a position', async () => {
    await using store = await openWithBucket(open);
    for (const [key, id] of [['b/2', '1'], ['a', '3'], ['b/1', '5'], ['b/1', '4'], ['～', '6'], ['🙂', '7']] as const) {
      await store.uploads.create(uploadRecord(key, id), MANY);
    }
    const list = async (prefix: string, [key, uploadId] = ['', ''], limit = 10) =>
      (await store.uploads.list('b', { prefix, after: { key, uploadId }, limit })).map((upload) => upload.uploadId);
    assert.deepEqual(await list(''), ['3', '4', '5', '1', '6', '7']);
    assert.deepEqual(await list('b/'), ['4', '5', '1']);
    assert.deepEqual(await list('b/', ['a', '9']), ['4', '5', '1']);
    assert.deepEqual(await list('b/', ['b/1', '4']), ['5', '1']);
    assert.deepEqual(await list('', ['b/1', '~']), ['1', '6', '7']);
    assert.deepEqual(await list('', ['b/1', ''], 2), ['4', '5']);
    assert.deepEqual(await list('c'), []);
  });
}
