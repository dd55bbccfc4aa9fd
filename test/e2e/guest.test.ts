/** What an application finds in its microVM: identity, rights, limits, sizes, and the keys of its role. Contract reference, sections 7.1, 8.1, 8.2. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { S3 } from '@aws-sdk/client-s3';
import { z } from 'zod';
import { signHeaders, type SigningCredentials } from '../../src/lib/sigv4.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type RunInput, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
/** Of another account: no role of this one is looked up. */
const ROLE = 'arn:aws:iam::111122223333:role/guest';
const BUCKET = 'of-the-guest';
const CREDENTIALS = '/latest/meta-data/iam/security-credentials';
const METADATA = '169.254.169.254';
const OBJECTS = '169.254.170.2';
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

interface GuestMachine {
  readonly hostname: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly effective: string;
  readonly bounding: string;
  readonly lastCapability: number;
  readonly openFiles: readonly [number, number];
  readonly raiseOpenFiles: string;
  readonly shmBytes: number;
  readonly diskBytes: number;
  readonly memoryMib: number;
  readonly swap: number;
  readonly processors: number;
  readonly port80: string;
}

interface Sent {
  readonly method?: string;
  readonly host: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

const roleKeys = z.object({ Code: z.literal('Success'), AccessKeyId: z.string(), SecretAccessKey: z.string(), Token: z.string(), Expiration: z.string() });
const fetched = z.union([z.object({ status: z.number(), body: z.base64() }), z.object({ error: z.string() })]);

/** One HTTP request that the application makes. */
async function fetchInside(microvm: TestMicrovm, { method = 'GET', headers = {}, body, ...rest }: Sent): Promise<{ status: number | string; body: Buffer }> {
  const question = { method, headers, ...rest, ...(body === undefined ? {} : { body: body.toString('base64') }) };
  const { status, body: said } = await microvm.ask('/fetch', { method: 'POST', body: Buffer.from(JSON.stringify(question)) });
  assert.equal(status, 200, said.toString());
  const outcome = fetched.parse(JSON.parse(said.toString()));
  return 'error' in outcome ? { status: outcome.error, body: Buffer.alloc(0) } : { status: outcome.status, body: Buffer.from(outcome.body, 'base64') };
}

async function metadata(microvm: TestMicrovm, path: string): Promise<{ status: number | string; text: string }> {
  const put = { method: 'PUT', host: METADATA, path: '/latest/api/token', headers: { 'X-aws-ec2-metadata-token-ttl-seconds': '60' } };
  const token = await fetchInside(microvm, put);
  assert.equal(token.status, 200);
  const { status, body } = await fetchInside(microvm, { host: METADATA, path, headers: { 'X-aws-ec2-metadata-token': token.body.toString() } });
  return { status, text: body.toString() };
}

async function roleKeysOf(microvm: TestMicrovm): Promise<SigningCredentials> {
  const { status, text } = await metadata(microvm, `${CREDENTIALS}/execution_role`);
  assert.equal(status, 200);
  const { AccessKeyId, SecretAccessKey, Token } = roleKeys.parse(JSON.parse(text));
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token };
}

/** A signed request to the object store of the guest. */
function signed(path: string, credentials: SigningCredentials, { method = 'GET', service = 's3', body }: { method?: string; service?: string; body?: Buffer } = {}): Sent {
  const url = new URL(`http://${OBJECTS}${path}`);
  const headers = signHeaders({ method, url }, body ?? '', { credentials, region: 'us-east-1', service, nowMs: Date.now() });
  return { method, host: OBJECTS, path, headers, ...(body === undefined ? {} : { body }) };
}

