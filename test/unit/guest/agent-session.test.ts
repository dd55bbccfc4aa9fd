import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { PassThrough, type Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { HOST_PREAMBLE, jsonFrame } from '../../../src/guest/frame.ts';
import { GuestError } from '../../../src/guest/guest-error.ts';
import type { AgentEvent } from '../../../src/guest/messages.ts';
import type { OfferedServices } from '../../../src/guest/service-streams.ts';
import { buildLoopback, Loopback, serve } from './loopback.ts';

const skip = buildLoopback() ?? false;
const MIB = 1024 * 1024;

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof GuestError && error.code === code && error.kind === 'internal';
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes of the buffers that this process still holds on to. */
function bufferBytes(): number {
  collectGarbage();
  // The first collection may free buffers in the background; the next begins by waiting for that.
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

/** Waits for something that has no event; the test's own limit ends it. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await delay(5);
}

test('hello, status, and the end of a session', { skip }, async () => {
  await using agent = await Loopback.start();
  const session = await agent.session();
  assert.equal(session.welcome.bootId, 'loopback');
  assert.deepEqual(session.welcome.application, { state: 'none', pid: null, exitCode: null, signal: null });
  assert.equal((await session.call('status', {})).memTotalKib, 2);
  await session.close();
  assert.deepEqual(await session.closed, { reason: 'closed', error: undefined });
  await assert.rejects(session.call('status', {}), codeIs('closed'));
});

test('a secret is asked for once it was given', { skip }, async () => {
  await using agent = await Loopback.start();
  const secret = 'ab'.repeat(32);
  await (await agent.session({ nextSecret: secret })).close();
  await assert.rejects(agent.session(), codeIs('secret'));
  await assert.rejects(agent.session({ secret: 'cd'.repeat(32) }), codeIs('secret'));
  await (await agent.session({ secret })).close();
});

test('a clock that is off is set, once', { skip }, async () => {
  await using agent = await Loopback.start();
  const aheadMs = 3_600_000;
  const clock = { nowMs: () => Date.now() + aheadMs };
  await using session = await agent.session({ clock });
  assert.ok(Number(session.welcome.realtimeNs / 1_000_000n) < Date.now() + aheadMs / 2);
  await session.close();
  await using again = await agent.session({ clock });
  assert.ok(Math.abs(Number(again.welcome.realtimeNs / 1_000_000n) - clock.nowMs()) < 100);
});

test('a restore sets the clock before the welcome, and tells what failed', { skip }, async () => {
  await using agent = await Loopback.start();
  const clock = { nowMs: () => Date.now() + 86_400_000 };
  await using session = await agent.session({ clock, restore: { resetConnections: true }, thaw: true });
  assert.ok(Math.abs(Number(session.welcome.realtimeNs / 1_000_000n) - clock.nowMs()) < 1000);
  assert.deepEqual(session.welcome.warnings, ['connections: left alone']);
});

test('the application: output, freeze, exit, and only one', { skip }, async () => {
  await using agent = await Loopback.start();
  const output: Record<string, string> = { stdout: '', stderr: '' };
  const exit = Promise.withResolvers<AgentEvent>();
  await using session = await agent.session({
    onOutput: (name, bytes) => void (output[name] += bytes.toString()),
    onEvent: exit.resolve,
  });
  await assert.rejects(session.call('start', { argv: ['/nowhere/at/all'] }), codeIs('ENOENT'));
  await session.call('start', { argv: ['sh', '-c', 'echo out; echo err >&2; read x < /dev/null; kill -STOP $$; exit 7'], env: { A: 'b' } });
  await assert.rejects(session.call('start', { argv: ['true'] }), codeIs('started'));
  await session.call('freeze', {});
  assert.equal((await session.call('status', {})).application.state, 'frozen');
  assert.deepEqual(await session.call('quiesce', {}), { trimmedBytes: 0 });
  const thawing = setInterval(() => void session.call('freeze', {}).then(() => session.call('thaw', {})).catch(() => undefined), 20);
  assert.deepEqual(await exit.promise, { event: 'exit', exitCode: 7, signal: null });
  clearInterval(thawing);
  assert.deepEqual(output, { stdout: 'out\n', stderr: 'err\n' });
  assert.equal((await session.call('status', {})).application.exitCode, 7);
});

test('a consumer of output that takes its time holds the application back', { skip }, async () => {
  await using agent = await Loopback.start();
  let heldBytes = 0;
  const gate = Promise.withResolvers<void>();
  const first = Promise.withResolvers<void>();
  const exit = Promise.withResolvers<AgentEvent>();
  await using session = await agent.session({
    onOutput: async (_name, bytes) => {
      first.resolve();
      await gate.promise;
      heldBytes += bytes.length;
    },
    onEvent: exit.resolve,
  });
  await session.call('start', { argv: ['head', '-c', String(8 * MIB), '/dev/zero'] });
  await first.promise;
  assert.equal((await session.call('status', {})).application.state, 'running', 'it cannot have written everything');
  gate.resolve();
  await exit.promise;
  while (heldBytes < 8 * MIB) await session.call('status', {});
  assert.equal(heldBytes, 8 * MIB);
});

test('output of a time without a host: the newest is kept and the loss told', { skip }, async () => {
  await using agent = await Loopback.start();
  const first = await agent.session();
  const { pid } = await first.call('start', { argv: ['sh', '-c', 'kill -STOP $$; head -c 1000000 /dev/zero; printf end'] });
  await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '));
  await first.close();
  process.kill(pid, 'SIGCONT');
  // Reaped by the agent once it has ended.
  await until(() => !existsSync(`/proc/${pid}`));
  let stdout = Buffer.alloc(0);
  let stderr = '';
  const whole = Promise.withResolvers<void>();
  await using session = await agent.session({
    onOutput: (name, bytes) => {
      if (name === 'stderr') stderr += bytes.toString();
      else stdout = Buffer.concat([stdout, bytes]);
      if (stdout.subarray(-3).toString() === 'end') whole.resolve();
    },
  });
  assert.equal(session.welcome.application.state, 'exited');
  await whole.promise;
  const keptBytes = 256 * 1024;
  assert.equal(stdout.length, keptBytes);
  assert.equal(stderr, `[lull: ${1_000_003 - keptBytes} bytes of output lost while the host was away]\n`);
});

test('awaitListening and openTcp', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  await using server = await serve((socket) => void socket.pipe(socket));
  assert.deepEqual(await session.call('awaitListening', { ports: [server.port], timeoutMs: 5000 }), { port: server.port });
  assert.ok((await session.call('listening', {})).ports.includes(server.port));
  const stream = await session.openTcp(server.port);
  stream.end('there and back');
  assert.equal(await text(stream), 'there and back');
  await server[Symbol.asyncDispose]();
  await assert.rejects(session.openTcp(server.port), codeIs('ECONNREFUSED'));
  assert.deepEqual(await session.call('awaitListening', { ports: [server.port], timeoutMs: 50 }), { port: null });
  await assert.rejects(session.call('awaitListening', { ports: [server.port], timeoutMs: 60_000 }, { timeoutMs: 50 }), codeIs('ETIMEDOUT'));
  await assert.rejects(session.call('status', {}, { signal: AbortSignal.abort() }), codeIs('ABORT_ERR'));
  await session.call('status', {});
});

/** A host's `metadata` that hands out the streams in order. */
function metadataService(): { services: OfferedServices; next: () => Promise<Duplex> } {
  const arrived = new PassThrough({ objectMode: true });
  const streams = arrived[Symbol.asyncIterator]() as AsyncIterator<Duplex, undefined>;
  return { services: new Map([['metadata', (stream) => void arrived.write(stream)]]), next: async () => (await streams.next()).value! };
}

test('a connection to a service of the host is a stream to it, in order and whole, both ways', { skip }, async () => {
  await using agent = await Loopback.start();
  const { services, next } = metadataService();
  await using session = await agent.session({ services });
  const bytes = randomBytes(4 * MIB);
  for (let round = 0; round < 3; round += 1) {
    const application = agent.connectService();
    application.end(bytes);
    const stream = await next();
    void stream.pipe(stream);
    assert.deepEqual(await buffer(application), bytes);
  }
  const application = agent.connectService();
  const stream = await next();
  const reset = once(stream, 'error');
  application.resetAndDestroy();
  const [error] = (await reset) as [GuestError];
  assert.equal(error.code, 'ECONNRESET');
  const other = agent.connectService();
  const broken = once(other, 'error');
  (await next()).destroy();
  await broken;
  await session.call('status', {});
});

test('connections to a service wait for a host, end with its session, and are reset where it has no such service', { skip }, async () => {
  await using agent = await Loopback.start();
  const early = agent.connectService();
  early.write('early');
  const { services, next } = metadataService();
  const session = await agent.session({ services });
  const stream = await next();
  const [bytes] = (await once(stream, 'data')) as [Buffer];
  assert.equal(bytes.toString(), 'early');
  const ended = once(early, 'error');
  const broken = assert.rejects(once(stream, 'end'), codeIs('closed'));
  await session.close();
  await Promise.all([ended, broken]);
  await using without = await agent.session();
  const refused = agent.connectService();
  await once(refused, 'error');
  await without.call('status', {});
});

test('half-closed ends stay open, both ways', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  await using server = await serve((socket) => {
    socket.end('greeting');
    let seen = '';
    socket.on('data', (chunk) => (seen += chunk.toString()));
    socket.on('end', () => farewell.resolve(seen));
  });
  const farewell = Promise.withResolvers<string>();
  const stream = await session.openTcp(server.port);
  assert.equal(await text(stream), 'greeting');
  stream.write('still ');
  stream.end('here');
  assert.equal(await farewell.promise, 'still here');
});

test('destroying a stream resets the connection, and a reset destroys the stream', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const reset = Promise.withResolvers<string>();
  let isFirst = true;
  await using server = await serve((socket) => {
    if (!isFirst) return void socket.once('data', () => socket.resetAndDestroy());
    isFirst = false;
    socket.on('error', (error: NodeJS.ErrnoException) => reset.resolve(error.code ?? ''));
    socket.write('x');
  });
  const first = await session.openTcp(server.port);
  await once(first, 'readable');
  first.destroy();
  assert.equal(await reset.promise, 'ECONNRESET');
  const second = await session.openTcp(server.port);
  second.write('y');
  await assert.rejects(text(second), codeIs('ECONNRESET'));
  await session.call('status', {});
});

