/** WebSockets, with headers or by the three subprotocols (section 5.3), with `ws` and with the browsers' API. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { WebSocket as Ws, WebSocketServer } from 'ws';
import { drained } from '../../fakes/flow.ts';
import { HOST, OTHER_MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';

suite('a WebSocket', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let token = '';
  let selected: (offered: Set<string>) => string | false = () => false;
  let asked: IncomingMessage | undefined;
  before(async () => {
    bed = await ProxyBed.start();
    token = await bed.token();
    for (const port of [8080, 9001]) {
      const server = await bed.app((_request, response) => response.writeHead(404).end(), port);
      const sockets = new WebSocketServer({ server, handleProtocols: (offered) => selected(offered) });
      sockets.on('connection', (socket, request) => {
        asked = request;
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
        socket.send(`port ${port}`);
      });
    }
  });
  after(() => bed[Symbol.asyncDispose]());

  const open = (protocols: string[], headers: Record<string, string> = {}) =>
    new Ws(`wss://${HOST}:${bed.port}/ws?x`, protocols, { ca: bed.ca, headers, lookup: (_host, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]) });

  /** The status with which the handshake failed. */
  async function refusal(protocols: string[], headers: Record<string, string> = {}): Promise<number> {
    const socket = open(protocols, headers);
    socket.on('error', () => undefined);
    const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    socket.terminate();
    return answer.statusCode!;
  }

  const first = async (socket: Ws) => ((await once(socket, 'message')) as [Buffer])[0].toString();
  const auth = () => `lambda-microvms.authentication.${token}`;

  test('by headers: text, binary, a megabyte, ping and close codes pass', async () => {
    const socket = open([], { 'X-aws-proxy-auth': token, 'X-aws-proxy-port': '9001' });
    assert.equal(await first(socket), 'port 9001');
    for (const message of ['text', Buffer.alloc(1024 * 1024, 7)]) {
      socket.send(message);
      const [data, isBinary] = (await once(socket, 'message')) as [Buffer, boolean];
      assert.equal(isBinary, typeof message !== 'string');
      assert.deepEqual(data, Buffer.from(message));
    }
    socket.ping('x');
    await once(socket, 'pong');
    assert.equal(socket.protocol, '');
    assert.equal(asked?.headers['sec-websocket-protocol'], undefined);
    socket.close(4001, 'done');
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    assert.deepEqual([code, reason.toString()], [4001, 'done']);
  });

  test('by subprotocols: ours are stripped, and the marker comes back where the application selects none', async () => {
    const socket = open(['lambda-microvms', auth(), 'lambda-microvms.port.9001']);
    assert.equal(await first(socket), 'port 9001');
    assert.equal(socket.protocol, 'lambda-microvms');
    assert.equal(asked?.headers['sec-websocket-protocol'], undefined);
    socket.close();
    await once(socket, 'close');
  });

  test('further subprotocols reach the application, which may select one', async () => {
    selected = (offered) => [...offered].at(-1) ?? false;
    const socket = open(['graphql-ws', 'lambda-microvms', auth(), 'chat']);
    assert.equal(await first(socket), 'port 8080');
    assert.equal(asked?.headers['sec-websocket-protocol']?.replaceAll(' ', ''), 'graphql-ws,chat');
    assert.equal(socket.protocol, 'chat');
    socket.close();
    await once(socket, 'close');
    selected = () => false;
  });

  test('a port in a header goes before that of a subprotocol', async () => {
    const socket = open(['lambda-microvms', auth(), 'lambda-microvms.port.9001'], { 'X-aws-proxy-port': '8080' });
    assert.equal(await first(socket), 'port 8080');
    socket.close();
    await once(socket, 'close');
  });

  test('is refused with the status of any request: no token 403, bad or doubled port 400, not covered 403, nobody listens 502', async () => {
    assert.equal(await refusal(['lambda-microvms']), 403);
    assert.equal(await refusal(['lambda-microvms', 'lambda-microvms.authentication.x']), 403);
    assert.equal(await refusal([auth()]), 400);
    assert.equal(await refusal(['lambda-microvms.port.9001'], { 'X-aws-proxy-auth': token }), 400);
    assert.equal(await refusal(['lambda-microvms', auth(), 'lambda-microvms.port.0']), 400);
    assert.equal(await refusal(['lambda-microvms', auth(), 'lambda-microvms.port.1', 'lambda-microvms.port.2']), 400);
    const narrow = await bed.token({ ports: [{ from: 9001, to: 9001 }] });
    assert.equal(await refusal(['lambda-microvms', `lambda-microvms.authentication.${narrow}`]), 403);
    const others = await bed.token({ microvmId: OTHER_MICROVM });
    assert.equal(await refusal(['lambda-microvms', `lambda-microvms.authentication.${others}`]), 403);
    assert.equal(await refusal(['lambda-microvms', auth(), 'lambda-microvms.port.7001']), 502);
  });

  test('a plain request cannot authenticate by subprotocol, and the application does not see the token', async () => {
    const protocols = `lambda-microvms, ${auth()}, chat`;
    assert.equal((await bed.fetch({ headers: { 'X-aws-proxy-auth': '', 'Sec-WebSocket-Protocol': protocols } })).status, 403);
    await bed.app((request, response) => response.end(request.headers['sec-websocket-protocol']), 9002);
    assert.equal((await bed.fetch({ headers: { 'X-aws-proxy-port': '9002', 'Sec-WebSocket-Protocol': protocols } })).body, 'chat');
  });

  test('of the browsers’ API opens by subprotocols, and fails with 1006 without', async () => {
    setDefaultCACertificates([bed.ca.toString()]);
    const url = `wss://${HOST}:${bed.port}/`;
    const socket = new WebSocket(url, ['lambda-microvms', auth(), 'lambda-microvms.port.9001']);
    const [message] = (await once(socket, 'message')) as [MessageEvent];
    assert.equal(message.data, 'port 9001');
    assert.equal(socket.protocol, 'lambda-microvms');
    socket.close();
    await once(socket, 'close');
    const [closed] = (await once(new WebSocket(url, ['lambda-microvms']), 'close')) as [CloseEvent];
    assert.equal(closed.code, 1006);
  });

  test('ends with its other side, whichever that is', async () => {
    const socket = open(['lambda-microvms', auth()]);
    await first(socket);
    const gone = once(asked!.socket, 'close');
    socket.terminate();
    await gone;
    const another = open(['lambda-microvms', auth()]);
    await first(another);
    asked!.socket.destroy();
    const [code] = (await once(another, 'close')) as [number];
    assert.equal(code, 1006);
  });
});

test('an upgraded connection whose microVM has gone is not kept for a client that does not read', { timeout: 30_000 }, async () => {
  await using bed = await ProxyBed.start({ farewellMs: 50 });
  const app = await bed.app(() => undefined);
  const streams: Duplex[] = [];
  const connect = bed.destinations.connect.bind(bed.destinations);
  bed.destinations.connect = async (...given) => {
    streams.push(await connect(...given));
    return streams.at(-1)!;
  };
  const flood = Promise.withResolvers<Duplex>();
  app.on('upgrade', (_request, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: flood\r\n\r\n');
    flood.resolve(socket);
  });
  const request = httpsRequest(await bed.options({ headers: { Connection: 'Upgrade', Upgrade: 'flood' } }));
  request.end();
  const [, client] = (await once(request, 'upgrade')) as [unknown, Duplex];
  client.pause();
  const application = await flood.promise;
  const block = Buffer.alloc(64 * 1024);
  // Until every buffer on the way is full.
  while (application.write(block) || (await drained(application)));
  streams[0]!.destroy();
  assert.equal((await bed.line())['status'], 101);
  client.destroy();
});
