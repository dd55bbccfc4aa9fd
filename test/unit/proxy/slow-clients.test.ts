/** Clients that send slowly, or take nothing: limits end them, and others are answered meanwhile. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as tcpConnect, createServer, type AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { until } from '../../fakes/dripping.ts';
import * as wire from '../../fakes/http2-frames.ts';
import { HOST, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';

suite('a client that is slow', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let auth = '';
  before(async () => {
    bed = await ProxyBed.start({ headersMs: 300, keepAliveMs: 300, unwantedMs: 300, silenceMs: 1000 });
    await bed.app((request, response) => request.resume().once('end', () => response.end('served')));
    auth = await bed.token();
  });
  after(() => bed[Symbol.asyncDispose]());

  const good = (): string => `Host: ${HOST}\r\nX-aws-proxy-auth: ${auth}\r\n`;
  const letter = (text: string, at: number): string => (at < text.length ? text[at]! : 'x');

  for (const [name, text] of Object.entries({
    // RFC 9112, 3 and 5; RFC 9110, 15.5.9.
    'its request line': () => 'GET /',
    'its headers': () => `GET / HTTP/1.1\r\n${good()}X-Slow: `,
    'empty lines before its request': () => '\r\n'.repeat(10_000),
  } satisfies Record<string, () => string>)) {
    test(`and drips ${name}: 408, however long it goes on`, async () => {
      const socket = await bed.raw();
      const bytes = text();
      const answer = readAll(socket);
      const sent = until(answer, (at) => void (socket.writable && socket.write(at === 0 ? bytes.slice(0, 200) : letter(bytes, 200 + at))));
      assert.equal((await bed.fetch()).body, 'served');
      assert.match(await answer, /^HTTP\/1\.1 408 Request Timeout\r\n/);
      assert.ok((await sent) > 2);
    });
  }

  test('and drips the headers of its next request: 408 behind the first answer', async () => {
    const socket = await bed.raw();
    const answer = readAll(socket);
    socket.write(`GET / HTTP/1.1\r\n${good()}\r\n`);
    await once(socket, 'readable');
    await until(answer, (at) => void (socket.writable && socket.write(letter(`GET /next HTTP/1.1\r\n${good()}`, at))));
    assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n[^]*servedHTTP\/1\.1 408 Request Timeout\r\n/);
  });

  test('and drips the bytes of a header, or frames of one, over HTTP/2: hung up on', async () => {
    const fields = wire.literals([[':method', 'GET'], [':scheme', 'https'], [':path', '/'], [':authority', HOST], ['x-aws-proxy-auth', auth]]);
    const whole = wire.frame(wire.HEADERS, { flags: wire.END_HEADERS | wire.END_STREAM, stream: 1, payload: fields });
    const begun = wire.frame(wire.HEADERS, { flags: wire.END_STREAM, stream: 1, payload: fields });
    const more = wire.frame(wire.CONTINUATION, { stream: 1, payload: wire.literals([['x', 'y']]) });
    for (const drip of [
      // RFC 9113, 3.4: the preface.
      (at: number) => wire.PREFACE.subarray(at % 20, (at % 20) + 1),
      // RFC 9113, 6.2 and 6.10.
      (at: number) => (at === 0 ? Buffer.concat([wire.PREFACE, wire.frame(wire.SETTINGS)]) : whole.subarray((at - 1) % 100, at % 100)),
      (at: number) => (at === 0 ? Buffer.concat([wire.PREFACE, wire.frame(wire.SETTINGS), begun]) : more),
    ]) {
      const client = new wire.FrameWire(await bed.raw({ ALPNProtocols: ['h2'] }));
      await until(client.closed, (at) => client.write(drip(at)));
      client.destroy();
      assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
    }
  });

  /** A way to the proxy on which nothing comes back any more once it is stopped. */
  async function stoppable(): Promise<{ readonly port: number; readonly stop: () => void } & Disposable> {
    const far = tcpConnect({ host: '127.0.0.1', port: bed.port }).on('error', () => undefined);
    const server = createServer((near) => {
      near.on('error', () => undefined).pipe(far);
      far.on('data', (bytes: Buffer) => void near.write(bytes));
      far.once('close', () => near.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      stop: () => void far.pause(),
      [Symbol.dispose]: () => {
        far.destroy();
        server.close();
      },
    };
  }

  /** Resolves once the proxy has cut off all of its clients. */
  async function deserted(): Promise<void> {
    while (bed.proxy.connections() > 0) await turn();
  }

  test('and takes none of many refusals: cut off', async () => {
    using way = await stoppable();
    const socket = await bed.raw({ port: way.port });
    way.stop();
    // A refusal keeps the connection (section 5.5); what the kernel does not take of them waits in the proxy.
    const refused = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`.repeat(100);
    const over = deserted();
    let isOver = false;
    void over.then(() => (isOver = true));
    while (!isOver) {
      const lines = bed.logged.length;
      socket.write(refused);
      // Fewer at once than may be (RFC 9112, 9.3.2).
      while (!isOver && bed.logged.length < lines + 100) await turn();
    }
    assert.equal(bed.logged.findLast(({ status }) => status !== undefined)?.['status'], 403);
    assert.equal((await bed.fetch()).body, 'served');
  });

  test('and stops reading amid an answer over HTTP/2: given up after its silence, and cut off', async () => {
    using way = await stoppable();
    await bed.app((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
      };
      response.on('drain', more);
      more();
    }, 9001);
    const client = new wire.FrameWire(await bed.raw({ port: way.port, ALPNProtocols: ['h2'] }));
    // RFC 9113, 6.5.2 and 6.9: windows of all sizes, so that what fills up is the connection below.
    client.write(wire.PREFACE, wire.frame(wire.SETTINGS, { payload: wire.settings([[4, 0x7fffffff]]) }), wire.frame(wire.WINDOW_UPDATE, { payload: wire.uint32(0x7fff0000) }));
    client.write(wire.headers(1, [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], [':authority', HOST], ['x-aws-proxy-auth', auth], ['x-aws-proxy-port', '9001']]));
    await client.find(({ type }) => type === wire.DATA);
    way.stop();
    const line = await bed.line(({ port }) => port === 9001);
    assert.equal(line['status'], 200);
    await deserted();
    client.destroy();
  });
});
