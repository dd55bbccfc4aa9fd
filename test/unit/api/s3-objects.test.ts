import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const Bucket = 'things';
const md5Base64 = (text: string) => createHash('md5').update(text).digest('base64');

describe('objects through the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.s3.send(new sdk.CreateBucketCommand({ Bucket }));
  });
  after(() => bed[Symbol.asyncDispose]());

  const put = (Key: string, Body: string, more: Partial<sdk.PutObjectCommandInput> = {}) => bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key, Body, ...more }));
  const head = (Key: string, more: Partial<sdk.HeadObjectCommandInput> = {}) => bed.s3.send(new sdk.HeadObjectCommand({ Bucket, Key, ...more }));
  const get = async (Key: string, more: Partial<sdk.GetObjectCommandInput> = {}) => {
    const answer = await bed.s3.send(new sdk.GetObjectCommand({ Bucket, Key, ...more }));
    return { ...answer, text: await answer.Body!.transformToString() };
  };
  const copy = (Key: string, CopySource: string, more: Partial<sdk.CopyObjectCommandInput> = {}) => bed.s3.send(new sdk.CopyObjectCommand({ Bucket, Key, CopySource, ...more }));
  const isStatus = (status: number) => (error: sdk.S3ServiceException) => error.$metadata.httpStatusCode === status;

  test('system metadata comes back; the storage class and the coding of the transfer are not kept', async () => {
    const described = { CacheControl: 'max-age=5', ContentDisposition: 'attachment; filename="a"', ContentLanguage: 'de', ContentEncoding: 'aws-chunked,gzip', StorageClass: 'GLACIER', Tagging: 'a=b' } as const;
    await put('described', 'x', { ...described, Expires: new Date(86_400_000) });
    const { CacheControl, ContentDisposition, ContentLanguage, ContentEncoding, ExpiresString, StorageClass } = await head('described');
    assert.deepEqual([CacheControl, ContentDisposition, ContentLanguage, ContentEncoding, ExpiresString, StorageClass], ['max-age=5', 'attachment; filename="a"', 'de', 'gzip', 'Fri, 02 Jan 1970 00:00:00 GMT', undefined]);
    await assert.rejects(put('described', 'x', { StorageClass: 'COLD' as 'STANDARD' }), { name: 'InvalidStorageClass' });
  });

  test('response-… replaces headers of the answer', async () => {
    await put('overridden', 'x', { ContentType: 'a/b' });
    const got = await get('overridden', { ResponseContentType: 'text/html', ResponseCacheControl: 'no-store', ResponseContentDisposition: 'inline', ResponseContentEncoding: 'br', ResponseContentLanguage: 'fr', ResponseExpires: new Date(0) });
    assert.deepEqual([got.ContentType, got.CacheControl, got.ContentDisposition, got.ContentEncoding, got.ContentLanguage, got.ExpiresString], ['text/html', 'no-store', 'inline', 'br', 'fr', 'Thu, 01 Jan 1970 00:00:00 GMT']);
    await assert.rejects(get('overridden', { ResponseContentType: 'a\r\nx: y' }), { name: 'InvalidArgument' });
  });

  test('preconditions of a read, in their order', async () => {
    await put('read', 'x');
    const { ETag, LastModified } = await head('read');
    const [before, later] = [new Date(0), new Date(Number(LastModified) + 60_000)];
    assert.equal((await get('read', { IfMatch: ETag, IfUnmodifiedSince: before })).text, 'x', 'If-Match wins over If-Unmodified-Since');
    await assert.rejects(get('read', { IfNoneMatch: ETag, IfModifiedSince: before }), isStatus(304), 'If-None-Match wins over If-Modified-Since');
    assert.equal((await get('read', { IfNoneMatch: '"other"', IfModifiedSince: later })).text, 'x');
    await assert.rejects(get('read', { IfMatch: '"other"', IfNoneMatch: ETag }), { name: 'PreconditionFailed' });
    await assert.rejects(head('read', { IfMatch: '"other"' }), isStatus(412));
    await assert.rejects(head('read', { IfNoneMatch: ETag }), isStatus(304));
    assert.equal((await get('read', { IfModifiedSince: before, IfUnmodifiedSince: LastModified })).text, 'x');
    const unread = await bed.call('GET', `/${Bucket}/read`, { service: 's3', headers: { 'if-unmodified-since': 'yesterday' } });
    assert.equal(unread.status, 200, 'a date that is none is none');
  });

  test('conditional writes: one of many writers makes it, and only over what it has seen', async () => {
    const outcomes = await Promise.allSettled(['a', 'b', 'c', 'd'].map((body) => put('once', body, { IfNoneMatch: '*' })));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => (reason as sdk.S3ServiceException).name);
    assert.deepEqual(refused, ['PreconditionFailed', 'PreconditionFailed', 'PreconditionFailed']);
    const { ETag } = await head('once');
    await put('once', 'seen', { IfMatch: ETag });
    await assert.rejects(put('once', 'late', { IfMatch: ETag }), { name: 'PreconditionFailed' });
    await assert.rejects(put('never', 'x', { IfMatch: ETag }), { name: 'NoSuchKey' });
    assert.equal((await get('once')).text, 'seen');
    assert.equal((await bed.blobFiles()).length, (await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket }))).KeyCount, 'refused bytes are removed');
  });

  test('an object that came whole is its own first part', async () => {
    await put('single', 'hello');
    const got = await get('single', { PartNumber: 1 });
    assert.deepEqual([got.text, got.ContentRange, got.PartsCount], ['hello', 'bytes 0-4/5', undefined]);
    await assert.rejects(get('single', { PartNumber: 2 }), { name: 'InvalidPartNumber' });
  });

  test('a copy has the bytes, metadata and checksums of its source, and lives on without it', async () => {
    await put('from/ü +%', 'copied', { ContentType: 'a/b', Metadata: { who: 'me' }, CacheControl: 'no-store' });
    const source = `${Bucket}/${encodeURIComponent('from/ü +%')}`;
    for (const CopySource of [source, `/${source}`, `${source}?versionId=null`]) {
      const { CopyObjectResult } = await copy('to', CopySource);
      assert.deepEqual([CopyObjectResult!.ETag, CopyObjectResult!.ChecksumType], [(await head('from/ü +%')).ETag, 'FULL_OBJECT']);
    }
    await bed.s3.send(new sdk.DeleteObjectCommand({ Bucket, Key: 'from/ü +%' }));
    const got = await get('to', { ChecksumMode: 'ENABLED' });
    assert.deepEqual([got.text, got.ContentType, got.Metadata, got.CacheControl], ['copied', 'a/b', { who: 'me' }, 'no-store']);
    assert.ok(got.ChecksumCRC32);
  });

  test('a copy with metadata or a checksum of its own', async () => {
    await put('plain', 'copied', { ContentType: 'a/b', Metadata: { who: 'me' } });
    await copy('dressed', `${Bucket}/plain`, { MetadataDirective: 'REPLACE', ContentType: 'c/d', Metadata: { who: 'you' }, ChecksumAlgorithm: 'SHA256', TaggingDirective: 'REPLACE', Tagging: 'a=b' });
    const got = await head('dressed', { ChecksumMode: 'ENABLED' });
    assert.deepEqual([got.ContentType, got.Metadata, got.ChecksumCRC32], ['c/d', { who: 'you' }, undefined]);
    assert.equal(got.ChecksumSHA256, createHash('sha256').update('copied').digest('base64'));
    await assert.rejects(copy('dressed', `${Bucket}/plain`, { MetadataDirective: 'MERGE' as 'COPY' }), { name: 'InvalidArgument' });
  });

  test('a copy onto itself has to change something', async () => {
    await put('self', 'same', { Metadata: { n: '1' } });
    await assert.rejects(copy('self', `${Bucket}/self`), { name: 'InvalidRequest' });
    await copy('self', `${Bucket}/self`, { MetadataDirective: 'REPLACE', Metadata: { n: '2' } });
    const got = await get('self');
    assert.deepEqual([got.text, got.Metadata], ['same', { n: '2' }]);
  });

  test('conditions on the source and on the target of a copy', async () => {
    await put('cs', 'x');
    const { ETag, LastModified } = await head('cs');
    const source = `${Bucket}/cs`;
    await copy('ct', source, { CopySourceIfMatch: ETag, CopySourceIfUnmodifiedSince: new Date(0) });
    for (const more of [{ CopySourceIfMatch: '"o"' }, { CopySourceIfNoneMatch: ETag }, { CopySourceIfModifiedSince: new Date(Number(LastModified) + 5000) }, { CopySourceIfUnmodifiedSince: new Date(0) }, { IfNoneMatch: '*' }, { IfMatch: '"o"' }]) {
      await assert.rejects(copy('ct', source, more), { name: 'PreconditionFailed' }, JSON.stringify(more));
    }
    await assert.rejects(copy('ct', `${Bucket}/none`), { name: 'NoSuchKey' });
    await assert.rejects(copy('ct', 'nowhere/none'), { name: 'NoSuchBucket' });
    for (const CopySource of ['nothing', `${Bucket}/`, `${Bucket}/%zz`, `${Bucket}/cs?versionId=1`]) await assert.rejects(copy('ct', CopySource), { name: 'InvalidArgument' }, CopySource);
  });

  test('DeleteObjects: what is there, what is not, quietly, with versions', async () => {
    const keys = ['one', 'two & <three>', 'fo\nur'];
    for (const key of keys) await put(`del/${key}`, 'x');
    const remove = (Objects: sdk.ObjectIdentifier[], Quiet?: boolean) => bed.s3.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet } }));
    const answer = await remove([...keys, 'never'].map((key) => ({ Key: `del/${key}` })));
    assert.deepEqual(answer.Deleted!.map(({ Key }) => Key), [...keys, 'never'].map((key) => `del/${key}`));
    await put('del/quiet', 'x');
    const quiet = await remove([{ Key: 'del/quiet', VersionId: 'null' }, { Key: 'del/v', VersionId: 'abc' }], true);
    assert.deepEqual([quiet.Deleted, quiet.Errors!.map(({ Key, Code }) => [Key, Code])], [undefined, [['del/v', 'NoSuchVersion']]]);
    assert.equal((await bed.s3.send(new sdk.ListObjectsV2Command({ Bucket, Prefix: 'del/' }))).KeyCount, 0);
    const many = Array.from({ length: 1000 }, (_, n) => ({ Key: `${n}` }));
    assert.equal((await remove(many)).Deleted!.length, 1000);
    await assert.rejects(remove([...many, { Key: 'more' }]), { name: 'MalformedXML' });
  });

  test('documents that are refused', async () => {
    const call = (body: string, headers: Record<string, string> = { 'content-md5': md5Base64(body) }) => bed.call('POST', `/${Bucket}?delete`, { service: 's3', body, headers });
    const document = '<Delete><Object><Key>a</Key></Object></Delete>';
    assert.equal((await call(document)).status, 200);
    const cases: [string, string, Record<string, string> | undefined][] = [
      ['<Code>InvalidRequest</Code><Message>Missing required header for this request: Content-MD5 OR x-amz-checksum-*</Message>', document, {}],
      ['<Code>BadDigest</Code>', document, { 'content-md5': md5Base64('other') }],
      ['<Code>InvalidDigest</Code>', document, { 'content-md5': 'x' }],
      ['<Code>BadDigest</Code>', document, { 'x-amz-checksum-crc32': 'AAAAAA==' }],
      ['<Code>MalformedXML</Code>', '', undefined],
      ['<Code>MalformedXML</Code>', '<Delete></Delete>', undefined],
      ['<Code>MalformedXML</Code>', '<Delete><Object><Key></Key></Object></Delete>', undefined],
      ['<Code>MalformedXML</Code>', '<Erase><Object><Key>a</Key></Object></Erase>', undefined],
      ['<Code>MalformedXML</Code>', '<Delete><Object><Key>a</Key></Object><Loudly>true</Loudly></Delete>', undefined],
      ['<Code>MalformedXML</Code>', '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&b;</Key></Object></Delete>', undefined],
      ['<Code>EntityTooLarge</Code>', ' '.repeat(2 * 1024 * 1024 + 1), undefined],
    ];
    for (const [expected, body, headers] of cases) {
      const answer = await call(body, headers);
      assert.ok(answer.status === 400 && answer.text.includes(expected), `${body.slice(0, 80)}: ${answer.text}`);
    }
  });

  test('an empty object is copied too, and may be a part', async () => {
    await put('empty', '');
    const { CopyObjectResult } = await copy('empty too', `${Bucket}/empty`, { ChecksumAlgorithm: 'SHA256' });
    assert.equal(CopyObjectResult!.ChecksumSHA256, createHash('sha256').digest('base64'));
    const upload = { Bucket, Key: 'of nothing', UploadId: (await bed.s3.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key: 'of nothing' }))).UploadId };
    const { CopyPartResult } = await bed.s3.send(new sdk.UploadPartCopyCommand({ ...upload, PartNumber: 1, CopySource: `${Bucket}/empty` }));
    await bed.s3.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: CopyPartResult!.ETag }] } }));
    assert.equal((await get('of nothing')).text, '');
  });

  test('the owner that a client expects is the account', async () => {
    await put('owned', 'x', { ExpectedBucketOwner: '000000000000' });
    await assert.rejects(head('owned', { ExpectedBucketOwner: '111111111111' }), isStatus(403));
    const copy = (ExpectedSourceBucketOwner: string) => bed.s3.send(new sdk.CopyObjectCommand({ Bucket, Key: 'owned too', CopySource: `${Bucket}/owned`, ExpectedSourceBucketOwner }));
    await copy('000000000000');
    await assert.rejects(copy('111111111111'), isStatus(403));
  });

  test('what tools ask of a bucket: location, versioning, ACL, public access block', async () => {
    assert.equal((await bed.s3.send(new sdk.GetBucketVersioningCommand({ Bucket }))).Status, undefined);
    assert.equal((await bed.s3.send(new sdk.GetBucketAclCommand({ Bucket }))).Grants![0]!.Permission, 'FULL_CONTROL');
    assert.equal((await bed.s3.send(new sdk.GetObjectAclCommand({ Bucket, Key: 'owned' }))).Grants!.length, 1);
    assert.deepEqual((await bed.s3.send(new sdk.GetObjectTaggingCommand({ Bucket, Key: 'owned' }))).TagSet, []);
    const block = () => bed.s3.send(new sdk.GetPublicAccessBlockCommand({ Bucket }));
    await assert.rejects(block(), { name: 'NoSuchPublicAccessBlockConfiguration' });
    await bed.s3.send(new sdk.PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration: { BlockPublicAcls: true, RestrictPublicBuckets: false } }));
    const kept = { BlockPublicAcls: true, IgnorePublicAcls: false, BlockPublicPolicy: false, RestrictPublicBuckets: false };
    assert.deepEqual((await block()).PublicAccessBlockConfiguration, kept);
    await bed.s3.send(new sdk.DeletePublicAccessBlockCommand({ Bucket }));
    await assert.rejects(block(), { name: 'NoSuchPublicAccessBlockConfiguration' });
  });

  test('a bucket of another region is refused, one of this region is made', async () => {
    const create = (body: string) => bed.call('PUT', '/regional', { service: 's3', body });
    const wanted = (region: string) => `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
    assert.match((await create(wanted('eu-west-1'))).text, /<Code>IllegalLocationConstraintException<\/Code>/);
    assert.match((await create('<CreateBucketConfiguration>')).text, /<Code>MalformedXML<\/Code>/);
    assert.equal((await create(wanted('us-east-1'))).status, 200);
    assert.equal((await create('<CreateBucketConfiguration/>')).status, 200);
    assert.equal((await create(`<CreateBucketConfiguration><Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags></CreateBucketConfiguration>`)).status, 200);
    assert.match((await create(' '.repeat(64 * 1024 + 1))).text, /<Code>EntityTooLarge<\/Code>/);
  });
});

describe('virtual-host style', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());

  test('the SDK finds buckets by host name, whatever their keys are', async () => {
    // What a name resolves to is the resolver's; here all are this machine.
    const asked = new Set<string>();
    const lookup: LookupFunction = (name, _options, done) => {
      asked.add(name);
      done(null, [{ address: '127.0.0.1', family: 4 }]);
    };
    for (const apiHost of ['localhost', 's3.localhost', 'lull.example.org']) {
      const endpoint = `http://${apiHost}:${bed.port}`;
      using clients = new DisposableStack();
      const s3 = clients.adopt(
        new sdk.S3Client({ endpoint, region: 'us-east-1', credentials: { ...CREDENTIALS }, maxAttempts: 1, requestHandler: { httpAgent: { lookup, keepAlive: false } } }),
        (client) => client.destroy(),
      );
      const bucket = { Bucket: `for-${apiHost.replaceAll('.', '-')}` };
      await s3.send(new sdk.CreateBucketCommand(bucket));
      for (const Key of ['../x', 'a b+c%20d', 'a//b', 'ünï/🦆', bucket.Bucket]) {
        await s3.send(new sdk.PutObjectCommand({ ...bucket, Key, Body: Key }));
        const got = await s3.send(new sdk.GetObjectCommand({ ...bucket, Key }));
        assert.equal(await got.Body!.transformToString(), Key);
        await s3.send(new sdk.CopyObjectCommand({ ...bucket, Key: 'copied', CopySource: `${bucket.Bucket}/${encodeURIComponent(Key)}` }));
      }
      assert.ok(asked.has(`${bucket.Bucket}.${apiHost}`));
      const { Contents } = await s3.send(new sdk.ListObjectsV2Command(bucket));
      assert.deepEqual(Contents!.map((object) => object.Key), ['../x', 'a b+c%20d', 'a//b', 'copied', bucket.Bucket, 'ünï/🦆']);
    }
  });

  test('the bucket stands before a name of the API, and before no other', async () => {
    const send = async (method: string, where: string, body = '') => {
      const url = new URL(`http://${where.replace('/', `:${bed.port}/`)}`);
      const headers = { ...signHeaders({ method, url, headers: {} }, body, bed.context('s3')), host: url.host, 'content-length': String(body.length), connection: 'close' };
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
      const answer = await bed.raw([`${method} ${url.pathname}${url.search} HTTP/1.1`, ...lines, '', body].join('\r\n'));
      return { status: Number(answer.slice(9, 12)), text: answer };
    };
    for (const bucket of ['hosted', 'with.dots']) assert.equal((await send('PUT', `${bucket}.localhost/`)).status, 200);
    assert.equal((await send('PUT', 'hosted.s3.localhost/a/b%20c', 'hello')).status, 200);
    assert.match((await send('GET', 'HOSTED.localhost/a/b%20c')).text, /\r\n\r\nhello$/);
    assert.match((await send('GET', 's3.localhost/hosted/a/b%20c')).text, /\r\n\r\nhello$/, 'path style under a name of the API');
    assert.match((await send('GET', '127.0.0.1/hosted/a/b%20c')).text, /\r\n\r\nhello$/);
    assert.match((await send('GET', 'hosted.localhost/?list-type=2')).text, /<Key>a\/b c<\/Key>/);
    assert.match((await send('GET', 'with.dots.s3.localhost/')).text, /<Name>with\.dots<\/Name>/);
    assert.match((await send('GET', 'hosted.localhost/hosted/a/b%20c')).text, /<Code>NoSuchKey<\/Code>/);
    assert.match((await send('GET', 'hosted.example.com/')).text, /<ListAllMyBucketsResult/, 'a name that is not of the API has none before it');
  });
});
