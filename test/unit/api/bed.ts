/** A listening server over a fake control plane, the real store in memory and real files, with AWS's own SDKs pointed at it. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LambdaMicrovmsClient } from '@aws-sdk/client-lambda-microvms';
import { CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import { IAMClient } from '@aws-sdk/client-iam';
import { S3Client } from '@aws-sdk/client-s3';
import { STSClient } from '@aws-sdk/client-sts';
import { pino } from 'pino';
import { createApi } from '../../../src/api/server.ts';
import type { ApiLimits } from '../../../src/api/server.ts';
import { createConnectorUseCases } from '../../../src/control/connectors/use-cases.ts';
import { createKeyUseCases } from '../../../src/control/keys.ts';
import { LogCatalogue } from '../../../src/control/logs/log-catalogue.ts';
import { createLogUseCases } from '../../../src/control/logs/log-use-cases.ts';
import { createQuotaUseCases } from '../../../src/control/quota-use-cases.ts';
import { createRoleUseCases } from '../../../src/control/roles/role-use-cases.ts';
import { createTagUseCases } from '../../../src/control/tags.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import type { BlobStore } from '../../../src/domain/object-store.ts';
import type { Store } from '../../../src/domain/ports.ts';
import { Files } from '../../../src/lib/files.ts';
import { createBuildLogFiles } from '../../../src/image/build-log-files.ts';
import { ApplicationLogs } from '../../../src/runtime/application-logs.ts';
import { DataLayout } from '../../../src/runtime/data-layout.ts';
import { quotasOf, ratesOf, type QuotaChoice } from '../../../src/domain/quotas.ts';
import { KeyedQueue } from '../../../src/lib/keyed-queue.ts';
import { openBlobs } from '../../../src/store/blobs.ts';
import { openStore } from '../../../src/store/store.ts';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import type { SigningContext } from '../../../src/lib/sigv4.ts';
import { fakeControlPlane } from '../../fakes/control-plane.ts';
import type { FakeControlPlane } from '../../fakes/control-plane.ts';

export const CREDENTIALS = { accessKeyId: 'AKIALULLTEST00000000', secretAccessKey: 'a secret with spaces/and+signs' };

/** An answer read to its end. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface ApiBed extends AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  readonly control: FakeControlPlane;
  readonly lambda: LambdaMicrovmsClient;
  readonly s3: S3Client;
  readonly sts: STSClient;
  readonly iam: IAMClient;
  readonly logs: CloudWatchLogsClient;
  readonly catalogue: LogCatalogue;
  readonly applicationLogs: ApplicationLogs;
  /** Where a build's log is written. */
  readonly buildLogDir: (snapshotId: string) => string;
  /** What the clock shows; change it at will. */
  readonly time: { nowMs: number };
  /** When output comes: not the clock of signatures, which is the SDKs'. */
  readonly logTime: { nowMs: number };
  /** Lines of the log, parsed. */
  readonly logLines: Record<string, unknown>[];
  readonly store: Store;
  readonly blobFiles: () => Promise<string[]>;
  readonly context: (service: string) => SigningContext;
  /** A signed request without an SDK. */
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<RawAnswer>;
  /** Bytes as they are over a socket; resolves with all that came back when the server closes, or after the answer's first bytes with `once`. */
  readonly raw: (bytes: string | Buffer) => Promise<string>;
}

export interface CallOptions {
  readonly service?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Record<string, string>;
}

/** What a bed may have of its own. */
export interface BedOptions {
  /** Puts something between the server and its files, to provoke what real ones do not on demand. */
  readonly around?: (blobs: BlobStore) => BlobStore;
  /** What an operator says of the quotas. */
  readonly choice?: Partial<QuotaChoice>;
}

const HOST_MEMORY_MIB = 8000;