test('what the application wrote before it hung up on an upload is read, then its end, then the reset', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const answer = randomBytes(200_000);
  for (const hangUp of ['end', 'reset'] as const) {
    await using server = await serve((socket) => {
      socket.pause();
      // What is unread then makes the close a reset.
      socket.write(answer, () => (hangUp === 'end' ? socket.end(() => socket.destroy()) : socket.resetAndDestroy()));
    });
    const stream = await session.openTcp(server.port);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.on('error', () => undefined);
    const upload = Buffer.alloc(64 * 1024);
    const more = (): void => void (stream.writable && stream.write(upload, () => setImmediate(more)));
    more();
    // Nobody reads while the reset arrives.
    for (let at = 0; at < 200; at += 1) await session.call('status', {});
    const pieces: Buffer[] = [];
    let hasEnded = false;
    stream.on('data', (piece: Buffer) => pieces.push(piece)).once('end', () => (hasEnded = true));
    await closed;
    assert.deepEqual(Buffer.concat(pieces), answer);
    assert.equal(hasEnded, hangUp === 'end');
    assert.ok(codeIs('ECONNRESET')(stream.errored));
  }
});

test('64 MiB to a reader that is slow keep memory bounded', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const size = 64 * MIB;
  await using server = await serve((socket) => {
    const block = Buffer.alloc(MIB, 'abcdefgh');
    const write = (left: number): void => void (left === 0 ? socket.end() : socket.write(block, () => write(left - 1)));
    write(64);
  });
  const stream = await session.openTcp(server.port);
  stream.end();
  const agentKib = (): number => Number(/VmRSS:\s+(\d+)/u.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]);
  const startKib = agentKib();
  const startBytes = bufferBytes();
  let received = 0;
  let measuredAt = 0;
  let worstBytes = 0;
  const hash = createHash('sha256');
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    received += chunk.length;
    hash.update(chunk);
    if (received % 32 === 0) await session.call('status', {});
    if (received >= measuredAt + MIB) {
      measuredAt = received;
      worstBytes = Math.max(worstBytes, bufferBytes() - startBytes);
    }
    if (received > size / 2 && received < size / 2 + 65_536) assert.ok(stream.readableLength < 512 * 1024);
  }
  assert.equal(received, size);
  const expected = createHash('sha256');
  for (let i = 0; i < 64; i += 1) expected.update(Buffer.alloc(MIB, 'abcdefgh'));
  assert.equal(hash.digest('hex'), expected.digest('hex'));
  assert.ok(worstBytes < 32 * MIB, `${worstBytes} bytes of buffers here`);
  assert.ok(agentKib() - startKib < 8 * 1024, `${agentKib() - startKib} KiB more in the agent`);
});

