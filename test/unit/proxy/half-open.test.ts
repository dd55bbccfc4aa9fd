/** Connections of which one direction, or both, end before their time (RFC 9112, 9.5 and 9.6; RFC 9293, 3.6). */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { HOST, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

/** An application's side of one connection, and what it heard there. */
interface Heard {
  readonly socket: Socket;
  /** Resolves once the proxy has ended or reset the connection. */
  readonly over: Promise<unknown>;
  text: string;
}

suite('a connection that ends half', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  beforeEach(async () => {
    bed = await ProxyBed.start();
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** An application that does `act` at the first bytes of each connection; `reached` is the first one. */
  async function application(act: (socket: Socket) => void): Promise<{ readonly reached: Promise<Heard> }> {
    const { promise, resolve } = Promise.withResolvers<Heard>();
    await bed.rawApp((socket) => {
      const over = new Promise((ended) => socket.once('end', ended).once('close', ended));
      const heard: Heard = { socket, over, text: '' };
      socket.on('data', (bytes: Buffer) => {
        heard.text += bytes.toString('latin1');
        if (heard.text.includes('\r\n\r\n')) resolve(heard);
      });
      socket.once('data', () => act(socket));
    });
    return { reached: promise };
  }

  /** A client's TLS, and the TCP connection below. */
  async function send(text: string): Promise<{ readonly client: TLSSocket; readonly below: Socket }> {
    const below = connect({ host: '127.0.0.1', port: bed.port });
    const client = await bed.raw({ socket: below });
    client.write(text.replace('\r\n', `\r\nHost: ${HOST}\r\nX-aws-proxy-auth: ${await bed.token()}\r\n`));
    return { client, below };
  }

  const LEAVE: Record<string, (from: { readonly client: TLSSocket; readonly below: Socket }) => void> = {
    'ends its direction': ({ client }) => void client.end(),
    'ends its direction without a word of TLS': ({ below }) => void below.end(),
    'resets': ({ below }) => void below.resetAndDestroy(),
  };

  for (const [name, { text, act }] of Object.entries({
    'before the answer': { text: 'GET / HTTP/1.1\r\n\r\n', act: () => undefined },
    'amid the answer': { text: 'GET / HTTP/1.1\r\n\r\n', act: (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf') },
    'amid its own body': { text: 'POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf', act: () => undefined },
    'amid a chunk of its body': { text: 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf', act: () => undefined },
  })) {
    for (const [way, leave] of Object.entries(LEAVE)) {
      test(`a client ${way} ${name}: the application is told, and has no complete request`, async () => {
        const { reached } = await application(act);
        const from = await send(text);
        const { socket, over } = await reached;
        leave(from);
        await over;
        socket.destroy();
        const line = await bed.line();
        assert.equal(line['status'], name === 'amid the answer' ? 200 : undefined);
        from.client.destroy();
      });
    }
  }

  for (const version of VERSIONS) {
    for (const [name, { act, status }] of Object.entries({
      'ends its direction without an answer': { act: (socket: Socket) => void socket.end(), status: 502 },
      'ends it amid the head of its answer': { act: (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-'), status: 502 },
      'resets': { act: (socket: Socket) => void socket.resetAndDestroy(), status: 502 },
      'resets amid the head of its answer': { act: (socket: Socket) => void socket.write('HTTP/1.1 200', () => socket.resetAndDestroy()), status: 502 },
    })) {
      test(`an application ${name}, over ${version}: ${status}`, async () => {
        await application(act);
        const { status: got, body } = await bed.ask({ version });
        assert.deepEqual([got, body], [status, '']);
      });
    }

    for (const [name, { head, end }] of Object.entries({
      // RFC 9112, 8: an answer that does not reach its length, or its last chunk, is incomplete.
      'ends its direction short of its length': { head: 'Content-Length: 10\r\n\r\nhalf', end: (socket: Socket) => void socket.end() },
      'ends its direction short of its last chunk': { head: 'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', end: (socket: Socket) => void socket.end() },
      'resets amid its body': { head: 'Content-Length: 10\r\n\r\nhalf', end: (socket: Socket) => void socket.resetAndDestroy() },
    })) {
      test(`an application ${name}, over ${version}: the client notices`, async () => {
        await application((socket) => void socket.write(`HTTP/1.1 200 OK\r\n${head}`));
        const asked = await bed.begin({ version });
        const answer = await asked.answer;
        for (const socket of bed.applicationSockets()) end(socket);
        await assert.rejects(readAll(answer.body));
        assert.equal((await bed.line())['reason'], 'the application broke off its answer');
      });
    }

    // RFC 9112, 6.3, rule 8.
    test(`an application that ends its direction to end its answer, over ${version}: the answer is whole, the connection is given up`, async () => {
      const { reached } = await application((socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\nwhole'));
      assert.equal((await bed.ask({ version })).body, 'whole');
      await (await reached).over;
      assert.equal((await bed.ask({ version })).body, 'whole');
      assert.equal(bed.destinations.connects.length, 2);
    });
  }

  test('an application that ends its direction after an answer, and goes on reading: the next request goes elsewhere', async () => {
    const { reached } = await application((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    assert.equal((await bed.ask()).body, 'ok');
    await (await reached).over;
    assert.equal((await bed.ask()).body, 'ok');
    assert.equal(bed.destinations.connects.length, 2);
  });

  test('a client that ends its direction together with a whole request gets no answer, and nobody waits for it', async () => {
    await application(() => undefined);
    const { client } = await send('GET / HTTP/1.1\r\n\r\n');
    client.end();
    assert.equal(await readAll(client), '');
    assert.match(String((await bed.line())['reason']), /^the client left/);
  });
});
