/** The object store as a guest reaches it: for the keys of its own role, and no other surface behind it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ARTIFACT_BUCKET } from '../../../src/contract/extensions.ts';
import { linkSignature, linkStringToSign } from '../../../src/lib/sigv2.ts';
import { presign, signHeaders, type SigningCredentials } from '../../../src/lib/sigv4.ts';
import { noPythonClients, PYTHON } from '../../clients/installed.ts';
import { CREDENTIALS as INSTALLATION } from './bed.ts';
import { ONE, OTHER, startGuests, WITHOUT, type GuestBed } from './guest-bed.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** With nothing but their defaults: keys from the metadata service, the endpoint from the environment, its style of path their own. */
const JAVASCRIPT = `
  import { S3 } from '@aws-sdk/client-s3';
  const s3 = new S3({ maxAttempts: 1 });
  await s3.putObject({ Bucket: 'bucket', Key: 'by/javascript', Body: 'kept' });
  const { Body } = await s3.getObject({ Bucket: 'bucket', Key: 'by/javascript' });
  process.stdout.write(await Body.transformToString());
  s3.destroy();
`;
/** The same, and through a link that boto3 signs with version 2 and the role's token. */
const BOTO3 = `
import boto3
import urllib.request
s3 = boto3.client("s3")
s3.put_object(Bucket="bucket", Key="by/boto3", Body=b"kept")
assert s3.get_object(Bucket="bucket", Key="by/boto3")["Body"].read() == b"kept"
link = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "by/boto3"})
assert "AWSAccessKeyId=" in link and "x-amz-security-token=" in link, link
print(urllib.request.urlopen(link).read().decode(), end="")
`;

