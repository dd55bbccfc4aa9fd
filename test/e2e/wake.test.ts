/** Requests that wake a microVM, by real clients of HTTP/1.1 and HTTP/2: contract reference, sections 3.4 and 5.6. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect as http2Connect, type ClientHttp2Session } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const COUNTING_APP = join(import.meta.dirname, '../fixtures/counting-app');
const ENABLED = 'ENABLED' as const;
const HOOKS = { port: 8080, microvmHooks: { resume: ENABLED, resumeTimeoutInSeconds: 30 }, microvmImageHooks: { ready: ENABLED } };
const CLIENTS = 50;
const REQUESTS_EACH = 20;

interface SeenByApp {
  readonly ids: Readonly<Record<string, number>>;
  readonly hooks: Readonly<Record<string, number>>;
}

/** One client with one connection. */
interface Client extends Disposable {
  /** @returns the status and the body */
  ask(id: string, body: string): Promise<{ status: number; text: string }>;
}

describe('a request that wakes a microVM', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let imageArn: string;
  before(async () => {
    server = await LullServer.start();
    imageArn = await server.image('counting', COUNTING_APP, { hooks: HOOKS });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const asleep = async (): Promise<TestMicrovm> => {
    const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.until('RUNNING');
    await microvm.suspend();
    return microvm;
  };

  const placeOf = async (microvm: TestMicrovm) => ({
    place: { host: '127.0.0.1', port: server.endpointPort, servername: microvm.endpoint.replace(/:\d+$/, ''), ca: server.ca },
    fields: { host: microvm.endpoint, 'x-aws-proxy-auth': await microvm.token() },
  });
  type Place = Awaited<ReturnType<typeof placeOf>>;

  const http1Client = ({ place, fields }: Place): Client => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    return {
      ask: async (id, body) => {
        const asked = httpsRequest({ ...place, agent, method: 'POST', headers: { ...fields, 'x-id': id, 'content-length': `${body.length}` } });
        asked.end(body);
        const [answer] = (await once(asked, 'response')) as [IncomingMessage];
        return { status: answer.statusCode!, text: Buffer.concat(await answer.toArray()).toString() };
      },
      [Symbol.dispose]: () => agent.destroy(),
    };
  };

  const http2Client = ({ place, fields: { host, ...fields } }: Place): Client => {
    const session: ClientHttp2Session = http2Connect(`https://${place.servername}`, {
      createConnection: () => tlsConnect({ ...place, ALPNProtocols: ['h2'] }),
    });
    return {
      ask: async (id, body) => {
        const stream = session.request({ ':method': 'POST', ':path': '/', ':authority': host, ...fields, 'x-id': id, 'content-length': `${body.length}` });
        stream.end(body);
        const [head] = (await once(stream, 'response')) as [Record<string, number>];
        return { status: head[':status']!, text: Buffer.concat(await stream.toArray()).toString() };
      },
      [Symbol.dispose]: () => session.destroy(),
    };
  };

  /** Fires all requests of all clients. @returns the statuses; every 200 has its body back */
  async function fire(make: () => Client, inTurn: boolean): Promise<number[]> {
    const clients = Array.from({ length: CLIENTS }, make);
    const one = async (client: Client, id: string) => {
      const { status, text } = await client.ask(id, `the body of ${id}`);
      if (status === 200) assert.equal(text, `the body of ${id}`);
      return status;
    };
    const all = await Promise.all(
      clients.map(async (client, number) => {
        const ids = Array.from({ length: REQUESTS_EACH }, (_, at) => `${number}-${at}`);
        if (!inTurn) return Promise.all(ids.map((id) => one(client, id)));
        const statuses: number[] = [];
        for (const id of ids) statuses.push(await one(client, id));
        return statuses;
      }),
    );
    for (const client of clients) client[Symbol.dispose]();
    return all.flat();
  }

  const KINDS = [
    { kind: 'HTTP/1.1', make: http1Client, inTurn: true },
    { kind: 'HTTP/2', make: http2Client, inTurn: false },
  ];
  const seenBy = async (microvm: TestMicrovm) => {
    for (;;) {
      const { status, body } = await microvm.ask('/seen');
      if (status === 200) return JSON.parse(body.toString()) as SeenByApp;
      assert.equal(status, 429);
    }
  };

  for (const { kind, make, inTurn } of KINDS) {
    it(`is one of a thousand by fifty clients of ${kind}: one wake, and each answered once`, async () => {
      const microvm = await asleep();
      const place = await placeOf(microvm);
      const from = server.process.lines.length;
      const statuses = await fire(() => make(place), inTurn);
      assert.deepEqual(statuses, Array.from({ length: CLIENTS * REQUESTS_EACH }, () => 200));
      assert.deepEqual(microvm.changes(from), ['WAKING', 'RUNNING']);
      const { ids, hooks } = await seenBy(microvm);
      assert.equal(hooks['resume'], 1);
      assert.equal(Object.keys(ids).length, CLIENTS * REQUESTS_EACH);
      assert.deepEqual(new Set(Object.values(ids)), new Set([1]));
      await microvm.terminate();
    });
  }

  it('has its body held unread, then passed on whole', async (t) => {
    const microvm = await asleep();
    const body = randomBytes(8 * 1024 * 1024);
    const { status, body: back } = await microvm.ask('/', { method: 'POST', body });
    assert.equal(status, 200);
    assert.equal(createHash('sha256').update(back).digest('hex'), createHash('sha256').update(body).digest('hex'));
    const held: number[] = [];
    const resumed: number[] = [];
    const timed = async (into: number[], work: () => Promise<unknown>) => {
      await microvm.suspend();
      const startedAt = performance.now();
      await work();
      into.push(Math.round(performance.now() - startedAt));
    };
    for (let round = 0; round < 3; round += 1) {
      await timed(held, () => microvm.ask('/'));
      await timed(resumed, async () => {
        await server.lambda.resumeMicrovm({ microvmIdentifier: microvm.id });
        await microvm.ask('/');
      });
    }
    t.diagnostic(`woken by a request: ${held.join(', ')} ms to its answer; ResumeMicrovm and a request: ${resumed.join(', ')} ms`);
    await microvm.terminate();
  });

  it('is answered 200 or 429 with AWS’s limits, still by one wake', async () => {
    await server.stop('SIGTERM');
    await server.up(['--limits', 'aws']);
    for (const { make, inTurn } of KINDS) {
      const microvm = await asleep();
      const place = await placeOf(microvm);
      const from = server.process.lines.length;
      const statuses = await fire(() => make(place), inTurn);
      assert.deepEqual(new Set(statuses), new Set([200, 429]));
      assert.deepEqual(microvm.changes(from), ['WAKING', 'RUNNING']);
      const { ids, hooks } = await seenBy(microvm);
      assert.equal(hooks['resume'], 1);
      assert.deepEqual(new Set(Object.values(ids)), new Set([1]));
      assert.equal(Object.keys(ids).length, statuses.filter((status) => status === 200).length);
      await microvm.terminate();
    }
  });
});
