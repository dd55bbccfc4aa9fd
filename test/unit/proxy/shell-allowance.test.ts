/** Shells count toward what an endpoint may carry (section 5.6), as AWS's figures or an operator's say. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { PassThrough, Duplex } from 'node:stream';
import { suite, test } from 'node:test';
import { WebSocket } from 'ws';
import { awsAllowance } from '../../../src/proxy/allowance.ts';
import { ENDPOINT, HOST, MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';

/** Section 5.6: of the smallest size. */
const SMALLEST_MIB = 512;
const CONNECTIONS = 8;
const BYTES_PER_SECOND = 1_000_000;
const PIECES = 30;

suite('with AWS’s limits', { timeout: 20_000 }, () => {
  async function start(): Promise<ProxyBed> {
    const bed = await ProxyBed.start({}, awsAllowance);
    bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress: ['SHELL_INGRESS', 'HTTP_INGRESS'], baselineMib: SMALLEST_MIB });
    return bed;
  }
  const dial = async (bed: ProxyBed) => {
    const socket = new WebSocket(`wss://${HOST}:${bed.port}/shell`, [], {
      ca: bed.ca,
      headers: { 'X-aws-proxy-auth': await bed.token({ purpose: 'shell', ports: [] }) },
      lookup: (_host, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    socket.on('error', () => undefined);
    return socket;
  };
  /** A terminal that shows what it is given. */
  const showing = (bed: ProxyBed) => {
    const shown = new PassThrough();
    const stream = Duplex.from({ readable: shown, writable: new PassThrough().resume() });
    bed.destinations.shell = () => Promise.resolve({ stream, resize: () => Promise.resolve() });
    return shown;
  };

  test('a shell takes one of the connections, beside requests, and one too many gets 429', async () => {
    await using bed = await start();
    bed.destinations.shell = () => Promise.resolve({ stream: new PassThrough(), resize: () => Promise.resolve() });
    const open: WebSocket[] = [];
    for (let at = 0; at < CONNECTIONS; at += 1) {
      const socket = await dial(bed);
      await once(socket, 'open');
      open.push(socket);
      // So that it is not the requests of a second that are too many.
      bed.clock.aheadMs += 1000;
    }
    const [, answer] = (await once(await dial(bed), 'unexpected-response')) as [unknown, IncomingMessage];
    assert.equal(answer.statusCode, 429);
    answer.socket.destroy();
    assert.equal((await bed.ask()).status, 429);
    open.forEach((socket) => socket.terminate());
  });

  test('a shell that shows more than its second’s worth waits, and loses nothing', async () => {
    await using bed = await start();
    const shown = showing(bed);
    const socket = await dial(bed);
    let bytes = 0;
    socket.on('message', (message: Buffer, isBinary) => {
      if (isBinary) bytes += message.length;
      socket.emit('shown');
    });
    await once(socket, 'open');
    const startedAtMs = performance.now();
    // Whatever has come is passed on; what follows waits.
    for (let at = 0; at < PIECES; at += 1) shown.write(Buffer.alloc(1.5 * BYTES_PER_SECOND / PIECES));
    while (bytes < 1.5 * BYTES_PER_SECOND) await once(socket, 'shown');
    assert.ok(performance.now() - startedAtMs > 400, `${performance.now() - startedAtMs} ms`);
    socket.terminate();
  });
});