test('a reader in the guest that does not read holds the writer, and the rest goes on', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const go = Promise.withResolvers<void>();
  await using server = await serve((socket) => {
    socket.pause();
    let count = 0;
    socket.on('data', (chunk) => (count += chunk.length));
    socket.on('end', () => socket.end(String(count)));
    socket.pause();
    void go.promise.then(() => socket.resume());
  });
  const stuck = await session.openTcp(server.port);
  const block = Buffer.alloc(MIB);
  let accepted = 0;
  const writing = (async () => {
    for (let i = 0; i < 64; i += 1) {
      if (!stuck.write(block)) await once(stuck, 'drain');
      accepted += 1;
    }
    stuck.end();
  })();
  for (let i = 0; i < 200; i += 1) await session.call('status', {});
  const before = accepted;
  for (let i = 0; i < 200; i += 1) await session.call('status', {});
  assert.equal(accepted, before, 'it should stand still');
  assert.ok(accepted < 32);
  go.resolve();
  await writing;
  assert.equal(await text(stuck), String(64 * MIB));
});

test('one stream too many is refused as such: later there may be a place', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  await using server = await serve(() => undefined);
  const opened = Array.from({ length: 1024 }, () => session.openTcp(server.port).catch(() => undefined));
  await assert.rejects(session.openTcp(server.port), { code: 'EMFILE', kind: 'throttled' });
  for (const stream of await Promise.all(opened)) stream?.destroy();
  (await session.openTcp(server.port)).destroy();
});

