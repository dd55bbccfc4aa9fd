/** Readers that stop, on either side: what the proxy holds for them stays bounded (RFC 9113, 5.2 and 6.9; section 5.6). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { UNOBSERVED } from '../../../src/proxy/exchange.ts';
import * as wire from '../../fakes/http2-frames.ts';
import { HOST, ProxyBed } from '../../fakes/proxy-bed.ts';
import { askIn, openSession, VERSIONS, type Asked } from '../../fakes/proxy-client.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** As many as the proxy takes of one connection of HTTP/2. */
const STREAMS = 128;
/** Of these, before the windows become narrow. */
const FEW_STREAMS = 15;
const WIDE_BYTES = 256 * KIB;
/** 16 windows of 256 KiB and 112 of 64 KiB, and the heads of frames. */
const UNREAD_BYTES = 11.5 * MIB;
/** Turns of the loop without a change, after which there is none to come. */
const STILL_TURNS = 2000;
const CHUNK = Buffer.alloc(64 * KIB);

/** Writes without end, as fast as the other side takes it. */
function pour(sink: Writable): void {
  const more = () => {
    while (!sink.destroyed && sink.write(CHUNK));
  };
  sink.on('drain', more);
  more();
}

/** Resolves with a count that has begun, once it moves no more. */
async function settled(count: () => number): Promise<number> {
  let last = 0;
  for (let still = 0; still < STILL_TURNS; still++) {
    await turn();
    const now = count();
    if (now !== last || now === 0) still = 0;
    last = now;
  }
  return last;
}

suite('the proxy holds a bounded amount', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let crossed = 0;
  beforeEach(async () => {
    crossed = 0;
    bed = await ProxyBed.start({}, undefined, { ...UNOBSERVED, passed: (bytes) => void (crossed += bytes) });
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** A connection of HTTP/2 and the bodies that it pours out. */
  async function opened(): Promise<{ readonly pourMore: (count: number) => readonly Asked[]; readonly sent: () => number } & Disposable> {
    const session = openSession(bed.place);
    await once(session, 'connect');
    const headers = { Host: HOST, 'X-aws-proxy-auth': await bed.token() };
    return {
      pourMore: (count) =>
        Array.from({ length: count }, () => {
          const asked = askIn(session, { method: 'POST', headers, isEmpty: false });
          pour(asked.sink);
          return asked;
        }),
      sent: () => session.socket.bytesWritten,
      [Symbol.dispose]: () => session.destroy(),
    };
  }

  test('of all the bodies that one connection of HTTP/2 may send to a microVM that sleeps, and loses none', async () => {
    const awake = Promise.withResolvers<void>();
    bed.destinations.beforeConnect = () => awake.promise;
    await bed.app((request, response) => request.once('data', () => response.end('woken')).resume());
    using client = await opened();
    const few = client.pourMore(FEW_STREAMS);
    const wide = await settled(client.sent);
    assert.ok(wide > 0.9 * FEW_STREAMS * WIDE_BYTES, `${Math.round(wide / KIB)} KiB`);
    const all = [...few, ...client.pourMore(STREAMS - FEW_STREAMS)];
    const bytes = await settled(client.sent);
    assert.equal(bed.destinations.connects.length, STREAMS);
    assert.ok(bytes < UNREAD_BYTES, `${Math.round(bytes / KIB)} KiB`);
    awake.resolve();
    for (const { answer } of all) assert.equal((await answer).status, 200);
  });

  test('of a client that opens more streams than it was told it may: hung up on', async () => {
    bed.destinations.beforeConnect = () => new Promise(() => undefined);
    const socket = await bed.raw({ ALPNProtocols: ['h2'] });
    const client = new wire.FrameWire(socket);
    const auth = await bed.token();
    const open = (at: number) => wire.headers(2 * at + 1, [[':method', 'POST'], [':scheme', 'https'], [':path', '/'], [':authority', HOST], ['x-aws-proxy-auth', auth]], wire.END_HEADERS);
    client.write(wire.PREFACE, wire.frame(wire.SETTINGS), wire.frame(wire.SETTINGS, { flags: wire.ACK }));
    client.write(...Array.from({ length: STREAMS }, (_, at) => open(at)));
    // RFC 9113, 5.1.2 and 6.5.3: what it has not acknowledged does not hold yet.
    await client.closed;
    assert.ok(bed.destinations.connects.length <= 16, `${bed.destinations.connects.length} served`);
  });

  for (const version of VERSIONS) {
    for (const [name, run] of Object.entries({
      'answers of which the client reads nothing': async () => {
        await bed.app((_request, response) => pour(response));
        const { body } = await (await bed.begin({ version })).answer;
        return body.pause();
      },
      'a body of which the application reads nothing': async () => {
        await bed.rawApp((socket) => void socket.pause());
        const { sink } = await bed.begin({ version, method: 'POST', isEmpty: false });
        pour(sink);
        return sink;
      },
    } satisfies Record<string, () => Promise<Readable | Writable>>)) {
      test(`of ${name}, over ${version}`, async () => {
        const memory = process.memoryUsage().rss;
        const stream = await run();
        const bytes = await settled(() => crossed);
        const grown = process.memoryUsage().rss - memory;
        // Most of what crossed is in the kernel.
        assert.ok(bytes < 64 * MIB && grown < 48 * MIB, `${Math.round(bytes / MIB)} MiB crossed, ${Math.round(grown / MIB)} MiB grown`);
        stream.destroy();
      });
    }
  }
});
