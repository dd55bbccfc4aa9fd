import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import { presign } from '../../../src/lib/sigv4.ts';
import { startApi, someBytes } from './bed.ts';
import type { ApiBed } from './bed.ts';

const MIB = 1024 * 1024;
const BUCKET = 'artifacts';
const md5 = (data: Uint8Array) => createHash('md5').update(data).digest('hex');

describe('S3 through the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: BUCKET }));
  });
  after(() => bed[Symbol.asyncDispose]());

  const put = (Key: string, Body: NonNullable<sdk.PutObjectCommandInput['Body']>, more: Partial<sdk.PutObjectCommandInput> = {}) =>
    bed.s3.send(new sdk.PutObjectCommand({ Bucket: BUCKET, Key, Body, ...more }));
  const get = async (Key: string, more: Partial<sdk.GetObjectCommandInput> = {}) => {
    const answer = await bed.s3.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key, ...more }));
    return { ...answer, bytes: await answer.Body!.transformToByteArray() };
  };

  test('a round trip with metadata, content type, checksum and ETag', async () => {
    const stored = await put('a.txt', 'hello', { ContentType: 'text/plain', Metadata: { who: 'me' } });
    assert.equal(stored.ETag, '"5d41402abc4b2a76b9719d911017c592"');
    assert.equal(stored.ChecksumCRC32, 'NhCmhg==');
    const got = await get('a.txt');
    assert.equal(Buffer.from(got.bytes).toString(), 'hello');
    assert.deepEqual([got.ContentType, got.Metadata, got.ETag, got.ChecksumCRC32], ['text/plain', { who: 'me' }, stored.ETag, 'NhCmhg==']);
    const head = await bed.s3.send(new sdk.HeadObjectCommand({ Bucket: BUCKET, Key: 'a.txt' }));
    assert.deepEqual([head.ContentLength, head.ETag, head.AcceptRanges], [5, stored.ETag, 'bytes']);
  });

  test('a stream of 20 MiB goes in by signed or unsigned chunks and comes out whole', async () => {
    const bytes = someBytes(20 * MIB);
    const body = Readable.from(
      (function* () {
        for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
      })(),
    );
    const stored = await put('big', body, { ContentLength: bytes.length });
    assert.equal(stored.ETag, `"${md5(bytes)}"`);
    assert.equal(md5((await get('big')).bytes), md5(bytes));
    const files = await bed.blobFiles();
    await put('big', 'small again');
    assert.equal((await bed.blobFiles()).length, files.length, 'the replaced bytes are removed');
    assert.equal(Buffer.from((await get('big')).bytes).toString(), 'small again');
  });

  test('an empty object', async () => {
    await put('empty', '');
    const got = await get('empty');
    assert.deepEqual([got.bytes.length, got.ContentLength, got.ETag], [0, 0, '"d41d8cd98f00b204e9800998ecf8427e"']);
  });

  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
    test(`checksum ${ChecksumAlgorithm}: verified on the way in, sent on the way out`, async () => {
      const member = `Checksum${ChecksumAlgorithm}` as const;
      const stored = await put('sum', 'hello', { ChecksumAlgorithm });
      assert.ok(stored[member]);
      const got = await get('sum', { ChecksumMode: 'ENABLED' });
      assert.equal(got[member], stored[member]);
      const wrong = Buffer.from(stored[member], 'base64');
      wrong[0]! ^= 1;
      await assert.rejects(put('sum', 'hello', { [member]: wrong.toString('base64') }), { name: 'BadDigest' });
    });
  }

  const keys = ['../x', '..', '.', 'a/../../b', 'a b+c%20d', 'ünï/日本/🦆', '%', "quo'te\"<&>", 'a//b', '/leading', 'trailing/', 'x'.repeat(1024), '?q=1&r#frag', 'a\\b', '~-_.!*()'];
  for (const key of keys) {
    test(`key ${JSON.stringify(key.slice(0, 30))} is data`, async () => {
      await put(key, key);
      assert.equal(Buffer.from((await get(key)).bytes).toString(), key);
      const listed = await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket: BUCKET, Prefix: key }));
      assert.ok(listed.Contents!.some((object) => object.Key === key));
      await bed.s3.send(new sdk.DeleteObjectCommand({ Bucket: BUCKET, Key: key }));
      await assert.rejects(get(key), { name: 'NoSuchKey' });
    });
  }

  test('a key with a line feed lists as such, and encoded where asked', async () => {
    await put('line\nfeed', 'x');
    const plain = await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'line' }));
    assert.deepEqual(plain.Contents!.map((object) => object.Key), ['line\nfeed']);
    const encoded = await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'line', EncodingType: 'url' }));
    assert.deepEqual(encoded.Contents!.map((object) => object.Key), ['line%0Afeed']);
  });

  test('ranges', async () => {
    await put('r', '0123456789');
    const cases = [['bytes=2-4', '234', 'bytes 2-4/10'], ['bytes=7-', '789', 'bytes 7-9/10'], ['bytes=-3', '789', 'bytes 7-9/10'], ['bytes=5-99', '56789', 'bytes 5-9/10'], ['bytes=-99', '0123456789', 'bytes 0-9/10']] as const;
    for (const [Range, text, ContentRange] of cases) {
      const got = await get('r', { Range });
      assert.deepEqual([Buffer.from(got.bytes).toString(), got.ContentRange, got.$metadata.httpStatusCode], [text, ContentRange, 206], Range);
    }
    for (const Range of ['bytes=10-', 'bytes=-0', 'bytes=99-100']) {
      await assert.rejects(get('r', { Range }), (error: sdk.S3ServiceException) => error.name === 'InvalidRange' && error.$metadata.httpStatusCode === 416, Range);
    }
    for (const Range of ['bytes=a-b', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=4-2', 'bytes=-']) {
      assert.equal((await get('r', { Range })).$metadata.httpStatusCode, 200, Range);
    }
  });

  test('preconditions of a read', async () => {
    const { ETag } = await put('c', 'x');
    await assert.rejects(get('c', { IfMatch: '"other"' }), { name: 'PreconditionFailed' });
    await assert.rejects(get('c', { IfNoneMatch: ETag }), (error: sdk.S3ServiceException) => error.$metadata.httpStatusCode === 304);
    await assert.rejects(get('c', { IfUnmodifiedSince: new Date(0) }), { name: 'PreconditionFailed' });
    await assert.rejects(get('c', { IfModifiedSince: new Date(bed.time.nowMs + 5000) }), (error: sdk.S3ServiceException) => error.$metadata.httpStatusCode === 304);
    assert.equal((await get('c', { IfMatch: ETag })).bytes.length, 1);
  });

  test('buckets: create twice, list, head, location, delete only when empty, bad names', async () => {
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: 'second' }));
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: 'second' }));
    const { Buckets } = await bed.s3.send(new sdk.ListBucketsCommand({}));
    assert.deepEqual(Buckets!.map((bucket) => bucket.Name), [BUCKET, 'second']);
    assert.ok(Buckets![0]!.CreationDate instanceof Date);
    assert.equal((await bed.s3.send(new sdk.HeadBucketCommand({ Bucket: 'second' }))).BucketRegion, 'us-east-1');
    assert.equal((await bed.s3.send(new sdk.GetBucketLocationCommand({ Bucket: 'second' }))).LocationConstraint, undefined);
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket: 'second', Key: 'k', Body: 'x' }));
    await assert.rejects(bed.s3.send(new sdk.DeleteBucketCommand({ Bucket: 'second' })), { name: 'BucketNotEmpty' });
    await bed.s3.send(new sdk.DeleteObjectCommand({ Bucket: 'second', Key: 'k' }));
    await bed.s3.send(new sdk.DeleteObjectCommand({ Bucket: 'second', Key: 'k' }));
    await bed.s3.send(new sdk.DeleteBucketCommand({ Bucket: 'second' }));
    await assert.rejects(bed.s3.send(new sdk.HeadBucketCommand({ Bucket: 'second' })), { name: 'NotFound' });
    await assert.rejects(bed.s3.send(new sdk.PutObjectCommand({ Bucket: 'second', Key: 'k', Body: 'x' })), { name: 'NoSuchBucket' });
    for (const Bucket of ['UPPER', 'a', 'a..b', '1.2.3.4', '-abc', 'a_b']) {
      await assert.rejects(bed.s3.send(new sdk.CreateBucketCommand({ Bucket })), { name: 'InvalidBucketName' }, Bucket);
    }
  });

  test('listing: prefix, delimiter, pages, start-after', async () => {
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: 'lists' }));
    const names = ['a', 'b/1', 'b/2', 'b/c/3', 'c', 'd/1', '日本/x', 'z'];
    for (const Key of names) await bed.s3.send(new sdk.PutObjectCommand({ Bucket: 'lists', Key, Body: 'x' }));
    const list = async (input: Partial<sdk.ListObjectsV2CommandInput>) => {
      const answer = await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket: 'lists', ...input }));
      return { answer, keys: (answer.Contents ?? []).map((object) => object.Key), prefixes: (answer.CommonPrefixes ?? []).map((one) => one.Prefix) };
    };
    const all = await list({});
    assert.deepEqual(all.keys, ['a', 'b/1', 'b/2', 'b/c/3', 'c', 'd/1', 'z', '日本/x']);
    assert.deepEqual([all.answer.KeyCount, all.answer.IsTruncated, all.answer.MaxKeys], [8, false, 1000]);
    const top = await list({ Delimiter: '/' });
    assert.deepEqual([top.keys, top.prefixes], [['a', 'c', 'z'], ['b/', 'd/', '日本/']]);
    const inner = await list({ Delimiter: '/', Prefix: 'b/' });
    assert.deepEqual([inner.keys, inner.prefixes], [['b/1', 'b/2'], ['b/c/']]);
    assert.deepEqual((await list({ StartAfter: 'c' })).keys, ['d/1', 'z', '日本/x']);
    assert.deepEqual((await list({ MaxKeys: 0 })).answer.IsTruncated, false);
    for (const MaxKeys of [1, 2, 3, 5]) {
      const seen: (string | undefined)[] = [];
      let ContinuationToken: string | undefined;
      do {
        const page = await list({ Delimiter: '/', MaxKeys, ContinuationToken });
        assert.ok(page.answer.KeyCount! <= MaxKeys);
        seen.push(...page.keys, ...page.prefixes);
        ContinuationToken = page.answer.NextContinuationToken;
      } while (ContinuationToken !== undefined);
      assert.deepEqual(new Set(seen), new Set(['a', 'b/', 'c', 'd/', 'z', '日本/']), `by ${MaxKeys}`);
      assert.equal(seen.length, 6, 'nothing twice');
    }
    await assert.rejects(list({ ContinuationToken: 'nonsense' }), { name: 'InvalidArgument' });
  });

  test('presigned GET and PUT work until they expire, and only as signed', async () => {
    const url = (method: string, path: string) => presign({ method, url: new URL(`${bed.origin}/${BUCKET}/${path}`) }, 60, bed.context('s3'));
    const stored = await fetch(url('PUT', 'pre%20signed'), { method: 'PUT', body: 'presigned' });
    assert.equal(stored.status, 200);
    const readable = url('GET', 'pre%20signed');
    assert.equal(await (await fetch(readable)).text(), 'presigned');
    assert.equal((await fetch(readable, { method: 'DELETE' })).status, 403);
    assert.equal((await fetch(String(readable).replace('pre%20signed', 'a.txt'))).status, 403);
    assert.equal((await fetch(readable, { headers: { 'x-amz-meta-a': '1' } })).status, 403);
    bed.time.nowMs += 61_000;
    const late = await fetch(readable);
    bed.time.nowMs -= 61_000;
    assert.equal(late.status, 403);
    assert.match(await late.text(), /<Code>AccessDenied<\/Code><Message>Request has expired<\/Message>/);
  });

  test('what is not implemented says so', async () => {
    await assert.rejects(put('m', 'x', { IfNoneMatch: '"an-etag"' }), { name: 'NotImplemented' });
    await assert.rejects(put('m', 'x', { SSECustomerAlgorithm: 'AES256' }), { name: 'NotImplemented' });
    await assert.rejects(bed.s3.send(new sdk.GetObjectAttributesCommand({ Bucket: BUCKET, Key: 'a.txt', ObjectAttributes: ['ETag'] })), { name: 'NotImplemented' });
    await assert.rejects(bed.s3.send(new sdk.PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: 'Enabled' } })), { name: 'NotImplemented' });
  });

  test('a key that is too long, a wrong Content-MD5, too much metadata', async () => {
    await assert.rejects(put('x'.repeat(1025), 'x'), { name: 'KeyTooLongError' });
    await assert.rejects(put('m', 'x', { ContentMD5: createHash('md5').update('y').digest('base64') }), { name: 'BadDigest' });
    await assert.rejects(put('m', 'x', { Metadata: { big: 'x'.repeat(2100) } }), { name: 'MetadataTooLarge' });
  });
});
