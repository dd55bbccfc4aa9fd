/** Requests to a microVM that is not awake yet, and connections that are kept between requests (sections 3.3 and 3.4). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { LullError } from '../../../src/domain/errors.ts';
import { HOST, MICROVM, ProxyBed, seen } from '../../fakes/proxy-bed.ts';

suite('a request to a microVM', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let connections = 0;
  let asked = 0;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    connections = 0;
    asked = 0;
    handler = (request, response) => request.pipe(response);
    const app = await bed.app((request, response) => {
      asked++;
      handler(request, response);
    });
    app.on('connection', () => connections++);
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  test('that sleeps is held with its body unread, then passed on whole', async () => {
    const awake = Promise.withResolvers<void>();
    const connecting = Promise.withResolvers<void>();
    bed.destinations.beforeConnect = () => {
      connecting.resolve();
      return awake.promise;
    };
    const size = 32 * 1024 * 1024;
    const request = httpsRequest(await bed.options({ method: 'PUT', headers: { 'Content-Length': `${size}` } }));
    let answered = false;
    request.once('response', () => (answered = true));
    request.end(Buffer.alloc(size, 'x'));
    await connecting.promise;
    assert.equal(answered, false);
    const memory = process.memoryUsage().rss;
    assert.equal(request.writableFinished, false);
    bed.clock.aheadMs += 1500;
    awake.resolve();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    let received = 0;
    for await (const chunk of answer) received += (chunk as Buffer).length;
    assert.equal(received, size);
    assert.ok(process.memoryUsage().rss - memory < 512 * 1024 * 1024);
    const line = await bed.line();
    assert.ok((line['heldMs'] as number) >= 1500);
    assert.ok((line['msToFirstByte'] as number) >= 1500);
  });

  test('is given up when its client leaves, and the application never hears of it', async () => {
    const connecting = Promise.withResolvers<AbortSignal>();
    bed.destinations.beforeConnect = (signal) => {
      connecting.resolve(signal);
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    };
    const request = httpsRequest(await bed.options());
    request.on('error', () => undefined);
    request.end();
    const signal = await connecting.promise;
    request.destroy();
    if (!signal.aborted) await once(signal, 'abort');
    const line = await bed.line();
    assert.equal(line['reason'], 'the client left while its request was held');
    assert.equal(line['status'], undefined);
    assert.equal(asked, 0);
  });

  test('whose hold ends without success is answered 502, and the client’s connection goes on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: bed.ca, servername: HOST });
    bed.destinations.beforeConnect = () => Promise.reject(new LullError('internal', 'the wake failed'));
    assert.equal((await bed.fetch({ agent, method: 'POST', body: 'x'.repeat(100_000) })).status, 502);
    bed.destinations.beforeConnect = () => Promise.resolve();
    assert.equal((await bed.fetch({ agent, method: 'POST', body: 'again' })).body, 'again');
    agent.destroy();
  });

  test('uses the connection of the one before', async () => {
    for (let at = 0; at < 5; at++) assert.equal((await bed.fetch({ method: 'POST', body: `${at}` })).body, `${at}`);
    assert.equal(connections, 1);
    assert.equal(bed.destinations.connects.length, 1);
  });

  test('does not use one that was dropped, idle or busy', async () => {
    await bed.fetch();
    bed.proxy.forget(MICROVM);
    await bed.fetch();
    assert.equal(connections, 2);
    const response = Promise.withResolvers<ServerResponse>();
    handler = (_request, got) => response.resolve(got);
    const busy = bed.fetch();
    const got = await response.promise;
    bed.proxy.forget(MICROVM);
    handler = (_request, answer) => answer.end('new');
    got.end('old');
    assert.equal((await busy).body, 'old');
    assert.equal((await bed.fetch()).body, 'new');
    assert.equal(connections, 3);
  });

  test('does not use one that the application closes, says it closes, or keeps for a second only', async () => {
    for (const headers of [{ Connection: 'close' }, { Connection: 'keep-alive', 'Keep-Alive': 'timeout=1' }]) {
      connections = 0;
      handler = (_request, response) => response.writeHead(200, headers).end('x');
      for (let at = 0; at < 2; at++) assert.equal((await bed.fetch()).body, 'x');
      assert.equal(connections, 2);
    }
    handler = (_request, response) => response.end('x', () => setImmediate(() => response.socket?.destroy()));
    const closed = new Promise<void>((resolve) => {
      const before = handler;
      handler = (request, response) => {
        response.socket!.once('close', () => resolve());
        before(request, response);
      };
    });
    await bed.fetch();
    await closed;
    handler = (_request, response) => response.end('y');
    assert.equal((await bed.fetch()).status, 200);
  });

  test('is not sent again when a kept connection breaks under it', async () => {
    await bed.fetch();
    asked = 0;
    handler = (request) => request.socket.destroy();
    assert.equal((await bed.fetch({ method: 'POST', body: 'once' })).status, 502);
    assert.equal(asked, 1);
  });

  test('travels over any duplex stream, socket or not', async () => {
    const connect = bed.destinations.connect.bind(bed.destinations);
    bed.destinations.connect = async (microvmId, port, signal) => {
      const socket = await connect(microvmId, port, signal);
      return new Duplex({
        read: () => void socket.once('readable', () => undefined).resume(),
        write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
        final: (done) => void socket.end(done),
        destroy: (error, done) => {
          socket.destroy();
          done(error);
        },
        construct(done) {
          socket.on('data', (chunk: Buffer) => this.push(chunk));
          socket.on('end', () => this.push(null));
          socket.on('close', () => this.destroy());
          done();
        },
      });
    };
    for (let at = 0; at < 3; at++) assert.equal((await bed.fetch({ method: 'POST', body: `${at}` })).body, `${at}`);
    assert.equal(connections, 1);
  });

  test('that arrives in crowds is answered, each by its own answer', async () => {
    handler = (request, response) => request.pipe(response);
    const agent = new Agent({ keepAlive: true, maxSockets: 50, ca: bed.ca, servername: HOST });
    const options = await bed.options({ agent, method: 'POST' });
    const bodies = Array.from({ length: 500 }, (_, at) => `request ${at}`);
    const answers = await Promise.all(
      bodies.map(async (body) => {
        const request = httpsRequest(options);
        request.end(body);
        return seen(((await once(request, 'response')) as [IncomingMessage])[0]);
      }),
    );
    assert.deepEqual(answers.map((answer) => answer.body), bodies);
    assert.ok(connections <= 50);
    agent.destroy();
  });
});
