import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { LambdaMicrovmsClient, ListMicrovmsCommand } from '@aws-sdk/client-lambda-microvms';
import { CreateBucketCommand, GetObjectCommand, ListBucketsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { presign, signHeaders } from '../../../src/lib/sigv4.ts';
import type { SigningCredentials } from '../../../src/lib/sigv4.ts';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const SESSION = { accessKeyId: 'ASIALULLTEST00000000', secretAccessKey: 'another secret', sessionToken: 'a+token/with=signs' };
const HOUR_MS = 3_600_000;
const { sessionToken: _, ...SESSION_WITHOUT_TOKEN } = SESSION;

/** What is wrong with a token, and what S3 and Lambda say of it. */
const REFUSED: readonly { what: string; credentials: SigningCredentials; s3: readonly [number, string]; lambda: readonly [number, string, RegExp] }[] = [
  { what: 'no token', credentials: SESSION_WITHOUT_TOKEN, s3: [403, 'InvalidAccessKeyId'], lambda: [403, 'UnrecognizedClientException', /token included in the request is invalid/] },
  { what: 'a wrong token', credentials: { ...SESSION, sessionToken: 'wrong' }, s3: [400, 'InvalidToken'], lambda: [403, 'UnrecognizedClientException', /token included in the request is invalid/] },
  { what: 'an empty token', credentials: { ...SESSION, sessionToken: '' }, s3: [400, 'InvalidToken'], lambda: [403, 'UnrecognizedClientException', /token included in the request is invalid/] },
  { what: 'a token with a key that has none', credentials: { ...CREDENTIALS, sessionToken: SESSION.sessionToken }, s3: [400, 'InvalidToken'], lambda: [403, 'UnrecognizedClientException', /token included in the request is invalid/] },
];

describe('temporary keys', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    const { sessionToken, ...key } = SESSION;
    const session = { roleArn: 'arn:aws:iam::000000000000:role/service/app', sessionName: 'Lambda-microvmsExecutor-1', sessionToken, expiresAtMs: bed.time.nowMs + HOUR_MS, microvmId: 'microvm-1' };
    await bed.store.accessKeys.insert({ ...key, createdAtMs: 0, description: null, session });
  });
  after(() => bed[Symbol.asyncDispose]());

  const get = async (path: string, service: 's3' | 'lambda', credentials: SigningCredentials) => {
    const url = new URL(bed.origin + path);
    const answer = await fetch(url, { headers: signHeaders({ method: 'GET', url }, '', { ...bed.context(service), credentials }) });
    return { status: answer.status, type: answer.headers.get('x-amzn-errortype'), text: await answer.text() };
  };

  test('reach the object store, by header and presigned', async () => {
    using s3 = Object.assign(new S3Client({ endpoint: bed.origin, region: 'us-east-1', forcePathStyle: true, credentials: SESSION }), {
      [Symbol.dispose]: () => s3.destroy(),
    });
    await s3.send(new CreateBucketCommand({ Bucket: 'by-a-role' }));
    await s3.send(new PutObjectCommand({ Bucket: 'by-a-role', Key: 'k', Body: 'kept' }));
    const found = await s3.send(new GetObjectCommand({ Bucket: 'by-a-role', Key: 'k' }));
    assert.equal(await found.Body!.transformToString(), 'kept');
    const url = presign({ method: 'GET', url: new URL(`${bed.origin}/by-a-role/k`) }, 60, { ...bed.context('s3'), credentials: SESSION });
    assert.equal(await (await fetch(url)).text(), 'kept');
  });

  test('reach nothing else', async () => {
    const lambda = new LambdaMicrovmsClient({ endpoint: bed.origin, region: 'us-east-1', credentials: SESSION, maxAttempts: 1 });
    const calls = bed.control.calls.length;
    await assert.rejects(lambda.send(new ListMicrovmsCommand({})), {
      name: 'AccessDeniedException',
      message: /^User: arn:aws:sts::000000000000:assumed-role\/app\/Lambda-microvmsExecutor-1 is not authorized/,
    });
    lambda.destroy();
    assert.equal((await get('/lull/v1/microvms/microvm-1/report', 'lambda', SESSION)).type, 'AccessDeniedException');
    assert.equal(bed.control.calls.length, calls);
    const forged = await get('/2025-09-09/microvms', 'lambda', { ...SESSION, secretAccessKey: 'guessed' });
    assert.equal(forged.type, 'InvalidSignatureException', 'what a role may do is told to its holder only');
  });

  for (const { what, credentials, s3, lambda } of REFUSED) {
    test(`refused: ${what}`, async () => {
      const store = await get('/', 's3', credentials);
      assert.deepEqual([store.status, store.type], s3);
      const control = await get('/2025-09-09/microvms', 'lambda', credentials);
      assert.deepEqual([control.status, control.type], lambda.slice(0, 2));
      assert.match(control.text, lambda[2]);
      const url = presign({ method: 'GET', url: new URL(`${bed.origin}/by-a-role/k`) }, 60, { ...bed.context('s3'), credentials });
      const presigned = await fetch(url);
      assert.deepEqual([presigned.status, presigned.headers.get('x-amzn-errortype')], s3);
      const controlUrl = presign({ method: 'GET', url: new URL(`${bed.origin}/2025-09-09/microvms`) }, 60, { ...bed.context('lambda'), credentials });
      assert.equal((await fetch(controlUrl)).headers.get('x-amzn-errortype'), lambda[1]);
    });
  }

  test('refused: a token that is not signed', async () => {
    const url = new URL(`${bed.origin}/`);
    const headers = { ...signHeaders({ method: 'GET', url }, '', { ...bed.context('s3'), credentials: SESSION_WITHOUT_TOKEN }), 'x-amz-security-token': SESSION.sessionToken };
    const answer = await fetch(url, { headers });
    assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [403, 'AccessDenied']);
  });

  test('refused: a token in the query of a request that is signed by header', async () => {
    const answer = await get(`/?X-Amz-Security-Token=${encodeURIComponent(SESSION.sessionToken)}`, 's3', SESSION_WITHOUT_TOKEN);
    assert.deepEqual([answer.status, answer.type], [400, 'InvalidArgument']);
  });

  test('end when they expire', async () => {
    const url = presign({ method: 'GET', url: new URL(`${bed.origin}/by-a-role/k`) }, 7200, { ...bed.context('s3'), credentials: SESSION });
    bed.time.nowMs += HOUR_MS;
    try {
      for (const answer of [await get('/', 's3', SESSION), await fetch(url).then((late) => ({ status: late.status, type: late.headers.get('x-amzn-errortype') }))]) {
        assert.deepEqual([answer.status, answer.type], [400, 'ExpiredToken']);
      }
      const lambda = await get('/2025-09-09/microvms', 'lambda', SESSION);
      assert.deepEqual([lambda.status, lambda.type], [403, 'ExpiredTokenException']);
      assert.match(lambda.text, /The security token included in the request is expired/);
    } finally {
      bed.time.nowMs -= HOUR_MS;
    }
  });

  test("end with their microVM, and leave the installation's keys", async () => {
    await bed.store.accessKeys.revokeOf('microvm-1');
    assert.equal((await get('/', 's3', SESSION)).type, 'InvalidAccessKeyId');
    assert.ok((await bed.s3.send(new ListBucketsCommand({}))).Buckets);
  });
});
