/** The servers for guests over the real store and real files; what the agent does in a microVM, a listener does for each service here. */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import { pino } from 'pino';
import { createGuestServer } from '../../../src/api/guest-server.ts';
import type { ApiLimits } from '../../../src/api/server.ts';
import { ExecutionRoles, type RoleCredentials } from '../../../src/control/microvms/execution-role.ts';
import type { GuestService } from '../../../src/domain/guest-service.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import type { Store } from '../../../src/domain/ports.ts';
import { KeyedQueue } from '../../../src/lib/keyed-queue.ts';
import { openBlobs } from '../../../src/store/blobs.ts';
import { openStore } from '../../../src/store/store.ts';
import { insertLaunchable, microvmRecord } from '../../fakes/records.ts';

export const ROLE_ARN = 'arn:aws:iam::000000000000:role/service/app';
/** Of the three microVMs the last has no role. */
export const [ONE, OTHER, WITHOUT] = ['one', 'other', 'without'].map((name) => microvmRecord(name).microvmId) as [string, string, string];

export interface GuestBed extends AsyncDisposable {
  readonly store: Store;
  /** What the clock shows; change it at will. */
  readonly time: { nowMs: number };
  /** The origin at which a microVM finds a service. */
  origin(microvmId: string, service: GuestService): string;
  /** A connection as a server gets it, from the guest's end. */
  connect(microvmId: string, service: GuestService): Duplex;
  credentials(microvmId: string): Promise<RoleCredentials | undefined>;
  /** Ends the servers; the store stays. */
  close(): Promise<void>;
}

export async function startGuests(limits: Partial<ApiLimits> = {}): Promise<GuestBed> {
  const folder = await mkdtemp(join(tmpdir(), 'lull-guests-'));
  const store = await openStore({ path: ':memory:' });
  const time = { nowMs: Date.now() };
  const ports = { clock: { nowMs: () => time.nowMs }, random: { uuid: () => randomUUID(), bytes: (length: number) => randomBytes(length) } };
  await insertLaunchable(store);
  const fields = { state: 'RUNNING', startedAtMs: time.nowMs } as const;
  await store.microvms.insert(microvmRecord('one', { ...fields, executionRoleArn: ROLE_ARN }));
  await store.microvms.insert(microvmRecord('other', { ...fields, executionRoleArn: ROLE_ARN }));
  await store.microvms.insert(microvmRecord('without', fields));
  await store.objects.createBucket('bucket', 0);
  const roles = new ExecutionRoles({ ...store, ...ports });
  const credentials = (microvmId: string) => roles.credentials(microvmId);
  const guests = await createGuestServer({
    ...ports,
    store,
    blobs: await openBlobs(folder),
    completions: new KeyedQueue(),
    realm: DEFAULT_REALM,
    limits,
    log: pino({ level: 'silent' }),
    microvms: { executionRoleCredentials: credentials },
  });
  const connect = (microvmId: string, service: GuestService) => {
    // A stream of an agent's is no socket: neither is what the server gets here.
    const [near, far] = duplexPair();
    // A stream that the server destroys is reset.
    far.on('error', () => undefined).once('close', () => near.destroy());
    guests.connect(microvmId, service, far);
    return near.on('error', () => undefined);
  };
  const listeners = new Map<string, Server>();
  for (const microvmId of [ONE, OTHER, WITHOUT]) {
    for (const service of ['metadata', 's3'] as const) {
      const listener = createServer({ allowHalfOpen: true }, (socket) => {
        const near = connect(microvmId, service);
        socket.on('error', () => near.destroy()).pipe(near).pipe(socket);
        near.on('close', () => socket.destroy());
      });
      await once(listener.listen(0, '127.0.0.1'), 'listening');
      listeners.set(`${microvmId} ${service}`, listener);
    }
  }
  return {
    store,
    time,
    credentials,
    connect,
    close: () => guests.close(),
    origin: (microvmId, service) => `http://127.0.0.1:${(listeners.get(`${microvmId} ${service}`)!.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const listener of listeners.values()) listener.close();
      await guests.close();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
