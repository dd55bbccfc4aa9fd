import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { openBlobs } from '../../../src/store/blobs.ts';

const root = mkdtempSync(join(tmpdir(), 'lull-blobs-'));
after(() => rmSync(root, { recursive: true }));
let folders = 0;
const freshFolder = () => join(root, `${++folders}`);
const bytesOf = async (stream: Readable) => Buffer.concat((await stream.toArray()) as Buffer[]);

test('what is written comes back, whole and in ranges, with its size and MD5, for the owner only', async () => {
  const folder = freshFolder();
  const blobs = await openBlobs(folder);
  const bytes = Buffer.alloc(300_000, 'abcdefg');
  const { blobId, size, md5 } = await blobs.write(Readable.from([bytes.subarray(0, 5), bytes.subarray(5)]));
  assert.equal(size, bytes.length);
  assert.equal(md5, createHash('md5').update(bytes).digest('hex'));
  assert.deepEqual(await bytesOf(blobs.read(blobId)), bytes);
  assert.deepEqual(await bytesOf(blobs.read(blobId, { start: 0, end: 0 })), bytes.subarray(0, 1));
  assert.deepEqual(await bytesOf(blobs.read(blobId, { start: 299_990, end: 299_999 })), bytes.subarray(-10));
  assert.equal(statSync(blobs.path(blobId)).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  const again = await openBlobs(folder);
  assert.deepEqual(await bytesOf(again.read(blobId)), bytes);
});

test('an empty blob is a blob', async () => {
  const blobs = await openBlobs(freshFolder());
  const { blobId, size, md5 } = await blobs.write(Readable.from([]));
  assert.deepEqual([size, md5], [0, 'd41d8cd98f00b204e9800998ecf8427e']);
  assert.equal((await bytesOf(blobs.read(blobId))).length, 0);
});

test('a stream that fails leaves no file, and what a crash left is swept at the next start', async () => {
  const folder = freshFolder();
  const blobs = await openBlobs(folder);
  const broken = Readable.from((function* () {
    yield 'half';
    throw new Error('cut off');
  })());
  await assert.rejects(blobs.write(broken), /cut off/);
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(join(folder, '0b5e1b8e-0000-4000-8000-000000000000.partial'), 'half');
  await openBlobs(folder);
  assert.deepEqual(readdirSync(folder), []);
});

test('remove frees one name; a second one keeps the bytes', async () => {
  const blobs = await openBlobs(freshFolder());
  const { blobId } = await blobs.write(Readable.from(['bytes']));
  const retained = await blobs.join([blobId]);
  assert.ok(retained !== undefined && retained !== blobId);
  await blobs.remove(blobId);
  await blobs.remove(blobId);
  assert.equal((await bytesOf(blobs.read(retained))).toString(), 'bytes');
  assert.equal(await blobs.join([blobId]), undefined);
  await assert.rejects(bytesOf(blobs.read(blobId)), { code: 'ENOENT' });
});

test('joined, blobs are one file, one after the other; they stay, and one that is gone leaves nothing', async () => {
  const folder = freshFolder();
  const blobs = await openBlobs(folder);
  const pieces = [Buffer.alloc(3_000_000, 'a'), Buffer.alloc(0), Buffer.alloc(1_048_576, 'b')];
  const ids: string[] = [];
  for (const piece of pieces) ids.push((await blobs.write(Readable.from([piece]))).blobId);
  const whole = await blobs.join(ids);
  assert.ok(whole !== undefined);
  assert.deepEqual(readFileSync(blobs.path(whole)), Buffer.concat(pieces));
  assert.equal(statSync(blobs.path(whole)).mode & 0o777, 0o600);
  const second = await blobs.join([ids[0]!]);
  assert.ok(second !== undefined && second !== ids[0]);
  assert.equal(statSync(blobs.path(second)).ino, statSync(blobs.path(ids[0]!)).ino, 'one alone is not copied');
  await blobs.remove(ids[2]!);
  const before = readdirSync(folder).length;
  assert.equal(await blobs.join(ids), undefined);
  assert.equal(await blobs.join([ids[2]!]), undefined);
  assert.equal(readdirSync(folder).length, before);
});

test('told what is referred to, opening removes the orphans and nothing else', async () => {
  const folder = freshFolder();
  const blobs = await openBlobs(folder);
  const [kept, orphan] = [await blobs.write(Readable.from(['kept'])), await blobs.write(Readable.from(['orphan']))];
  writeFileSync(join(folder, 'README'), 'not a blob');
  await openBlobs(folder);
  assert.equal(readdirSync(folder).length, 3);
  await openBlobs(folder, { keep: [kept.blobId] });
  assert.deepEqual(readdirSync(folder).toSorted(), [kept.blobId, 'README'].toSorted());
  assert.equal(await blobs.join([orphan.blobId]), undefined);
});

test('an id that is a path is refused', async () => {
  const blobs = await openBlobs(freshFolder());
  for (const id of ['../x', '', 'a/b', '/etc/passwd']) assert.throws(() => blobs.path(id), { kind: 'internal' });
});
