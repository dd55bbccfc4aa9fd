import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import type { ChecksumAlgorithm } from '../../../src/domain/object-store.ts';
import { startChecksum } from '../../../src/api/s3/checksums.ts';
import { someBytes, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const MIB = 1024 * 1024;
const Bucket = 'parts';
const md5 = (data: Uint8Array) => createHash('md5').update(data).digest();
const sumOf = (algorithm: ChecksumAlgorithm, data: Uint8Array) => {
  const running = startChecksum(algorithm);
  running.update(Buffer.from(data));
  return running.digest();
};
const bytes = someBytes(11 * MIB);
const PIECES = [bytes.subarray(0, 5 * MIB), bytes.subarray(5 * MIB, 10 * MIB), bytes.subarray(10 * MIB)];
const ETAG = `"${createHash('md5').update(Buffer.concat(PIECES.map(md5))).digest('hex')}-3"`;

describe('multipart uploads through the AWS SDK', () => {
  let bed: ApiBed;
  let clean: number;
  before(async () => {
    bed = await startApi();
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket }));
    clean = (await bed.blobFiles()).length;
  });
  after(() => bed[Symbol.asyncDispose]());

  const begin = async (Key: string, more: Partial<sdk.CreateMultipartUploadCommandInput> = {}) => {
    const { UploadId } = await bed.s3.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key, ...more }));
    return { Bucket, Key, UploadId };
  };
  type Begun = Awaited<ReturnType<typeof begin>>;
  const part = (upload: Begun, PartNumber: number, more: Partial<sdk.UploadPartCommandInput> = {}) =>
    bed.s3.send(new sdk.UploadPartCommand({ ...upload, PartNumber, Body: PIECES[PartNumber - 1] ?? 'x', ...more }));
  const sendAll = async (upload: Begun, more: Partial<sdk.UploadPartCommandInput> = {}): Promise<sdk.CompletedPart[]> => {
    const Parts = [];
    for (const PartNumber of [1, 2, 3]) Parts.push({ ...(await part(upload, PartNumber, more)), PartNumber });
    return Parts;
  };
  const complete = (upload: Begun, Parts: sdk.CompletedPart[], more: Partial<sdk.CompleteMultipartUploadCommandInput> = {}) =>
    bed.s3.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...more }));
  const get = async (Key: string, more: Partial<sdk.GetObjectCommandInput> = {}) => {
    const answer = await bed.s3.send(new sdk.GetObjectCommand({ Bucket, Key, ...more }));
    return { ...answer, bytes: Buffer.from(await answer.Body!.transformToByteArray()) };
  };
  const remove = (Key: string) => bed.s3.send(new sdk.DeleteObjectCommand({ Bucket, Key }));

  test('parts become one object with what was said at the beginning, S3\'s ETag, and one file', async () => {
    const upload = await begin('whole', { ContentType: 'a/b', Metadata: { who: 'me' }, CacheControl: 'no-store', ContentEncoding: 'gzip' });
    const parts = await sendAll(upload);
    await assert.rejects(get('whole'), { name: 'NoSuchKey' }, 'nothing is there before');
    const done = await complete(upload, parts);
    assert.deepEqual([done.ETag, done.Bucket, done.Key], [ETAG, Bucket, 'whole']);
    assert.equal(done.Location, `${bed.origin}/${Bucket}/whole`);
    const got = await get('whole');
    assert.ok(got.bytes.equals(bytes));
    assert.deepEqual([got.ETag, got.ContentType, got.Metadata, got.CacheControl, got.ContentEncoding], [ETAG, 'a/b', { who: 'me' }, 'no-store', 'gzip']);
    assert.ok((await get('whole', { Range: 'bytes=5242870-5242890' })).bytes.equals(Buffer.from(bytes.subarray(5242870, 5242891))));
    assert.equal((await bed.blobFiles()).length, clean + 1, 'the parts are gone');
    await remove('whole');
  });

  test('parts of an object are read by number', async () => {
    const upload = await begin('numbered');
    await complete(upload, await sendAll(upload));
    for (const PartNumber of [1, 2, 3]) {
      const got = await get('numbered', { PartNumber });
      assert.ok(got.bytes.equals(Buffer.from(PIECES[PartNumber - 1]!)));
      assert.deepEqual([got.PartsCount, got.$metadata.httpStatusCode], [3, 206]);
    }
    const head = await bed.s3.send(new sdk.HeadObjectCommand({ Bucket, Key: 'numbered', PartNumber: 3 }));
    assert.deepEqual([head.PartsCount, head.ContentLength], [3, MIB]);
    for (const PartNumber of [0, 4]) await assert.rejects(get('numbered', { PartNumber }), { name: 'InvalidPartNumber' });
    await assert.rejects(get('numbered', { PartNumber: 1, Range: 'bytes=0-1' }), { name: 'InvalidRequest' });
    await remove('numbered');
  });

  const types: [ChecksumAlgorithm, sdk.ChecksumType][] = [
    ['CRC32', 'COMPOSITE'], ['CRC32', 'FULL_OBJECT'], ['CRC32C', 'COMPOSITE'], ['CRC32C', 'FULL_OBJECT'], ['CRC64NVME', 'FULL_OBJECT'], ['SHA1', 'COMPOSITE'], ['SHA256', 'COMPOSITE'],
  ];
  for (const [ChecksumAlgorithm, ChecksumType] of types) {
    test(`checksum ${ChecksumAlgorithm} ${ChecksumType}: from the parts, verified, sent on the way out`, async () => {
      const member = `Checksum${ChecksumAlgorithm}` as const;
      const upload = await begin('sum', { ChecksumAlgorithm, ChecksumType });
      const parts = await sendAll(upload, { ChecksumAlgorithm });
      assert.deepEqual(parts.map((each) => each[member]), PIECES.map((piece) => sumOf(ChecksumAlgorithm, piece)));
      const composite = `${sumOf(ChecksumAlgorithm, Buffer.concat(parts.map((each) => Buffer.from(each[member]!, 'base64'))))}-3`;
      const expected = ChecksumType === 'COMPOSITE' ? composite : sumOf(ChecksumAlgorithm, bytes);
      const wrong = sumOf(ChecksumAlgorithm, Buffer.from('something else'));
      await assert.rejects(complete(upload, parts, { [member]: wrong }), { name: 'BadDigest' });
      await assert.rejects(complete(upload, parts, { ChecksumType: ChecksumType === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE' }), { name: 'InvalidRequest' });
      const done = await complete(upload, parts, { [member]: expected, ChecksumType });
      assert.deepEqual([done[member], done.ChecksumType], [expected, ChecksumType]);
      const head = await bed.s3.send(new sdk.HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }));
      assert.deepEqual([head[member], head.ChecksumType], [expected, ChecksumType]);
      const { Contents } = await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket, Prefix: 'sum' }));
      assert.deepEqual([Contents![0]!.ChecksumAlgorithm, Contents![0]!.ChecksumType], [[ChecksumAlgorithm], ChecksumType]);
      assert.ok((await get('sum', { ChecksumMode: 'ENABLED' })).bytes.equals(bytes));
    });
  }

  test('checksums that cannot be, or are not there', async () => {
    await assert.rejects(begin('k', { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' }), { message: 'The FULL_OBJECT checksum type cannot be used with the sha256 checksum algorithm.' });
    await assert.rejects(begin('k', { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' }), { message: 'The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm.' });
    await assert.rejects(begin('k', { ChecksumAlgorithm: 'MD4' as 'SHA1' }), { name: 'InvalidRequest' });
    const upload = await begin('k', { ChecksumAlgorithm: 'SHA256' });
    await assert.rejects(part(upload, 3, { ChecksumAlgorithm: 'CRC32' }), { message: 'Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: crc32' });
    const sent = await part(upload, 3, { ChecksumAlgorithm: 'SHA256' });
    await assert.rejects(complete(upload, [{ PartNumber: 3, ETag: sent.ETag }]), { message: /It was missing for part 3 in the request\.$/ });
    await assert.rejects(complete(upload, [{ PartNumber: 3, ETag: sent.ETag, ChecksumSHA256: sumOf('SHA256', Buffer.from('x')) }]), { name: 'InvalidPart' });
    await bed.s3.send(new sdk.AbortMultipartUploadCommand(upload));
  });

  test('a checksum of the whole object needs none from the client', async () => {
    const upload = await begin('quiet', { ChecksumAlgorithm: 'CRC64NVME' });
    const query = `uploadId=${upload.UploadId}&partNumber=1`;
    const put = await bed.call('PUT', `/${Bucket}/quiet?${query}`, { service: 's3', body: 'hello' });
    const done = await complete(upload, [{ PartNumber: 1, ETag: put.headers.get('etag')! }]);
    assert.equal(done.ChecksumCRC64NVME, sumOf('CRC64NVME', Buffer.from('hello')));
    await remove('quiet');
  });

  test('the list of parts: order, existence, size', async () => {
    const upload = await begin('rules');
    const parts = await sendAll(upload);
    const [first, second, third] = parts as [sdk.CompletedPart, sdk.CompletedPart, sdk.CompletedPart];
    await assert.rejects(complete(upload, [second, first]), { name: 'InvalidPartOrder' });
    await assert.rejects(complete(upload, [first, first]), { name: 'InvalidPartOrder' });
    await assert.rejects(complete(upload, [first, { ...second, ETag: first.ETag }]), { name: 'InvalidPart' });
    await assert.rejects(complete(upload, [...parts, { ETag: first.ETag, PartNumber: 4 }]), { name: 'InvalidPart' });
    await assert.rejects(complete(upload, []), { name: 'MalformedXML' });
    await assert.rejects(complete(upload, Array.from({ length: 10_001 }, (_, n) => ({ PartNumber: n + 1, ETag: first.ETag }))), { name: 'MalformedXML' });
    await assert.rejects(complete(upload, parts, { MpuObjectSize: 5 }), { name: 'InvalidRequest' });
    const fourth = await part(upload, 4);
    await assert.rejects(complete(upload, [first, third, { ...fourth, PartNumber: 4 }]), (error: sdk.S3ServiceException & { ProposedSize?: string }) => error.name === 'EntityTooSmall' && error.ProposedSize === String(MIB));
    for (const PartNumber of [0, 10_001]) await assert.rejects(part(upload, PartNumber), { name: 'InvalidArgument' });
    const gaps = await complete(upload, [second, third]);
    assert.match(gaps.ETag!, /-2"$/);
    assert.ok((await get('rules')).bytes.equals(Buffer.from(bytes.subarray(5 * MIB))), 'parts that are not listed are left out');
    assert.equal((await bed.blobFiles()).length, clean + 2, 'and removed; `sum` is there from before');
    await remove('rules');
    await remove('sum');
  });

  test('an upload that is not there, or that is another key\'s', async () => {
    const upload = await begin('mine');
    await part(upload, 3);
    for (const other of [{ ...upload, Key: 'theirs' }, { ...upload, UploadId: 'nonsense' }, { ...upload, UploadId: '../x' }]) {
      const refusal = { name: 'NoSuchUpload' };
      await assert.rejects(part(other, 1), refusal);
      await assert.rejects(complete(other, [{ PartNumber: 3, ETag: 'x' }]), refusal);
      await assert.rejects(bed.s3.send(new sdk.ListPartsCommand(other)), refusal);
      await assert.rejects(bed.s3.send(new sdk.AbortMultipartUploadCommand(other)), refusal);
    }
    await assert.rejects(begin('k', { Bucket: 'nowhere' }), { name: 'NoSuchBucket' });
    await assert.rejects(part({ ...upload, Bucket: 'nowhere' }, 1), { name: 'NoSuchBucket' });
    await bed.s3.send(new sdk.AbortMultipartUploadCommand(upload));
    await assert.rejects(part(upload, 1), { name: 'NoSuchUpload' });
    assert.equal((await bed.blobFiles()).length, clean, 'its parts are gone');
  });

  test('completed twice, one after the other or at once: the same answer; with other parts it is no more', async () => {
    const upload = await begin('twice');
    const parts = await sendAll(upload);
    const [one, two] = await Promise.all([complete(upload, parts), complete(upload, parts)]);
    assert.deepEqual([one.ETag, two.ETag], [ETAG, ETAG]);
    assert.equal((await complete(upload, parts)).ETag, ETAG);
    await assert.rejects(complete(upload, parts.slice(0, 2)), { name: 'NoSuchUpload' });
    await assert.rejects(bed.s3.send(new sdk.AbortMultipartUploadCommand(upload)), { name: 'NoSuchUpload' });
    assert.equal((await bed.blobFiles()).length, clean + 1);
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'twice', Body: 'newer' }));
    await assert.rejects(complete(upload, parts), { name: 'NoSuchUpload' }, 'it never brings back what was replaced');
    assert.equal((await get('twice')).bytes.toString(), 'newer');
    await remove('twice');
  });

  test('a completion with a condition that does not hold leaves the upload as it was', async () => {
    const upload = await begin('held');
    const sent = await part(upload, 3);
    const Parts = [{ PartNumber: 3, ETag: sent.ETag }];
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'held', Body: 'first' }));
    await assert.rejects(complete(upload, Parts, { IfNoneMatch: '*' }), { name: 'PreconditionFailed' });
    assert.equal((await get('held')).bytes.toString(), 'first');
    assert.match((await complete(upload, Parts, { IfMatch: (await get('held')).ETag })).ETag!, /-1"$/);
    await remove('held');
  });

  test('parts copied from objects, whole or in ranges', async () => {
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'source ü', Body: bytes }));
    const CopySource = `${Bucket}/${encodeURIComponent('source ü')}`;
    const upload = await begin('copied', { ChecksumAlgorithm: 'CRC32' });
    const copy = (PartNumber: number, more: Partial<sdk.UploadPartCopyCommandInput> = {}) =>
      bed.s3.send(new sdk.UploadPartCopyCommand({ ...upload, PartNumber, CopySource, ...more }));
    const first = await copy(1);
    const second = await copy(2, { CopySourceRange: 'bytes=10-19' });
    assert.equal(second.CopyPartResult!.ChecksumCRC32, sumOf('CRC32', bytes.subarray(10, 20)));
    for (const CopySourceRange of ['bytes=0-11534336', 'bytes=5-4', 'bytes=-5', 'bytes=5-', '0-5']) await assert.rejects(copy(3, { CopySourceRange }), { name: 'InvalidArgument' }, CopySourceRange);
    await assert.rejects(copy(3, { CopySource: `${Bucket}/none` }), { name: 'NoSuchKey' });
    await assert.rejects(copy(3, { CopySourceIfMatch: '"other"' }), { name: 'PreconditionFailed' });
    await complete(upload, [first, second].map(({ CopyPartResult }, n) => ({ ETag: CopyPartResult!.ETag, ChecksumCRC32: CopyPartResult!.ChecksumCRC32, PartNumber: n + 1 })));
    assert.ok((await get('copied')).bytes.equals(Buffer.concat([bytes, bytes.subarray(10, 20)])));
    await remove('copied');
    await remove('source ü');
    assert.equal((await bed.blobFiles()).length, clean);
  });

  test('ListParts in pages; ListMultipartUploads by prefix, delimiter and markers', async () => {
    const uploads: Begun[] = [];
    for (const Key of ['p/a', 'p/b/1', 'p/b/2', 'p/c', 'p/c']) {
      bed.time.nowMs += 1;
      uploads.push(await begin(Key));
    }
    for (const PartNumber of [3, 7, 9]) await part(uploads[0]!, PartNumber);
    const seen: (number | undefined)[] = [];
    let PartNumberMarker: string | undefined;
    do {
      const page: sdk.ListPartsCommandOutput = await bed.s3.send(new sdk.ListPartsCommand({ ...uploads[0]!, MaxParts: 2, PartNumberMarker }));
      seen.push(...page.Parts!.map((each) => each.PartNumber));
      PartNumberMarker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } while (PartNumberMarker !== undefined);
    assert.deepEqual(seen, [3, 7, 9]);
    const list = async (input: Partial<sdk.ListMultipartUploadsCommandInput>) => bed.s3.send(new sdk.ListMultipartUploadsCommand({ Bucket, Prefix: 'p/', ...input }));
    const ids = (page: sdk.ListMultipartUploadsCommandOutput) => (page.Uploads ?? []).map((each) => each.UploadId);
    const all = uploads.map((upload) => upload.UploadId);
    assert.deepEqual(ids(await list({})), all);
    const rolled = await list({ Delimiter: '/' });
    assert.deepEqual([ids(rolled), rolled.CommonPrefixes!.map((each) => each.Prefix)], [[all[0], all[3], all[4]], ['p/b/']]);
    assert.deepEqual(ids(await list({ KeyMarker: 'p/b/2' })), [all[3], all[4]]);
    assert.deepEqual(ids(await list({ KeyMarker: 'p/c', UploadIdMarker: all[3] })), [all[4]]);
    for (const Delimiter of [undefined, '/']) {
      const paged: (string | undefined)[] = [];
      let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
      while (markers !== undefined) {
        const page: sdk.ListMultipartUploadsCommandOutput = await list({ ...markers, Delimiter, MaxUploads: 1 });
        paged.push(...ids(page), ...(page.CommonPrefixes ?? []).map((each) => each.Prefix));
        markers = page.IsTruncated === true ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
      }
      assert.deepEqual(paged, Delimiter === undefined ? all : [all[0], 'p/b/', all[3], all[4]]);
    }
    for (const upload of uploads) await bed.s3.send(new sdk.AbortMultipartUploadCommand(upload));
  });

  test('a bucket is deleted with its unfinished uploads', async () => {
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: 'doomed' }));
    const upload = await begin('k', { Bucket: 'doomed' });
    const begun = { ...upload, Bucket: 'doomed' };
    await part(begun, 3);
    await bed.s3.send(new sdk.DeleteBucketCommand({ Bucket: 'doomed' }));
    await assert.rejects(part(begun, 3), { name: 'NoSuchBucket' });
    assert.equal((await bed.blobFiles()).length, clean);
  });
});
