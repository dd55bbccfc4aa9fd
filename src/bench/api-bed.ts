/** One side of `lull bench api`: a store on disk with many rows or few, and the real server over it, without machines. */
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createApi, type ApiAdapters } from '../api/server.ts';
import { LullClient } from '../client/client.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { ImagePorts } from '../control/images/context.ts';
import { createImageUseCases } from '../control/images/image-use-cases.ts';
import type { Traffic } from '../control/microvms/traffic.ts';
import { Microvms, type MicrovmParts } from '../control/microvms/use-cases.ts';
import { createPassRole } from '../control/roles/pass-role.ts';
import { DEFAULT_REALM, imageArn } from '../domain/ids.ts';
import type { MicrovmState } from '../domain/microvm.ts';
import type { Clock, Random, Store } from '../domain/ports.ts';
import { createEndpointTokens } from '../proxy/tokens.ts';
import { openBlobs } from '../store/blobs.ts';
import { migrate } from '../store/migrate.ts';
import { MIGRATIONS } from '../store/migrations.ts';
import { SqliteThread } from '../store/sqlite-thread.ts';
import { storeOver } from '../store/store.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { CountedStatements, type StatementCount } from './counted-statements.ts';
import { NO_BUILDER, NO_RUNTIME } from './no-machines.ts';
import { Records } from './records.ts';

/** How much is in a store before anything is measured. */
export interface StoreSize {
  readonly microvms: number;
  readonly images: number;
}

export interface ApiBed extends AsyncDisposable {
  readonly size: StoreSize;
  readonly client: LullClient;
  /** Images that have microVMs. */
  readonly imageArns: readonly string[];
  /** MicroVMs that run now; whoever changes one puts it back. */
  readonly running: string[];
  /** Resolves when a microVM that was launched runs. */
  settled(microvmId: string): Promise<void>;
  /** What the store was asked so far. */
  count(): StatementCount;
}

/** On disk: a commit has to reach it, as in life. */
const PARENT = '/var/tmp';
/** A launch without a machine is two commits. */
const SETTLE_LIMIT_MS = 10_000;
/** Half of all have ended, of the others half sleep. */
const STATES = ['TERMINATED', 'RUNNING', 'TERMINATED', 'SUSPENDED'] as const satisfies readonly MicrovmState[];

/** What both beds are made with. */
export interface ApiBedPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ApiAdapters['log'];
}

export interface ApiBedOrder extends ApiBedPorts {
  readonly size: StoreSize;
  /** How many a client keeps open. */
  readonly connections: number;
}

/** Makes the store, fills it and serves it. */
export async function makeApiBed({ size, connections, clock, random, log }: ApiBedOrder): Promise<ApiBed> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(PARENT, 'lull-bench-api-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'lull.db');
  const statements = new CountedStatements(new SqliteThread(path));
  const store = stack.use(storeOver(statements));
  await migrate(statements, { path, migrations: MIGRATIONS });
  // The rows are no more lost than the folder: only what is measured has to wait for the disk.
  await statements.run('PRAGMA synchronous = OFF');
  const running = await fill(store, size, { random, atMs: clock.nowMs() });
  await statements.run('PRAGMA synchronous = FULL');
  await statements.run('PRAGMA wal_checkpoint(TRUNCATE)');
  const blobs = await openBlobs(join(folder, 'objects'));
  const credentials = { accessKeyId: 'AKIABENCHBENCHBENCH0', secretAccessKey: random.bytes(30).toString('base64') };
  await store.accessKeys.insert({ ...credentials, createdAtMs: clock.nowMs(), description: 'bench', session: null });
  const { control, traffic } = await controlOver(stack, { store, blobs, clock, random, log });
  const { region } = DEFAULT_REALM;
  const api = createApi({ control, store, blobs, completions: new KeyedQueue(), clock, random, log, realm: DEFAULT_REALM, endpointHost: (id) => `${id}.microvm.localhost` });
  stack.defer(() => api.close());
  await api.listen({ host: '127.0.0.1', port: 0 });
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  stack.defer(() => agent.destroy());
  const apiUrl = `http://127.0.0.1:${(api.server.address() as AddressInfo).port}`;
  const client = new LullClient({ apiUrl, region, credentials, agent });
  const held = stack.move();
  return {
    size,
    client,
    imageArns: Array.from({ length: launchedImages(size) }, (_, n) => imageArn(DEFAULT_REALM, imageName(n))),
    running,
    settled: async (id) => void (await traffic.connect(id, 1, AbortSignal.timeout(SETTLE_LIMIT_MS))).destroy(),
    count: () => statements.count(),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

type ControlPorts = Pick<MicrovmParts, 'store' | 'clock' | 'random' | 'log'> & Pick<ImagePorts, 'blobs'>;

async function controlOver(stack: AsyncDisposableStack, { store, blobs, clock, random, log }: ControlPorts): Promise<{ control: ControlPlane; traffic: Traffic }> {
  const passRole = createPassRole({ roles: store.roles, realm: DEFAULT_REALM, check: 'own-account' });
  const microvms = stack.use(
    new Microvms({
      store,
      runtime: NO_RUNTIME,
      tokens: createEndpointTokens({ keys: store.tokenKeys, clock, random }),
      clock,
      random,
      log,
      realm: DEFAULT_REALM,
      capacity: { availableMib: () => Number.MAX_SAFE_INTEGER },
      memoryQuotaMib: Number.MAX_SAFE_INTEGER,
      hookTimeoutScale: 1,
      onSuspendHookFailure: 'terminate',
      passRole,
      forgetConnections: () => undefined,
      onEnd: () => undefined,
      onOperation: () => undefined,
    }),
  );
  const limits = { buildsAtOnce: 1, buildsWaiting: 1, images: Number.MAX_SAFE_INTEGER, versionsPerImage: Number.MAX_SAFE_INTEGER };
  const architecture = { host: 'x86_64', isStrict: false } as const;
  const parts = { store, builder: NO_BUILDER, blobs, clock, random, log, realm: DEFAULT_REALM, passRole, architecture, limits, managed: [] };
  const images = stack.use(createImageUseCases(parts));
  await microvms.recover();
  // Nothing else of the control plane is called.
  const control: Partial<ControlPlane> = { images, microvms: microvms.useCases };
  return { control: control as ControlPlane, traffic: microvms.traffic };
}

/** Half of the images were launched, so that in the small store too each of those has more than one microVM. */
const launchedImages = ({ images }: StoreSize) => Math.ceil(images / 2);
const imageName = (n: number) => `image-${n}`;

/** @returns the microVMs that run */
async function fill(store: Store, { microvms, images }: StoreSize, { random, atMs }: { random: Random; atMs: number }): Promise<string[]> {
  const record = new Records(random, atMs);
  const versions = Array.from({ length: images }, (_, n) => record.version(imageName(n)));
  for (const version of versions) await store.images.insert(record.image(version.imageName), version);
  const launched = launchedImages({ microvms, images });
  const running: string[] = [];
  for (let n = 0; n < microvms; n += 1) {
    const microvm = record.microvm(versions[n % launched]!, STATES[n % STATES.length]!);
    await store.microvms.insert(microvm);
    if (microvm.state === 'RUNNING') running.push(microvm.microvmId);
  }
  return running;
}
