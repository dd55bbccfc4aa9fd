/** Addresses that the data plane listens on (`lull up`), and its close. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { request as httpsRequest } from 'node:https';
import { suite, test } from 'node:test';
import { HOST, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));

suite('the proxy listens', { timeout: 20_000 }, () => {
  test('on several addresses, ::1 among them', { skip: hasIpv6 ? false : 'no ::1 here' }, async () => {
    await using bed = await ProxyBed.start();
    await bed.app((_request, response) => response.end('served'));
    const port = await bed.proxy.listen({ host: '::1', port: bed.port, optional: true });
    assert.equal(port, bed.port);
    assert.equal((await bed.fetch({ host: '::1' })).body, 'served');
    assert.equal((await bed.fetch()).body, 'served');
  });

  test('and warns where an optional address is not there', async () => {
    await using bed = await ProxyBed.start();
    // TEST-NET-1 and the documentation prefix: no machine has them.
    assert.equal(await bed.proxy.listen({ host: '192.0.2.1', port: 0, optional: true }), undefined);
    assert.deepEqual(bed.logged, [{ host: '192.0.2.1', code: 'EADDRNOTAVAIL' }]);
    await assert.rejects(bed.proxy.listen({ host: '192.0.2.1', port: 0 }), { code: 'EADDRNOTAVAIL' });
  });

  test('not on a port that is taken', async () => {
    await using bed = await ProxyBed.start();
    await assert.rejects(bed.proxy.listen({ host: '127.0.0.1', port: bed.port, optional: true }), { code: 'EADDRINUSE' });
  });

  test('until it is closed: requests may end, upgraded and silent connections are cut', async () => {
    await using bed = await ProxyBed.start();
    const app = await bed.app((_request, response) => response.write('first '));
    app.on('upgrade', (_request, socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'));
    const upgraded = await bed.raw();
    upgraded.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-aws-proxy-auth: ${await bed.token()}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
    await once(upgraded, 'data');
    const silent = await bed.raw();
    const request = httpsRequest(await bed.options());
    request.end();
    const [answer] = await once(request, 'response') as [AsyncIterable<unknown>];
    const ended = [upgraded, silent].map((socket) => new Promise((resolve) => socket.resume().once('close', resolve)));
    await Promise.all([bed.proxy.close(), ...ended, assert.rejects(readAll(answer), /aborted/)]);
    await assert.rejects(bed.raw());
  });
});
