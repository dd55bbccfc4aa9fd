/** The contract of `Store.objects`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import { imageRecord, objectRecord, versionRecord } from '../fakes/records.ts';

/** In UTF-8 order; JavaScript's own order puts the emoji (a surrogate pair) before U+FF5E. */
const KEYS = ['', 'a', 'a\0b', 'a b', 'a/1', 'a/2', 'a/ü', 'ab', 'b', 'é', '\ud7ff', '\ue000', '～', '🙂', '\u{10ffff}', '\u{10ffff}x'];

export function objectContract(open: () => Promise<Store>): void {
  test('buckets: made once, listed by name, deleted when empty', async () => {
    await using store = await open();
    assert.equal(await store.objects.createBucket('b', 2), 'created');
    assert.equal(await store.objects.createBucket('a', 1), 'created');
    assert.equal(await store.objects.createBucket('b', 3), 'exists');
    assert.equal(await store.objects.createBucket('ab', 4), 'created');
    const list = async (prefix: string, after: string, limit = 10) => (await store.objects.listBuckets({ prefix, after, limit })).map(({ bucket }) => bucket);
    assert.deepEqual(await list('', ''), ['a', 'ab', 'b']);
    assert.deepEqual([await list('a', ''), await list('a', 'a'), await list('', 'a', 1), await list('b', 'b')], [['a', 'ab'], ['ab'], ['ab'], []]);
    assert.deepEqual(await store.objects.listBuckets({ prefix: 'b', after: '', limit: 1 }), [{ bucket: 'b', createdAtMs: 2 }]);
    await store.objects.put(objectRecord('b', 'k'));
    assert.equal(await store.objects.deleteBucket('b'), undefined);
    assert.equal(await store.objects.hasBucket('b'), true);
    await store.objects.delete('b', ['k']);
    assert.deepEqual(await store.objects.deleteBucket('b'), []);
    assert.equal(await store.objects.hasBucket('b'), false);
  });

  test('put replaces as a whole and tells which blob is free now', async () => {
    await using store = await open();
    await store.objects.createBucket('b', 1);
    const first = objectRecord('b', 'k', { blobId: '1', metadata: { a: 'b' }, checksums: { CRC32: 'x' }, systemMetadata: { expires: 'never' } });
    const second = objectRecord('b', 'k', { blobId: '2', size: 2 ** 40, etag: 'e', contentType: 't', modifiedAtMs: 9, checksumType: 'COMPOSITE', multipart: { uploadId: 'u', partSizes: [5, 7] } });
    assert.deepEqual(await store.objects.put(first), { outcome: 'stored', freed: [] });
    assert.deepEqual(await store.objects.get('b', 'k'), first);
    assert.deepEqual(await store.objects.put(second), { outcome: 'stored', freed: ['1'] });
    assert.deepEqual(await store.objects.get('b', 'k'), second);
    assert.deepEqual(await store.objects.blobIds(), ['2']);
    await store.objects.put(objectRecord('b', 'other', { blobId: '3' }));
    assert.deepEqual((await store.objects.delete('b', ['other', 'k', 'none'])).toSorted(), ['2', '3']);
    assert.deepEqual(await store.objects.delete('b', ['k']), []);
    assert.deepEqual(await store.objects.delete('b', []), []);
    assert.equal(await store.objects.get('b', 'k'), undefined);
  });

  test('the code that a version holds is referred to as long as the version is there', async () => {
    await using store = await open();
    await store.images.insert(imageRecord('app'), versionRecord('app'));
    assert.deepEqual(await store.objects.blobIds(), []);
    await store.images.update('app', '1.0', { version: { artifactBlobId: 'code' } });
    assert.equal((await store.images.version('app', '1.0'))?.artifactBlobId, 'code');
    await store.images.addVersion(versionRecord('app', '2.0', { artifactBlobId: 'again' }), 'UPDATING');
    assert.deepEqual(await store.objects.blobIds(), ['again', 'code']);
    await store.images.remove('app');
    assert.deepEqual(await store.objects.blobIds(), []);
  });

  test('put into a bucket that is not there is refused', async () => {
    await using store = await open();
    assert.deepEqual(await store.objects.put(objectRecord('none', 'k')), { outcome: 'no-bucket' });
    assert.deepEqual(await store.objects.blobIds(), []);
  });

  test('a put with a condition is refused as a whole where it does not hold', async () => {
    await using store = await open();
    await store.objects.createBucket('b', 1);
    const first = objectRecord('b', 'k', { blobId: '1', etag: 'one' });
    const second = objectRecord('b', 'k', { blobId: '2', etag: 'two' });
    assert.deepEqual(await store.objects.put(first, { etag: 'one' }), { outcome: 'no-key' });
    const both = await Promise.all([store.objects.put(first, 'absent'), store.objects.put(second, 'absent')]);
    assert.deepEqual(both.map(({ outcome }) => outcome), ['stored', 'precondition-failed']);
    assert.deepEqual(await store.objects.put(second, { etag: 'two' }), { outcome: 'precondition-failed' });
    assert.deepEqual(await store.objects.get('b', 'k'), first);
    assert.deepEqual(await store.objects.put(second, { etag: 'one' }), { outcome: 'stored', freed: ['1'] });
  });

  test('a public access block is kept with its bucket', async () => {
    await using store = await open();
    await store.objects.createBucket('b', 1);
    assert.equal(await store.objects.publicAccessBlock('b'), null);
    await store.objects.keepPublicAccessBlock('b', '{}');
    assert.equal(await store.objects.publicAccessBlock('b'), '{}');
    await store.objects.keepPublicAccessBlock('b', null);
    assert.equal(await store.objects.publicAccessBlock('b'), null);
    assert.equal(await store.objects.publicAccessBlock('none'), null);
  });

  test('keys are data: every one is found again, in UTF-8 order', async () => {
    await using store = await open();
    await store.objects.createBucket('b', 1);
    await store.objects.createBucket('other', 1);
    await store.objects.put(objectRecord('other', 'a'));
    for (const [n, key] of KEYS.toReversed().entries()) await store.objects.put(objectRecord('b', key, { blobId: `${n}` }));
    for (const key of KEYS) assert.equal((await store.objects.get('b', key))?.key, key);
    const list = async (prefix: string, after: string, limit = 100) =>
      (await store.objects.list('b', { prefix, after, limit })).map(({ key }) => key);
    // Strictly after `after`, so that '' itself, which S3 has no name for, is not listed.
    assert.deepEqual(await list('', ''), KEYS.slice(1));
    for (const prefix of KEYS) assert.deepEqual(await list(prefix, ''), KEYS.filter((key) => key !== '' && key.startsWith(prefix)), prefix);
    assert.deepEqual(await list('a/', 'a/1'), ['a/2', 'a/ü']);
    assert.deepEqual(await list('a/', 'a/', 2), ['a/1', 'a/2']);
    assert.deepEqual(await list('a/', 'b'), []);
    assert.deepEqual(await list('', '～'), KEYS.slice(KEYS.indexOf('～') + 1));
    assert.deepEqual(await list('none', ''), []);
  });
}