/** Starts a server on a port of its own. */
export async function startApi(limits: Partial<ApiLimits> = {}, { around = (blobs) => blobs, choice = {} }: BedOptions = {}): Promise<ApiBed> {
  const quotas = quotasOf({ limits: 'none', given: {}, ...choice }, HOST_MEMORY_MIB);
  const folder = await mkdtemp(join(tmpdir(), 'lull-api-'));
  const time = { nowMs: Date.now() };
  const logTime = { nowMs: Date.now() };
  const store = await openStore({ path: ':memory:' });
  await store.accessKeys.insert({ ...CREDENTIALS, createdAtMs: 0, description: null, session: null });
  const clock = { nowMs: () => time.nowMs };
  const random = { uuid: () => randomUUID(), bytes: randomBytes };
  const ports = { store, clock, random, realm: DEFAULT_REALM };
  const layout = new DataLayout(join(folder, 'data'), join(folder, 'run'));
  const applicationLogs = new ApplicationLogs(layout, { nowMs: () => logTime.nowMs });
  const buildLogDir = (snapshotId: string) => layout.snapshot(snapshotId).dir;
  const catalogue = new LogCatalogue({ streams: store.logs, files: { microvm: applicationLogs, build: createBuildLogFiles(new Files(), buildLogDir) } });
  const control = fakeControlPlane({
    roles: createRoleUseCases({ ...ports, roles: store.roles }),
    logs: createLogUseCases(catalogue, clock),
    connectors: createConnectorUseCases(ports),
    tags: createTagUseCases(ports),
    keys: createKeyUseCases({ ...ports, ownKeyId: CREDENTIALS.accessKeyId }),
    quotas: createQuotaUseCases({ quotas, hostMemoryMib: HOST_MEMORY_MIB }),
  });
  const logLines: Record<string, unknown>[] = [];
  const app = createApi({
    control,
    store,
    blobs: around(await openBlobs(join(folder, 'objects'))),
    completions: new KeyedQueue(),
    clock,
    random,
    realm: DEFAULT_REALM,
    apiHosts: ['lull.example.org'],
    rates: ratesOf(quotas),
    log: pino({ level: 'debug' }, { write: (line: string) => void logLines.push(JSON.parse(line)) }),
    endpointHost: (endpointId) => `${endpointId}.microvm.localhost:8443`,
    limits,
  });
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  const port = Number(new URL(origin).port);
  // A copy: the SDK writes on it.
  const sdk = { endpoint: origin, region: DEFAULT_REALM.region, credentials: { ...CREDENTIALS }, maxAttempts: 1 };
  const lambda = new LambdaMicrovmsClient(sdk);
  const sts = new STSClient(sdk);
  const iam = new IAMClient(sdk);
  const logs = new CloudWatchLogsClient(sdk);
  const s3 = new S3Client({ ...sdk, forcePathStyle: true });
  const context = (service: string): SigningContext => ({
    credentials: CREDENTIALS,
    region: DEFAULT_REALM.region,
    service,
    nowMs: time.nowMs,
  });
  return {
    origin,
    port,
    control,
    lambda,
    s3,
    sts,
    iam,
    logs,
    catalogue,
    applicationLogs,
    buildLogDir,
    time,
    logTime,
    logLines,
    store,
    blobFiles: () => readdir(join(folder, 'objects')),
    context,
    async call(method, path, { service = 'lambda', body, headers = {} } = {}) {
      const url = new URL(origin + path);
      const signed = signHeaders({ method, url, headers }, body ?? '', context(service));
      const answer = await fetch(url, { method, headers: signed, ...(body === undefined ? {} : { body }) });
      return { status: answer.status, headers: answer.headers, text: await answer.text() };
    },
    raw: (bytes) => sendRaw(port, bytes),
    async [Symbol.asyncDispose]() {
      lambda.destroy();
      for (const client of [s3, sts, iam, logs]) client.destroy();
      await app.close();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function sendRaw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    // A reset after the answer is how a server ends a connection whose request it did not read.
    socket.on('error', (error) => (parts.length > 0 ? undefined : reject(error)));
    socket.on('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

export const someBytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(length));