describe('the guest', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let ordinary: string;
  let privileged: string;
  const launch = (image: string, input: RunInput = {}): Promise<TestMicrovm> => server.run(image, { idlePolicy: WAKES_BY_TRAFFIC, ...input });
  before(async () => {
    server = await LullServer.start();
    await server.s3.createBucket({ Bucket: BUCKET });
    ordinary = await server.image('ordinary', PROBE, { environmentVariables: { OF_THE_VERSION: 'yes' } });
    privileged = await server.image('privileged', PROBE, {
      additionalOsCapabilities: ['ALL'],
      resources: [{ minimumMemoryInMiB: 1024 }],
      environmentVariables: { AWS_ENDPOINT_URL_S3: 'https://s3.example.com' },
    });
  });
  after(() => server?.[Symbol.asyncDispose]());

  it('has AWS\'s variables and the image\'s own, no keys and no id', async () => {
    const microvm = await launch(ordinary, { executionRoleArn: ROLE });
    const { env, uid } = await microvm.json<{ env: Record<string, string>; uid: number }>('/environment');
    assert.equal(uid, 0);
    const expected = {
      AWS_LAMBDA_MICROVM_IMAGE_NAME: 'ordinary',
      AWS_LAMBDA_MICROVM_IMAGE_ARN: ordinary,
      AWS_LAMBDA_MICROVM_IMAGE_VERSION: '1.0',
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL_S3: `http://${OBJECTS}`,
      HOME: '/root',
      PROBE_FROM_IMAGE: 'yes',
      OF_THE_VERSION: 'yes',
    };
    const { PATH, ...rest } = env;
    assert.match(PATH!, /(^|:)\/usr\/bin(:|$)/);
    for (const [name, value] of Object.entries(expected)) assert.equal(rest[name], value, name);
    const aws = Object.keys(rest).filter((name) => name.startsWith('AWS_'));
    assert.deepEqual(aws.toSorted(), Object.keys(expected).filter((name) => name.startsWith('AWS_')).toSorted());
    assert.deepEqual(Object.values(rest).filter((value) => /microvm-[0-9a-f]{8}-/.test(value)), []);
    await microvm.terminate();
  });

  it('has AWS\'s rights, limits and sizes, and shares its identity with every microVM of its image', async () => {
    const microvms = await Promise.all([launch(ordinary), launch(ordinary)]);
    const [one, other] = await Promise.all(microvms.map((microvm) => microvm.json<GuestMachine>('/machine'))) as [GuestMachine, GuestMachine];
    const identity = ({ hostname, machineId, bootId }: GuestMachine) => ({ hostname, machineId, bootId });
    assert.deepEqual(identity(one), identity(other));
    assert.deepEqual([one.effective, one.bounding], ['00000000a80425fb', '00000000a80425fb']);
    assert.deepEqual([one.openFiles, one.raiseOpenFiles], [[1024, 1024], 'ValueError']);
    assert.equal(one.shmBytes, 64 * MIB);
    assert.equal(one.swap, 0);
    assert.equal(one.processors, 1);
    // Four times 128 MiB, and what the kernel keeps to itself.
    assert.ok(one.memoryMib > 450 && one.memoryMib <= 512, `${one.memoryMib} MiB`);
    assert.ok(one.diskBytes > 7.5 * GIB && one.diskBytes <= 8 * GIB, `${one.diskBytes} bytes of disk`);
    assert.equal(one.port80, 'taken', 'the ports of 0.0.0.0 are the application\'s, whatever the agent serves');
    const refused = await microvms[0].json<Record<string, string>>('/privileged');
    assert.deepEqual(refused, { cgroup: 'ENOENT', fuse: 'ENOENT', mount: 'EPERM', bind: 'EPERM', hostname: 'EPERM' });
    await Promise.all(microvms.map((microvm) => microvm.terminate()));
  });

  it('may do everything with additionalOsCapabilities ALL', async () => {
    const microvm = await launch(privileged);
    const { effective, lastCapability, raiseOpenFiles, memoryMib, processors, diskBytes } = await microvm.json<GuestMachine>('/machine');
    assert.equal(BigInt(`0x${effective}`), (1n << BigInt(lastCapability + 1)) - 1n);
    assert.equal(raiseOpenFiles, 'raised');
    // Section 7.1: about 3 998 MiB, and the peak of processors as far as the host has them.
    assert.ok(memoryMib > 3900 && memoryMib <= 4096, `${memoryMib} MiB`);
    assert.equal(processors, Math.min(2, availableParallelism()));
    assert.ok(diskBytes > 7.5 * GIB && diskBytes <= 8 * GIB, `${diskBytes} bytes of disk`);
    const done = await microvm.json<Record<string, string>>('/privileged');
    assert.deepEqual(done, { cgroup: '17', fuse: 'done', mount: 'done', bind: 'done', hostname: 'another' });
    const { env } = await microvm.json<{ env: Record<string, string> }>('/environment');
    assert.equal(env['AWS_ENDPOINT_URL_S3'], 'https://s3.example.com', 'the image has the last word');
    await microvm.terminate();
  });

  it('finds the keys of its role by IMDSv2 alone, and none without a role', async () => {
    const [withRole, without] = await Promise.all([launch(ordinary, { executionRoleArn: ROLE }), launch(ordinary)]);
    assert.equal((await fetchInside(withRole, { host: METADATA, path: `${CREDENTIALS}/` })).status, 401);
    assert.deepEqual(await metadata(withRole, `${CREDENTIALS}/`), { status: 200, text: 'execution_role' });
    const { text } = await metadata(withRole, `${CREDENTIALS}/execution_role`);
    const { Expiration } = roleKeys.parse(JSON.parse(text));
    const leftMs = Date.parse(Expiration) - Date.now();
    assert.ok(leftMs > 50 * 60_000 && leftMs <= 55 * 60_000, `good for ${leftMs} ms`);
    for (const path of [`${CREDENTIALS}/`, `${CREDENTIALS}/execution_role`]) assert.equal((await metadata(without, path)).status, 404);
    assert.equal((await fetchInside(withRole, { host: `${METADATA}:81`, path: '/' })).status, 'ConnectionRefusedError');
    await Promise.all([withRole.terminate(), without.terminate()]);
  });

  it('reaches the object store by them, and nothing else; they end with the microVM', async () => {
    const [microvm, neighbour] = await Promise.all([launch(ordinary, { executionRoleArn: ROLE }), launch(ordinary, { executionRoleArn: ROLE })]);
    const credentials = await roleKeysOf(microvm);
    const body = randomBytes(3 * MIB);
    const put = await fetchInside(microvm, signed(`/${BUCKET}/from/inside`, credentials, { method: 'PUT', body }));
    assert.equal(put.status, 200, put.body.toString());
    const { Body } = await server.s3.getObject({ Bucket: BUCKET, Key: 'from/inside' });
    assert.ok(body.equals(await Body!.transformToByteArray()), 'what it put is in the host\'s store');
    assert.equal((await fetchInside(neighbour, signed(`/${BUCKET}/from/inside`, credentials))).status, 403, 'another microVM\'s keys are no use there');
    const lambda = await fetchInside(microvm, signed('/2025-09-09/microvms', credentials, { service: 'lambda' }));
    assert.deepEqual([lambda.status, lambda.body.toString().startsWith('<?xml')], [400, true]);

    await microvm.suspend();
    await microvm.resume();
    assert.deepEqual(await roleKeysOf(microvm), credentials);
    assert.ok(body.equals((await fetchInside(microvm, signed(`/${BUCKET}/from/inside`, credentials))).body));

    using s3 = Object.assign(new S3({ endpoint: server.apiUrl, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials }), {
      [Symbol.dispose]: () => s3.destroy(),
    });
    assert.equal((await s3.headObject({ Bucket: BUCKET, Key: 'from/inside' })).ContentLength, body.length);
    await microvm.terminate();
    await assert.rejects(s3.getObject({ Bucket: BUCKET, Key: 'from/inside' }), { name: 'InvalidAccessKeyId' });
    await neighbour.terminate();
  });

  it('keeps both over the end of the server', async () => {
    const microvm = await launch(ordinary, { executionRoleArn: ROLE });
    const credentials = await roleKeysOf(microvm);
    await server.crash();
    assert.deepEqual(await roleKeysOf(microvm), credentials);
    assert.equal((await fetchInside(microvm, signed(`/${BUCKET}?location`, credentials))).status, 200);
    await microvm.terminate();
  });
});
