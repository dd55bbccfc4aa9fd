/** Frames that no decent application sends (RFC 9113). Its client gets one clean refusal or a reset, and nobody else notices. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import * as wire from '../../fakes/http2-frames.ts';
import { DOMAIN, MICROVM, OTHER_ENDPOINT, OTHER_MICROVM, ProxyBed, wholeOf } from '../../fakes/proxy-bed.ts';
import { VERSIONS, type Version } from '../../fakes/proxy-client.ts';

const MIB = 1024 * 1024;
/** Floods go on until the proxy hangs up, or this much has been taken. */
const FLOOD_BYTES = 16 * MIB;
/** What the process may grow by meanwhile; the flood itself is one piece, again and again. */
const GROWTH_BYTES = 48 * MIB;
const PORT = 9001;

const times = (count: number, make: (at: number) => Buffer) => Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
const OK = wire.headers(1, [[':status', '200']], wire.END_HEADERS);
const goaway = (...debug: Buffer[]) => wire.frame(wire.GOAWAY, { payload: Buffer.concat([wire.uint32(0), wire.uint32(0), ...debug]) });

suite('behind HTTP/2 applications the proxy survives', { timeout: 120_000 }, () => {
  let bed: ProxyBed;
  before(async () => {
    bed = await ProxyBed.start();
    await bed.app((_request, response) => response.end('served'));
  });
  after(() => bed[Symbol.asyncDispose]());

  /** An application that does `act` when the first request is there. */
  async function application(act: (far: wire.FrameWire) => Promise<void> | void): Promise<void> {
    bed.proxy.forget(MICROVM);
    await bed.rawApp((socket: Socket) => {
      const far = new wire.FrameWire(socket, wire.PREFACE.length);
      far.write(wire.frame(wire.SETTINGS));
      void far.find(({ type }) => type === wire.HEADERS).then((asked) => {
        // Ours have come before it.
        far.write(wire.frame(wire.SETTINGS, { flags: wire.ACK }));
        if (asked !== undefined) return act(far);
      });
    }, PORT);
  }

  const headers = { 'X-aws-proxy-port': `${PORT}`, 'X-aws-proxy-force-h2': 'true' };
  const ask = (version: Version) => bed.begin({ version, headers });

  /** Another microVM is answered while the application rages. */
  async function askNeighbour(): Promise<void> {
    const neighbour = { Host: `${OTHER_ENDPOINT}.${DOMAIN}`, 'X-aws-proxy-auth': await bed.token({ microvmId: OTHER_MICROVM }) };
    for (const version of VERSIONS) assert.equal((await bed.ask({ version, headers: neighbour })).body, 'served');
  }

  const NO_ANSWER: Record<string, () => Buffer> = {
    // RFC 9113, 6.8.
    'GOAWAY with garbage': () => Buffer.concat([goaway(Buffer.alloc(16_000, 0xff)), Buffer.alloc(1000, 0xff)]),
    // RFC 9113, 6.8.
    'GOAWAY of a stream that it took': () => wire.frame(wire.GOAWAY, { payload: Buffer.alloc(3) }),
    // RFC 9113, 5.1: idle and closed streams.
    'DATA of an unknown stream': () => wire.frame(wire.DATA, { stream: 99, payload: Buffer.from('forged') }),
    // RFC 9113, 5.1: idle and closed streams.
    'HEADERS of an unknown stream': () => wire.headers(99, [[':status', '200']]),
    // RFC 9113, 5.1: idle and closed streams.
    'HEADERS of a stream of its own': () => wire.headers(2, [[':status', '200']]),
    // RFC 9113, 5.1: idle and closed streams.
    'a reset of an unknown stream': () => wire.frame(wire.RST_STREAM, { stream: 99, payload: wire.uint32(0) }),
    // RFC 9113, 5.1: idle and closed streams.
    'a reset of stream 0': () => wire.frame(wire.RST_STREAM, { payload: wire.uint32(0) }),
    // RFC 9113, 5.1: idle and closed streams.
    'DATA of stream 0': () => wire.frame(wire.DATA, { payload: Buffer.from('forged') }),
    // RFC 9113, 6.4.
    'a reset': () => wire.frame(wire.RST_STREAM, { stream: 1, payload: wire.uint32(2) }),
    // RFC 9113, 6.4.
    'a reset without an error': () => wire.frame(wire.RST_STREAM, { stream: 1, payload: wire.uint32(0) }),
    // RFC 9113, 8.4: not allowed by our SETTINGS.
    'a push': () => wire.frame(wire.PUSH_PROMISE, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.concat([wire.uint32(2), wire.literals([[':method', 'GET']])]) }),
    // RFC 9113, 8.1: a body without a head.
    'DATA before HEADERS': () => wire.frame(wire.DATA, { stream: 1, payload: Buffer.from('forged') }),
    // RFC 9113, 8.3.2.
    'no status': () => wire.headers(1, [['x', 'y']]),
    // RFC 9113, 8.3.2.
    'two statuses': () => wire.headers(1, [[':status', '200'], [':status', '204']]),
    // RFC 9113, 8.3.2.
    'a status that is none': () => wire.headers(1, [[':status', '2e2']]),
    // RFC 9113, 8.3.2.
    'a status of four digits': () => wire.headers(1, [[':status', '2000']]),
    // RFC 9113, 8.3.2.
    'a status beside fields of a request': () => wire.headers(1, [[':status', '200'], [':path', '/']]),
    // RFC 9113, 8.6: there is no Upgrade.
    'status 101': () => wire.headers(1, [[':status', '101']]),
    // RFC 9113, 8.2.1 and 8.2.2.
    'a name in capitals': () => wire.headers(1, [[':status', '200'], ['X-Large', 'a']]),
    // RFC 9113, 8.2.1 and 8.2.2.
    'fields of the connection': () => wire.headers(1, [[':status', '200'], ['connection', 'close']]),
    // RFC 9113, 8.2.1 and 8.2.2.
    'a transfer coding': () => wire.headers(1, [[':status', '200'], ['transfer-encoding', 'chunked']]),
    // RFC 9113, 8.1.1.
    'two lengths': () => wire.headers(1, [[':status', '200'], ['content-length', '1'], ['content-length', '2']]),
    // RFC 9113, 8.1.1.
    'a length of a body that is not there': () => wire.headers(1, [[':status', '200'], ['content-length', '4']]),
    // RFC 9113, 4.2 and 4.3.
    'a frame beyond the size agreed on': () => wire.frame(wire.HEADERS, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.alloc(20_000) }),
    // RFC 9113, 4.2 and 4.3.
    'headers that are not HPACK': () => wire.frame(wire.HEADERS, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.alloc(100, 0xff) }),
    // RFC 9113, 6.5.
    'SETTINGS of half a value': () => wire.frame(wire.SETTINGS, { payload: Buffer.alloc(5) }),
    // RFC 9113, 6.5.
    'SETTINGS of an impossible window': () => wire.frame(wire.SETTINGS, { payload: wire.settings([[4, 0xffffffff]]) }),
    // RFC 9113, 6.9.
    'window beyond its size': () => wire.frame(wire.WINDOW_UPDATE, { payload: wire.uint32(0x7fffffff) }),
    // RFC 9113, 6.9.
    'an answer of HTTP/1.1': () => Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged'),
    // RFC 9113, 10.5.1; the size of a list is in our SETTINGS.
    'a header that says a large one again and again': () =>
      wire.frame(wire.HEADERS, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.concat([wire.literals([[':status', '200']]), wire.indexed('x', 'x'.repeat(3000)), ...Array.from({ length: 10_000 }, () => wire.NEWEST_ENTRY)]) }),
  };
  for (const version of VERSIONS) {
    for (const [name, bytes] of Object.entries(NO_ANSWER)) {
      test(`that send ${name}, over ${version}: 502`, async () => {
        await application((far) => far.write(bytes()));
        const { status, body } = await wholeOf(await (await ask(version)).answer);
        assert.deepEqual([status, body], [502, '']);
      });
    }

    for (const [name, bytes] of Object.entries({
      // RFC 9113, 8.1.1.
      'more than the length': () => Buffer.concat([wire.headers(1, [[':status', '200'], ['content-length', '2']], wire.END_HEADERS), wire.frame(wire.DATA, { flags: wire.END_STREAM, stream: 1, payload: Buffer.from('okforged') })]),
      // RFC 9113, 8.1.1.
      'less than the length': () => Buffer.concat([wire.headers(1, [[':status', '200'], ['content-length', '9']], wire.END_HEADERS), wire.frame(wire.DATA, { flags: wire.END_STREAM, stream: 1, payload: Buffer.from('ok') })]),
      // RFC 9113, 6.4 and 6.8.
      'a reset amid its body': () => Buffer.concat([OK, wire.frame(wire.DATA, { stream: 1, payload: Buffer.from('ok') }), wire.frame(wire.RST_STREAM, { stream: 1, payload: wire.uint32(0) })]),
      // RFC 9113, 6.4 and 6.8.
      'GOAWAY with an error amid its body': () => Buffer.concat([OK, wire.frame(wire.GOAWAY, { payload: Buffer.concat([wire.uint32(0), wire.uint32(1), Buffer.alloc(100, 0xff)]) })]),
      // RFC 9113, 6.1 and 6.9.1.
      'padding longer than the frame': () => Buffer.concat([OK, wire.frame(wire.DATA, { flags: wire.PADDED, stream: 1, payload: Buffer.from([255, 0]) })]),
      // RFC 9113, 6.1 and 6.9.1.
      'more than the window': () => Buffer.concat([OK, times(64, () => wire.frame(wire.DATA, { stream: 1, payload: Buffer.alloc(16_384) }))]),
    })) {
      test(`that send ${name}, over ${version}: the answer breaks off`, async () => {
        await application((far) => far.write(bytes()));
        const asked = await ask(version);
        await assert.rejects(asked.answer.then(async (answer) => {
          // The client reads nothing before all of it is there: the window stays shut.
          const { body } = await wholeOf(answer);
          assert.ok(!body.includes('forged'));
        }));
      });
    }
  }

  const HEAD = wire.headers(1, [[':status', '200']], 0);
  /** What comes first, and what comes then again and again. */
  const FLOODS: Record<string, () => { readonly first?: Buffer; readonly again: Buffer }> = {
    // RFC 9113, 6.5 and 10.5.
    'SETTINGS': () => ({ again: times(5000, () => wire.frame(wire.SETTINGS, { payload: wire.settings([[4, 65_535]]) })) }),
    // RFC 9113, 6.5 and 10.5.
    'empty SETTINGS': () => ({ again: times(5000, () => wire.frame(wire.SETTINGS)) }),
    // RFC 9113, 6.7.
    'PINGs': () => ({ again: times(5000, () => wire.frame(wire.PING, { payload: Buffer.alloc(8) })) }),
    // RFC 9113, 6.7.
    'answers to PINGs': () => ({ again: times(5000, () => wire.frame(wire.PING, { flags: wire.ACK, payload: Buffer.alloc(8) })) }),
    // RFC 9113, 6.10 and 10.5.1.
    'CONTINUATIONs': () => ({ first: HEAD, again: times(5000, () => wire.frame(wire.CONTINUATION, { stream: 1, payload: wire.literals([['x', 'y']]) })) }),
    // RFC 9113, 6.10 and 10.5.1.
    'empty CONTINUATIONs': () => ({ first: HEAD, again: times(5000, () => wire.frame(wire.CONTINUATION, { stream: 1 })) }),
    // RFC 9113, 6.10 and 10.5.1.
    'large CONTINUATIONs': () => ({ first: HEAD, again: times(8, () => wire.frame(wire.CONTINUATION, { stream: 1, payload: wire.literals([['x', 'y'.repeat(16_000)]]) })) }),
    // RFC 9113, 8.1; RFC 9110, 15.2.
    'interim answers': () => ({ again: times(5000, () => wire.headers(1, [[':status', '103'], ['link', '</a>']], wire.END_HEADERS)) }),
    // RFC 9113, 8.1; RFC 9110, 15.2.
    'fields of one letter': () => ({ again: wire.headers(1, [[':status', '200'], ...Array.from({ length: 3000 }, () => ['x', 'y'] as const)], wire.END_HEADERS) }),
    // RFC 9113, 6.1 and 10.5.
    'empty DATA': () => ({ first: OK, again: times(5000, () => wire.frame(wire.DATA, { stream: 1 })) }),
    // RFC 9113, 6.9.
    'window updates': () => ({ again: times(5000, () => wire.frame(wire.WINDOW_UPDATE, { payload: wire.uint32(1) })) }),
    // RFC 9113, 5.3.2 and 6.3.
    'priorities': () => ({ again: times(5000, () => wire.frame(wire.PRIORITY, { stream: 1, payload: Buffer.from([0, 0, 0, 3, 1]) })) }),
    // RFC 9113, 4.1.
    'frames of an unknown type': () => ({ again: times(5000, () => wire.frame(0xaa, { payload: Buffer.alloc(100) })) }),
    // RFC 9113, 5.1 and 6.4.
    'resets of streams that never were': () => ({ again: times(5000, (at) => wire.frame(wire.RST_STREAM, { stream: 2 * at + 3, payload: wire.uint32(8) })) }),
    // RFC 9113, 6.8.
    'GOAWAYs': () => ({ again: times(5000, () => goaway()) }),
  };
  for (const version of VERSIONS) {
    for (const [name, flood] of Object.entries(FLOODS)) {
      test(`that send ${name} without end, over ${version}: one refusal or a reset, and a neighbour is answered meanwhile`, async () => {
        const { first, again } = flood();
        const memory = process.memoryUsage().rss;
        const over = Promise.withResolvers<void>();
        await application(async (far) => {
          if (first !== undefined) far.write(first);
          for (let sent = 0; sent < FLOOD_BYTES && !far.isClosed; sent += again.length) await far.writeAll(again);
          far.destroy();
          over.resolve();
        });
        const asked = await ask(version);
        await askNeighbour();
        const answer = await asked.answer.then(wholeOf).catch(() => undefined);
        // Where a head was there, the answer breaks off.
        assert.ok(answer === undefined || (answer.status === 502 && answer.body === ''), `${answer?.status} ${answer?.body}`);
        await over.promise;
        const grown = process.memoryUsage().rss - memory;
        assert.ok(grown < GROWTH_BYTES, `${Math.round(grown / MIB)} MiB`);
        await askNeighbour();
      });
    }
  }

  test('that never read: the client is held back, and given up after its silence', async () => {
    await using strict = await ProxyBed.start({ silenceMs: 500 });
    await strict.rawApp((socket) => {
      socket.write(wire.frame(wire.SETTINGS));
      socket.pause();
    }, PORT);
    for (const version of VERSIONS) {
      const asked = await strict.begin({ version, method: 'POST', isEmpty: false, headers });
      asked.sink.on('error', () => undefined);
      let sent = 0;
      const piece = Buffer.alloc(64 * 1024);
      const more = () => {
        while (!asked.sink.destroyed && sent < 2 * FLOOD_BYTES && asked.sink.write(piece)) sent += piece.length;
      };
      asked.sink.on('drain', more);
      more();
      await asked.closed;
      assert.ok(sent < 2 * FLOOD_BYTES);
    }
  });

  test('that say nothing at all: given up after the client’s silence', async () => {
    await using strict = await ProxyBed.start({ silenceMs: 500 });
    await strict.rawApp((socket) => void socket.resume(), PORT);
    for (const version of VERSIONS) await assert.rejects((await strict.begin({ version, headers })).answer);
  });
});
