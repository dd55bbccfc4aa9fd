import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const Bucket = 'lists';
const KEYS = ['a', 'b/1', 'b/2', 'b/c/3', 'c d+e', 'd/1', 'z', '日本/x'];

describe('listings through the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    for (const name of [Bucket, 'lists-2', 'other']) await bed.s3.send(new sdk.CreateBucketCommand({ Bucket: name }));
    for (const Key of KEYS) await bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key, Body: 'x' }));
  });
  after(() => bed[Symbol.asyncDispose]());

  const list = (input: Partial<sdk.ListObjectsCommandInput> = {}) => bed.s3.send(new sdk.ListObjectsCommand({ Bucket, ...input }));
  const keysOf = (page: sdk.ListObjectsCommandOutput) => (page.Contents ?? []).map((object) => object.Key);
  const prefixesOf = (page: sdk.ListObjectsCommandOutput) => (page.CommonPrefixes ?? []).map((one) => one.Prefix);

  test('ListObjects: owner, marker, delimiter', async () => {
    const all = await list();
    assert.deepEqual([keysOf(all), all.IsTruncated, all.MaxKeys, all.Marker, all.NextMarker], [KEYS, false, 1000, '', undefined]);
    assert.deepEqual([all.Contents![0]!.Owner!.ID, all.Contents![0]!.StorageClass], ['000000000000', 'STANDARD']);
    assert.deepEqual(keysOf(await list({ Marker: 'c d+e' })), ['d/1', 'z', '日本/x']);
    const top = await list({ Delimiter: '/' });
    assert.deepEqual([keysOf(top), prefixesOf(top)], [['a', 'c d+e', 'z'], ['b/', 'd/', '日本/']]);
    assert.deepEqual((await list({ MaxKeys: 1 })).NextMarker, undefined, 'without a delimiter it is the last key');
  });

  for (const MaxKeys of [1, 2, 3, 5]) {
    test(`ListObjects in pages of ${MaxKeys}: nothing twice, nothing left out`, async () => {
      for (const Delimiter of [undefined, '/']) {
        const seen: (string | undefined)[] = [];
        let Marker: string | undefined = '';
        while (Marker !== undefined) {
          const page: sdk.ListObjectsCommandOutput = await list({ Delimiter, MaxKeys, Marker });
          const items = [...keysOf(page), ...prefixesOf(page)];
          assert.ok(items.length <= MaxKeys);
          seen.push(...items);
          Marker = page.IsTruncated === true ? (page.NextMarker ?? keysOf(page).at(-1)) : undefined;
        }
        const expected = Delimiter === undefined ? KEYS : ['a', 'b/', 'c d+e', 'd/', 'z', '日本/'];
        assert.deepEqual([seen.length, new Set(seen)], [expected.length, new Set<string | undefined>(expected)]);
      }
    });
  }

  test('names are encoded where asked, in every member', async () => {
    const page = await list({ EncodingType: 'url', Prefix: '日', Delimiter: '/', Marker: 'ü' });
    assert.deepEqual([page.Prefix, page.Marker, prefixesOf(page)], ['%E6%97%A5', '%C3%BC', ['%E6%97%A5%E6%9C%AC/']]);
    assert.deepEqual(keysOf(await list({ EncodingType: 'url', Prefix: 'c' })), ['c%20d%2Be']);
    await assert.rejects(list({ EncodingType: 'base64' as 'url' }), { name: 'InvalidArgument' });
  });

  test('the owner is shown by the second version only where asked', async () => {
    const second = async (FetchOwner?: boolean) => (await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket, FetchOwner }))).Contents![0]!.Owner?.ID;
    assert.deepEqual([await second(), await second(true)], [undefined, '000000000000']);
  });

  test('buckets: prefix, pages, region', async () => {
    const buckets = async (input: sdk.ListBucketsCommandInput) => bed.s3.send(new sdk.ListBucketsCommand(input));
    const names = (page: sdk.ListBucketsCommandOutput) => (page.Buckets ?? []).map((bucket) => bucket.Name);
    assert.deepEqual(names(await buckets({ Prefix: 'lists' })), [Bucket, 'lists-2']);
    const first = await buckets({ MaxBuckets: 2 });
    assert.deepEqual([names(first), first.Buckets![0]!.BucketRegion], [[Bucket, 'lists-2'], 'us-east-1']);
    const second = await buckets({ MaxBuckets: 2, ContinuationToken: first.ContinuationToken });
    assert.deepEqual([names(second), second.ContinuationToken], [['other'], undefined]);
    assert.deepEqual(names(await buckets({ BucketRegion: 'eu-west-1' })), []);
  });

  test('a page size that is no number, a bucket that is not there', async () => {
    await assert.rejects(list({ MaxKeys: -1 }), { name: 'InvalidArgument' });
    await assert.rejects(list({ Bucket: 'nowhere' }), { name: 'NoSuchBucket' });
    await assert.rejects(bed.s3.send(new sdk.ListMultipartUploadsCommand({ Bucket: 'nowhere' })), { name: 'NoSuchBucket' });
  });
});
