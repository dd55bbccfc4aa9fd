/** Connections that ask nothing, by the thousand, and what one address may have of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as tcpConnect } from 'node:net';
import { suite, test } from 'node:test';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { HOST, ProxyBed } from '../../fakes/proxy-bed.ts';

const KIB = 1024;
const CLIENTS = 3000;
/** Both ends are in this process: measured 146 KiB for the two together. */
const BOTH_ENDS_BYTES = 400 * KIB;
/** Handshakes at once. */
const BATCH = 50;

suite('connections that ask nothing', { timeout: 120_000 }, () => {
  test('3 000 of them, over both versions: others are answered at once, and memory stays bounded', async () => {
    await using bed = await ProxyBed.start({ keepAliveMs: 60_000, handshakeMs: 60_000 });
    await bed.app((_request, response) => response.end('served'));
    assert.equal((await bed.fetch()).body, 'served');
    const before = process.memoryUsage().rss;
    const sockets: TLSSocket[] = [];
    let session: Buffer | undefined;
    while (sockets.length < CLIENTS) {
      const batch = Array.from({ length: BATCH }, (_, at) => {
        const ALPNProtocols = at % 2 === 0 ? ['h2'] : ['http/1.1'];
        const socket = tlsConnect({ host: '127.0.0.1', port: bed.port, ca: bed.ca, servername: HOST, ALPNProtocols, ...(session === undefined ? {} : { session }) });
        socket.on('error', () => undefined);
        socket.once('session', (ticket) => (session ??= ticket));
        return socket;
      });
      await Promise.all(batch.map((socket) => once(socket, 'secureConnect')));
      sockets.push(...batch);
    }
    const startedAt = performance.now();
    assert.equal((await bed.fetch()).body, 'served');
    assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
    assert.ok(performance.now() - startedAt < 1000);
    const perConnection = (process.memoryUsage().rss - before) / CLIENTS;
    assert.ok(perConnection < BOTH_ENDS_BYTES, `${Math.round(perConnection / KIB)} KiB`);
    for (const socket of sockets) socket.destroy();
  });

  test('one address has its share, on all listeners together, and gets it back', async () => {
    await using bed = await ProxyBed.start({ connectionsPerAddress: 3 });
    await bed.app((_request, response) => response.end('served'));
    const second = (await bed.proxy.listen({ host: '127.0.0.1', port: 0 }))!;
    const held = await Promise.all([bed.raw(), bed.raw(), bed.raw()]);
    for (const port of [bed.port, second]) {
      const refused = tcpConnect({ host: '127.0.0.1', port }).on('error', () => undefined);
      await once(refused.resume(), 'close');
    }
    const elsewhere = tcpConnect({ host: '127.0.0.1', port: bed.port, localAddress: '127.0.0.2' });
    const other = tlsConnect({ socket: elsewhere, ca: bed.ca, servername: HOST });
    await once(other, 'secureConnect');
    other.destroy();
    held.forEach((socket) => socket.destroy());
    // Their places are free once the proxy has seen them go.
    for (;;) {
      const answer = await bed.fetch().catch(() => undefined);
      if (answer !== undefined) return assert.equal(answer.body, 'served');
    }
  });
});