describe('the object store of a guest', () => {
  let bed: GuestBed;
  before(async () => {
    bed = await startGuests();
    await bed.store.accessKeys.insert({ ...INSTALLATION, createdAtMs: 0, description: null, session: null });
  });
  after(() => bed[Symbol.asyncDispose]());

  /** A process as it is in a microVM, with the two addresses replaced. */
  const run = async (program: string, words: readonly string[]) => {
    const env = {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      AWS_REGION: 'us-east-1',
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_ENDPOINT_URL_S3: bed.origin(ONE, 's3'),
      AWS_EC2_METADATA_SERVICE_ENDPOINT: bed.origin(ONE, 'metadata'),
    };
    return (await promisify(execFile)(program, words, { cwd: ROOT, env, timeout: 60_000 })).stdout;
  };
  const ask = async (method: string, path: string, signer: { microvmId?: string; credentials: SigningCredentials; service?: string; headers?: Record<string, string> }) => {
    const { microvmId = ONE, credentials, service = 's3', headers = {} } = signer;
    const url = new URL(bed.origin(microvmId, 's3') + path);
    const context = { credentials, region: 'us-east-1', service, nowMs: bed.time.nowMs };
    const answer = await fetch(url, { method, headers: signHeaders({ method, url, headers }, '', context) });
    return { status: answer.status, text: await answer.text() };
  };
  const isKept = async (key: string) => assert.equal((await bed.store.objects.get('bucket', key))?.size, 4);

  test('AWS\'s JavaScript SDK finds it with its defaults', async () => {
    assert.equal(await run(process.execPath, ['--input-type=module', '--eval', JAVASCRIPT]), 'kept');
    await isKept('by/javascript');
  });

  test('boto3 finds it with its defaults', { skip: noPythonClients }, async () => {
    assert.equal(await run(PYTHON, ['-c', BOTO3]), 'kept');
    await isKept('by/boto3');
  });

  test('takes no other keys: none, the installation\'s, another microVM\'s, its own elsewhere', async () => {
    const own = (await bed.credentials(ONE))!;
    const others = (await bed.credentials(OTHER))!;
    assert.equal((await ask('GET', '/bucket?location', { credentials: own })).status, 200);
    assert.equal((await fetch(`${bed.origin(ONE, 's3')}/bucket?location`)).status, 403);
    for (const credentials of [INSTALLATION, others]) {
      const { status, text } = await ask('GET', '/bucket?location', { credentials });
      assert.equal(status, 403);
      assert.match(text, /InvalidAccessKeyId/);
    }
    for (const microvmId of [OTHER, WITHOUT]) assert.equal((await ask('GET', '/bucket?location', { microvmId, credentials: own })).status, 403);
    assert.notEqual((await ask('GET', '/bucket?location', { credentials: { ...own, sessionToken: 'x' } })).status, 200);
  });

  test('takes no links of other keys either, of either version', async () => {
    const expires = String(Math.ceil(Date.now() / 1000) + 60);
    const linkOf = ({ accessKeyId, secretAccessKey, sessionToken }: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }) => {
      const headers = new Map(sessionToken === undefined ? [] : [['x-amz-security-token', sessionToken]]);
      const toSign = linkStringToSign({ method: 'GET', expires, headers, resource: '/bucket/none', overrides: new Map() });
      const token = sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken };
      return `/bucket/none?${new URLSearchParams({ AWSAccessKeyId: accessKeyId, Expires: expires, Signature: linkSignature(secretAccessKey, toSign), ...token }).toString()}`;
    };
    const through = async (path: string) => await (await fetch(bed.origin(ONE, 's3') + path)).text();
    assert.match(await through(linkOf((await bed.credentials(ONE))!)), /NoSuchKey/, 'its own are good');
    for (const credentials of [INSTALLATION, (await bed.credentials(OTHER))!]) assert.match(await through(linkOf(credentials)), /InvalidAccessKeyId/);
    const url = new URL(`${bed.origin(ONE, 's3')}/bucket/none`);
    const presigned = presign({ method: 'GET', url }, 60, { credentials: INSTALLATION, region: 'us-east-1', service: 's3', nowMs: Date.now() });
    assert.match(await (await fetch(presigned)).text(), /InvalidAccessKeyId/);
  });

  test('the bucket of the images\' code is closed to roles, also as the source of a copy and by a link', async () => {
    await bed.store.objects.createBucket(ARTIFACT_BUCKET, 0);
    const credentials = (await bed.credentials(ONE))!;
    for (const [method, path] of [['GET', ''], ['PUT', '/code.zip'], ['GET', '/code.zip'], ['DELETE', '/code.zip'], ['DELETE', ''], ['POST', '/code.zip?uploads']] as const) {
      const { status, text } = await ask(method, `/${ARTIFACT_BUCKET}${path}`, { credentials });
      assert.equal(status, 403);
      assert.match(text, /<Code>AccessDenied</);
    }
    for (const source of [`/${ARTIFACT_BUCKET}/code.zip`, 'lull%2dartifacts/code.zip']) {
      const { text } = await ask('PUT', '/bucket/copy', { credentials, headers: { 'x-amz-copy-source': source } });
      assert.match(text, /<Code>AccessDenied</);
    }
    const url = new URL(`${bed.origin(ONE, 's3')}/${ARTIFACT_BUCKET}/code.zip`);
    const link = presign({ method: 'GET', url }, 60, { credentials, region: 'us-east-1', service: 's3', nowMs: Date.now() });
    assert.match(await (await fetch(link)).text(), /<Code>AccessDenied</);
  });

  test('has no control plane behind it, whatever is signed', async () => {
    const credentials = (await bed.credentials(ONE))!;
    for (const path of ['/2025-09-09/microvms', '/lull/v1/health', '/2017-03-31/tags/x']) {
      const signedForLambda = await ask('GET', path, { credentials, service: 'lambda' });
      assert.equal(signedForLambda.status, 400);
      assert.match(signedForLambda.text, /^<\?xml.*AuthorizationHeaderMalformed/s);
      // To S3 it is the name of an object.
      assert.match((await ask('GET', path, { credentials })).text, /^<\?xml.*NoSuchBucket/s);
      assert.equal((await fetch(bed.origin(ONE, 's3') + path)).status, 403);
    }
  });
});
