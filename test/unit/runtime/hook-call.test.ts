/** How a hook is called, over real sockets: contract reference, section 4. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { postHook } from '../../../src/runtime/hook-call.ts';

const PATH = '/aws/lambda-microvms/runtime/v1/run';
const HOOK = { port: 9000, path: PATH, timeoutMs: 5000 };

/** An application that does with a connection what the test says. */
async function application(serve: (socket: Socket) => void) {
  const server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dial = async (): Promise<Duplex> => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  };
  return { dial, [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))) };
}

const answering = (answer: string, heard: (request: string) => void = () => undefined) => (socket: Socket) => {
  socket.on('error', () => undefined);
  socket.once('data', (bytes) => {
    heard(bytes.toString());
    socket.end(answer);
  });
};

test('is a POST by HTTP/1.1 with what AWS sends, and nothing more', async () => {
  const heard: string[] = [];
  await using app = await application(answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', (request) => heard.push(request)));
  assert.equal(await postHook(app.dial, { ...HOOK, body: '{}' }), 200);
  assert.equal(await postHook(app.dial, HOOK), 200);
  assert.deepEqual(heard, [
    `POST ${PATH} HTTP/1.1\r\nhost: localhost:9000\r\nconnection: close\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}`,
    `POST ${PATH} HTTP/1.1\r\nhost: localhost:9000\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
  ]);
});

test('the status decides, also where the rest of the answer never ends', async () => {
  const closed = Promise.withResolvers<void>();
  await using app = await application((socket) => {
    socket.on('error', () => undefined).resume().on('close', () => closed.resolve());
    socket.write('HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
  });
  assert.equal(await postHook(app.dial, HOOK), 503);
  await closed.promise;
});

test('silence is a time-out, and the connection is closed', async () => {
  const closed = Promise.withResolvers<void>();
  await using app = await application((socket) => socket.on('error', () => undefined).resume().on('close', () => closed.resolve()));
  assert.equal(await postHook(app.dial, { ...HOOK, timeoutMs: 50 }), 'timeout');
  await closed.promise;
});

test('one that is given up is refused at once, and the connection is closed', async () => {
  const closed = Promise.withResolvers<void>();
  const heard = Promise.withResolvers<void>();
  await using app = await application((socket) => {
    socket.on('error', () => undefined).on('close', () => closed.resolve());
    socket.once('data', () => heard.resolve());
  });
  const end = new AbortController();
  const outcome = postHook(app.dial, { ...HOOK, signal: end.signal });
  await heard.promise;
  end.abort(new Error('the end'));
  assert.equal(await outcome, 'refused');
  await closed.promise;
  assert.equal(await postHook(() => Promise.withResolvers<Duplex>().promise, { ...HOOK, signal: end.signal }), 'refused');
});

test('a port that answers too late is let go', async () => {
  await using app = await application((socket) => socket.on('error', () => undefined).resume());
  const late = Promise.withResolvers<Duplex>();
  assert.equal(await postHook(() => late.promise, { ...HOOK, timeoutMs: 10 }), 'timeout');
  const stream = await app.dial();
  const closed = once(stream, 'close');
  late.resolve(stream);
  await closed;
});

for (const [name, dial] of [
  ['nobody listens', () => Promise.reject(new Error('refused'))],
  ['what is there hangs up', undefined],
  ['what is there speaks no HTTP', 'SSH-2.0-OpenSSH\r\n'],
] as const) {
  test(`${name}: refused`, async () => {
    await using app = await application(typeof dial === 'string' ? answering(dial) : (socket) => socket.destroy());
    assert.equal(await postHook(typeof dial === 'function' ? dial : app.dial, HOOK), 'refused');
  });
}