test('200 streams at once', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  await using server = await serve((socket) => void socket.pipe(socket));
  const size = 300_000;
  const run = async (index: number): Promise<void> => {
    const stream = await session.openTcp(server.port);
    const sent = Buffer.alloc(size, `stream ${index} `);
    const hash = createHash('sha1');
    await Promise.all([
      pipeline([sent.subarray(0, 1), sent.subarray(1, 100_000), sent.subarray(100_000)], stream as NodeJS.WritableStream, { end: true }).catch(() => undefined),
      (async () => {
        for await (const chunk of stream as AsyncIterable<Buffer>) hash.update(chunk);
      })(),
    ]);
    assert.equal(hash.digest('hex'), createHash('sha1').update(sent).digest('hex'));
  };
  await Promise.all(Array.from({ length: 200 }, (_, index) => run(index)));
});

test('the host hangs up in the middle of a frame and comes back', { skip }, async () => {
  await using agent = await Loopback.start();
  await using server = await serve((socket) => socket.on('close', () => closed.resolve()));
  let closed = Promise.withResolvers<void>();
  for (let round = 0; round < 20; round += 1) {
    const socket = await agent.dial();
    const hello = Buffer.concat([HOST_PREAMBLE, jsonFrame('hello', 0, { protocol: { min: 1, max: 1 }, nonce: '0'.repeat(32), secret: '', outputCredit: 0 })]);
    socket.write(hello);
    await once(socket, 'data');
    socket.write(Buffer.concat([jsonFrame('open', 1, { to: 'tcp', port: server.port }), jsonFrame('call', 2, { op: 'status' }).subarray(0, round)]));
    await once(socket, 'data');
    socket.destroy();
    await closed.promise;
    closed = Promise.withResolvers<void>();
    await using session = await agent.session();
    await session.call('status', {});
  }
});

test('streams and calls end with the session', { skip }, async () => {
  await using agent = await Loopback.start();
  const session = await agent.session();
  await using server = await serve(() => undefined);
  const stream = await session.openTcp(server.port);
  const waiting = assert.rejects(session.call('awaitListening', { ports: [1], timeoutMs: 60_000 }), codeIs('closed'));
  const broken = assert.rejects(once(stream, 'end'), codeIs('closed'));
  await session.close();
  await Promise.all([waiting, broken]);
  assert.ok(stream.destroyed);
});

test('the newest version that both ends speak is spoken; without one the host names the mend', { skip }, async () => {
  await using agent = await Loopback.start();
  {
    // A host from a later time, and the agent of an image that was made today.
    await using session = await agent.session({ protocols: { min: 1, max: 7 } });
    assert.deepEqual([session.welcome.protocol, session.welcome.protocols], [1, { min: 1, max: 1 }]);
    await session.call('status', {});
  }
  await assert.rejects(agent.session({ protocols: { min: 2, max: 7 } }), {
    code: 'protocol',
    message: "the guest's agent refused the session: no common version of the protocol; an image from another time is mended by `lull images rebuild`",
  });
});
