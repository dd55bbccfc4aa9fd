/** URLs that AWS's SDK for JavaScript signs: what others send as headers it puts into the query. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { presign } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const Bucket = 'hoisted';

describe('URLs signed by the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket }));
  });
  after(() => bed[Symbol.asyncDispose]());

  const putUrl = (Key: string, more: Partial<sdk.PutObjectCommandInput> = {}) => getSignedUrl(bed.s3, new sdk.PutObjectCommand({ Bucket, Key, ...more }));
  const put = async (url: string, body: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(url, { method: 'PUT', body, headers });
    return { status: answer.status, text: await answer.text() };
  };
  const head = (Key: string) => bed.s3.send(new sdk.HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));

  test('PUT and GET as signed by default', async () => {
    const url = await putUrl('plain');
    assert.match(url, /x-amz-checksum-crc32=AAAAAA%3D%3D/, 'the checksum of an empty body, which S3 passes over');
    assert.deepEqual(await put(url, 'kept', { 'content-type': 'text/plain' }), { status: 200, text: '' });
    const got = await fetch(await getSignedUrl(bed.s3, new sdk.GetObjectCommand({ Bucket, Key: 'plain' })));
    assert.deepEqual([await got.text(), got.headers.get('content-type'), got.headers.get('x-amz-checksum-crc32')], ['kept', 'text/plain', null]);
  });

  test('metadata, the storage class, the ACL and the expected owner count as headers would', async () => {
    const url = await putUrl('described', { Metadata: { who: 'me', 'other-one': 'a b' }, ACL: 'private', StorageClass: 'STANDARD_IA', ExpectedBucketOwner: '000000000000' });
    assert.equal((await put(url, 'kept')).status, 200);
    assert.deepEqual((await head('described')).Metadata, { who: 'me', 'other-one': 'a b' });
    assert.match((await put(await putUrl('m', { Metadata: { big: 'x'.repeat(2100) } }), 'x')).text, /<Code>MetadataTooLarge</);
    assert.match((await put(await putUrl('m', { StorageClass: 'NONE' as sdk.StorageClass }), 'x')).text, /<Code>InvalidStorageClass</);
    assert.match((await put(await putUrl('m', { ExpectedBucketOwner: '111111111111' }), 'x')).text, /<Code>AccessDenied</);
    assert.match((await put(url.replace('who=me', 'who=you'), 'x')).text, /<Code>SignatureDoesNotMatch</);
  });

  test('a read may ask for the checksum', async () => {
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'summed', Body: 'hello', ChecksumAlgorithm: 'CRC32' }));
    const got = await fetch(await getSignedUrl(bed.s3, new sdk.GetObjectCommand({ Bucket, Key: 'summed', ChecksumMode: 'ENABLED' })));
    assert.deepEqual([await got.text(), got.headers.get('x-amz-checksum-crc32')], ['hello', 'NhCmhg==']);
  });

  test('what is refused as a header is refused in the query', async () => {
    const locked = await put(await putUrl('m', { ObjectLockLegalHoldStatus: 'ON' }), 'x');
    assert.match(locked.text, /<Code>NotImplemented<.*x-amz-object-lock-legal-hold/);
    await assert.rejects(head('m'), { name: 'NotFound' });
  });

  test('what no header can hold is refused', async () => {
    for (const [name, value] of [['x-amz-meta-who', 'a\r\nb'], ['x-amz-meta-who', '→'], ['x-amz-meta-a b', '1']] as const) {
      const url = new URL(`${bed.origin}/${Bucket}/m?${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
      const answer = await put(String(presign({ method: 'PUT', url }, 60, bed.context('s3'))), 'x');
      assert.match(answer.text, /<Code>InvalidArgument</, name);
    }
  });

  test('the hash of the body is one, or a word for none', async () => {
    for (const hash of ['constructor', 'no-hash', 'A'.repeat(64)]) {
      const url = new URL(`${bed.origin}/${Bucket}/m?X-Amz-Content-Sha256=${hash}`);
      const answer = await put(String(presign({ method: 'PUT', url }, 60, bed.context('s3'))), 'x');
      assert.match(answer.text, /<Code>InvalidArgument<.*x-amz-content-sha256 must be/, hash);
    }
  });

  test('copies and parts', async () => {
    await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'source', Body: 'source' }));
    const copied = await put(await getSignedUrl(bed.s3, new sdk.CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source` })), '');
    assert.match(copied.text, /<CopyObjectResult/);
    assert.equal((await head('copy')).ContentLength, 6);
    const { UploadId } = await bed.s3.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key: 'parts' }));
    const part = await put(await getSignedUrl(bed.s3, new sdk.UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: 1 })), 'part');
    assert.equal(part.status, 200, part.text);
    assert.equal((await bed.s3.send(new sdk.ListPartsCommand({ Bucket, Key: 'parts', UploadId }))).Parts?.[0]?.Size, 4);
  });
});
