/** Frames that no decent client sends (RFC 9113). The proxy ends the stream or the connection, and serves the next client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, suite, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { HOST, OTHER_ENDPOINT, DOMAIN, ProxyBed } from '../../fakes/proxy-bed.ts';
import * as wire from '../../fakes/http2-frames.ts';

type Pairs = readonly (readonly [string, string])[];

suite('over HTTP/2 the proxy survives', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let auth = '';
  const asked: string[] = [];
  let fieldNames: string[] = [];
  before(async () => {
    bed = await ProxyBed.start({ keepAliveMs: 500, silenceMs: 1000, unwantedMs: 500, requestsAtOnce: 20 });
    await bed.app((request, response) => {
      fieldNames = Object.keys(request.headers);
      asked.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => response.end('served'));
    });
    auth = await bed.token();
  });
  after(() => bed[Symbol.asyncDispose]());

  async function open(settings: readonly (readonly [number, number])[] = []): Promise<wire.FrameWire> {
    const socket = tlsConnect({ host: '127.0.0.1', port: bed.port, ca: bed.ca, servername: HOST, ALPNProtocols: ['h2'] });
    const client = new wire.FrameWire(socket);
    await once(socket, 'secureConnect');
    client.write(wire.PREFACE, wire.frame(wire.SETTINGS, { payload: wire.settings(settings) }));
    return client;
  }

  const pseudo = ({ method = 'GET', path = '/', scheme = 'https', authority = HOST } = {}): Pairs => [
    ...[[':method', method], [':scheme', scheme], [':path', path], [':authority', authority]] as const,
  ];
  const good = (more: Pairs = []): Pairs => [...pseudo(), ['x-aws-proxy-auth', auth], ...more];
  const isEnd = ({ type, stream, flags }: wire.Frame) => stream === 1 && (type === wire.RST_STREAM || ((type === wire.DATA || type === wire.HEADERS) && (flags & wire.END_STREAM) !== 0));

  const REFUSED: Record<string, () => Pairs> = {
    // RFC 9113, 8.2.1.
    'a name in capitals': () => good([['X-Large', 'a']]),
    // RFC 9113, 8.2.2.
    'Transfer-Encoding': () => good([['transfer-encoding', 'chunked']]),
    // RFC 9113, 8.2.2.
    'Connection': () => good([['connection', 'close']]),
    // RFC 9113, 8.3.
    'a pseudo-field after the others': () => good([[':path', '/other']]),
    // RFC 9113, 8.3.1.
    'two authorities': () => [[':authority', HOST], ...good()],
    // RFC 9113, 8.3.1.
    'no path': () => [[':method', 'GET'], [':scheme', 'https'], [':authority', HOST], ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.2.1 and 8.3.1.
    'a request line in the path': () => [...pseudo({ path: '/ HTTP/1.1\r\nX: y' }), ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.2.1 and 8.3.1.
    'a request line in the method': () => [...pseudo({ method: 'GET / HTTP/1.1\r\n' }), ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.3.1.
    'a whole URL as path': () => [...pseudo({ path: 'https://other.example/', scheme: 'foo' }), ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.3.1.
    'the asterisk of another method': () => [...pseudo({ path: '*', scheme: 'foo' }), ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.1.1.
    'two Content-Lengths': () => good([['content-length', '0'], ['content-length', '1']]),
    // RFC 9113, 8.1.1.
    'a Content-Length of a body that is not there': () => good([['content-length', '4']]),
    // RFC 8441, 3: not offered.
    'a WebSocket by extended CONNECT': () => [...pseudo({ method: 'CONNECT' }), [':protocol', 'websocket'], ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.5.
    'CONNECT': () => [[':method', 'CONNECT'], [':authority', HOST], ['x-aws-proxy-auth', auth]],
    // RFC 9113, 8.3.1.
    'another Host beside the authority': () => good([['host', `${OTHER_ENDPOINT}.${DOMAIN}`]]),
    // RFC 9110, 7.4.
    'the authority of another microVM': () => [...pseudo({ authority: `${OTHER_ENDPOINT}.${DOMAIN}` }), ['x-aws-proxy-auth', auth]],
  };
  for (const [name, fields] of Object.entries(REFUSED)) {
    test(`${name}: refused, and nothing of it reaches the application`, async () => {
      const before = asked.length + bed.destinations.connects.length;
      const client = await open();
      client.write(wire.headers(1, fields()));
      const end = await client.find(isEnd);
      const head = client.frames.find(({ type, stream }) => type === wire.HEADERS && stream === 1);
      assert.ok(end !== undefined || client.frames.some(({ type }) => type === wire.GOAWAY));
      // 200 is the eighth entry of the static table (RFC 7541, appendix A).
      assert.notEqual(head?.payload[0], 0x88);
      assert.equal(asked.length + bed.destinations.connects.length, before);
      client.destroy();
    });
  }

  for (const [name, field] of Object.entries({
    // RFC 9113, 8.2.1.
    'CRLF in a value': ['x', 'a\r\nInjected: b'],
    // RFC 9113, 8.2.1.
    'NUL in a value': ['x', 'a\0b'],
    // RFC 9113, 8.2.1.
    'a space in a name': ['x y', 'a'],
  } as const)) {
    // RFC 9113, 8.2.1, would have the request refused: Node's HTTP/2 leaves the field out before anybody sees it.
    test(`${name}: the field does not reach the application`, async () => {
      const client = await open();
      client.write(wire.headers(1, good([field])));
      await client.find(isEnd);
      assert.deepEqual(fieldNames.toSorted(), ['connection', 'host', 'x-amzn-requestid']);
      client.destroy();
    });
  }

  const times = (count: number, make: (at: number) => Buffer) => Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
  const FLOODS: Record<string, () => Buffer> = {
    // RFC 9113, 10.5; CVE-2023-44487.
    'streams that are reset at once': () => times(20_000, (at) => Buffer.concat([wire.headers(2 * at + 1, good()), wire.frame(wire.RST_STREAM, { stream: 2 * at + 1, payload: wire.uint32(8) })])),
    // RFC 9113, 5.4.2 and 10.5; CVE-2025-8671: the other end is made to reset them.
    'streams that have to be reset': () => times(20_000, (at) => Buffer.concat([wire.headers(2 * at + 1, good(), wire.END_HEADERS), wire.frame(wire.WINDOW_UPDATE, { stream: 2 * at + 1, payload: wire.uint32(0) })])),
    // RFC 9113, 6.7 and 10.5; CVE-2019-9512.
    'PINGs': () => times(200_000, () => wire.frame(wire.PING, { payload: Buffer.alloc(8) })),
    // RFC 9113, 6.5 and 10.5; CVE-2019-9515.
    'SETTINGS': () => times(200_000, () => wire.frame(wire.SETTINGS)),
    // RFC 9113, 6.5 and 10.5; CVE-2020-11080.
    'SETTINGS of many values': () => times(100, () => wire.frame(wire.SETTINGS, { payload: wire.settings(Array.from({ length: 2000 }, () => [0x99, 1] as const)) })),
    // RFC 9113, 6.10 and 10.5.1; CVE-2024-28182.
    'CONTINUATIONs': () => Buffer.concat([wire.headers(1, good(), 0), times(50_000, () => wire.frame(wire.CONTINUATION, { stream: 1, payload: wire.literals([['x', 'y']]) }))]),
    // RFC 9113, 6.10 and 10.5; CVE-2019-9518.
    'empty CONTINUATIONs': () => Buffer.concat([wire.headers(1, good(), 0), times(50_000, () => wire.frame(wire.CONTINUATION, { stream: 1 }))]),
    // RFC 9113, 6.1 and 10.5; CVE-2019-9518.
    'empty DATA': () => Buffer.concat([wire.headers(1, good(), wire.END_HEADERS), times(100_000, () => wire.frame(wire.DATA, { stream: 1 }))]),
    // RFC 9113, 6.9.1.
    'window beyond its size': () => wire.frame(wire.WINDOW_UPDATE, { payload: wire.uint32(0x7fffffff) }),
    // RFC 9113, 4.2.
    'a frame beyond the size agreed on': () => wire.frame(wire.DATA, { stream: 1, payload: Buffer.alloc(20_000) }),
    // RFC 9113, 3.4.
    'requests of HTTP/1.1': () => Buffer.from(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`),
    // RFC 9113, 8.4.
    'a pushed request': () => wire.frame(wire.PUSH_PROMISE, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.concat([wire.uint32(2), wire.literals(good())]) }),
    // RFC 9113, 4.3.
    'headers that are not HPACK': () => wire.frame(wire.HEADERS, { flags: wire.END_HEADERS, stream: 1, payload: Buffer.alloc(100, 0xff) }),
    // RFC 9113, 6.1.
    'padding longer than the frame': () => wire.frame(wire.HEADERS, { flags: wire.END_HEADERS | wire.PADDED, stream: 1, payload: Buffer.from([255, 0]) }),
  };
  for (const [name, bytes] of Object.entries(FLOODS)) {
    test(`${name}: hung up on, and others are answered meanwhile`, async () => {
      const client = await open();
      const flooded = client.writeAll(bytes());
      assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
      await client.closed;
      await flooded;
      client.destroy();
    });
  }

  test('floods that are only work: others are answered meanwhile', async () => {
    for (const make of [
      // RFC 9113, 6.9.
      () => wire.frame(wire.WINDOW_UPDATE, { payload: wire.uint32(1) }),
      // RFC 9113, 5.3.2.
      () => wire.frame(wire.PRIORITY, { stream: 1, payload: Buffer.from([0, 0, 0, 3, 1]) }),
      // RFC 9113, 5.5.
      () => wire.frame(0xaa),
    ]) {
      const client = await open();
      const flooded = client.writeAll(times(100_000, make));
      assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
      client.destroy();
      await flooded;
    }
  });

  test('a header that says a large one again and again: the stream ends, the table stays small', async () => {
    const client = await open();
    const bomb = Buffer.concat([wire.literals(good()), wire.indexed('x-bomb', 'x'.repeat(3000)), ...Array.from({ length: 10_000 }, () => wire.NEWEST_ENTRY)]);
    client.write(wire.frame(wire.HEADERS, { flags: wire.END_HEADERS | wire.END_STREAM, stream: 1, payload: bomb }));
    const end = await client.find((candidate) => isEnd(candidate) || candidate.type === wire.GOAWAY);
    assert.notEqual(end?.type, wire.DATA);
    client.destroy();
  });

  for (const [name, bytes] of Object.entries({
    // RFC 9113, 9.1.
    'says nothing': () => Buffer.alloc(0),
    // RFC 9113, 6.10.
    'never ends its header': () => wire.headers(1, good(), wire.END_STREAM),
  })) {
    test(`a client that ${name}: hung up on`, async () => {
      const client = await open();
      client.write(bytes());
      await client.closed;
      client.destroy();
    });
  }

  test('PINGs do not keep a connection that asks nothing', async () => {
    const client = await open();
    const pings = setInterval(() => client.write(wire.frame(wire.PING, { payload: Buffer.alloc(8) })), 100);
    await client.closed;
    clearInterval(pings);
    client.destroy();
  });

  test('a refusal that no window lets out is reset after its time', async () => {
    // Initial window: 0 (RFC 9113, 6.5.2).
    const client = await open([[4, 0]]);
    client.write(wire.headers(1, pseudo()));
    const end = await client.find(({ type }) => type === wire.RST_STREAM);
    // CANCEL (RFC 9113, 7).
    assert.equal(end?.payload.readUInt32BE(), 8);
    client.destroy();
  });

  test('all of this, and serves the next request', async () => {
    assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
  });
});
