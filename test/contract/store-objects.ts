/** The contract of `Store.objects`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import { objectRecord } from '../fakes/records.ts';

/** In UTF-8 order; JavaScript's own order puts the emoji (a surrogate pair) before U+FF5E. */
const KEYS = ['', 'a', 'a\0b', 'a b', 'a/1', 'a/2', 'a/ü', 'ab', 'b', 'é', '\ud7ff', '\ue000', '～', '🙂', '\u{10ffff}', '\u{10ffff}x'];

export function objectContract(open: () => Promise<Store>): void {
  test('buckets: made once, listed by name, deleted when empty', async () => {
    await using store = await open();
    assert.equal(await store.objects.createBucket('b', 2), 'created');
    assert.equal(await store.objects.createBucket('a', 1), 'created');
    assert.equal(await store.objects.createBucket('b', 3), 'exists');
    assert.deepEqual(await store.objects.listBuckets(), [
      { bucket: 'a', createdAtMs: 1 },
      { bucket: 'b', createdAtMs: 2 },
    ]);
    await store.objects.put(objectRecord('b', 'k'));
    assert.equal(await store.objects.deleteBucket('b'), false);
    assert.equal(await store.objects.hasBucket('b'), true);
    await store.objects.delete('b', 'k');
    assert.equal(await store.objects.deleteBucket('b'), true);
    assert.equal(await store.objects.hasBucket('b'), false);
  });

  test('put replaces as a whole and tells which blob is free now', async () => {
    await using store = await open();
    await store.objects.createBucket('b', 1);
    const first = objectRecord('b', 'k', { blobId: '1', metadata: { a: 'b' }, checksums: { CRC32: 'x' } });
    const second = objectRecord('b', 'k', { blobId: '2', size: 2 ** 40, etag: 'e', contentType: 't', modifiedAtMs: 9 });
    assert.equal(await store.objects.put(first), undefined);
    assert.deepEqual(await store.objects.get('b', 'k'), first);
    assert.equal(await store.objects.put(second), '1');
    assert.deepEqual(await store.objects.get('b', 'k'), second);
    assert.deepEqual(await store.objects.blobIds(), ['2']);
    assert.equal(await store.objects.delete('b', 'k'), '2');
    assert.equal(await store.objects.delete('b', 'k'), undefined);
    assert.equal(await store.objects.get('b', 'k'), undefined);
  });

  test('put into a bucket that is not there is refused', async () => {
    await using store = await open();
    await assert.rejects(store.objects.put(objectRecord('none', 'k')), { kind: 'not-found' });
    assert.deepEqual(await store.objects.blobIds(), []);
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
