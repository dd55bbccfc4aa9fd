/** Where a server listens and says that it is found, against real sockets. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { fastify } from 'fastify';
import { listenApi, listenEndpoints } from '../../../src/main/listeners.ts';
import { ProxyBed } from '../../fakes/proxy-bed.ts';

const FILES = { cert: { path: '/c', option: '--api-cert' }, key: { path: '/k', option: '--api-key' } };

async function takenPort(): Promise<{ port: number } & Disposable> {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  return { port: (holder.address() as AddressInfo).port, [Symbol.dispose]: () => void holder.close() };
}

test('a port that is taken is refused in one line that names the option, of the API and of the endpoints alike', async () => {
  using taken = await takenPort();
  await using bed = await ProxyBed.start();
  await using api = fastify();
  const address = { host: '127.0.0.1', port: taken.port };
  await assert.rejects(listenApi(api, { listen: address, apiHosts: [], apiCertificate: undefined }), {
    kind: 'conflict',
    message: `The API cannot listen on 127.0.0.1:${taken.port}: the port is in use (another Lull server?). Give another with --listen, or stop what holds it.`,
  });
  await assert.rejects(listenEndpoints(bed.proxy, { endpointListen: [address], endpointListenIsDefault: false }), {
    kind: 'conflict',
    message: `The endpoints cannot listen on 127.0.0.1:${taken.port}: the port is in use (another Lull server?). Give another with --endpoint-listen, or stop what holds it.`,
  });
  // TEST-NET-1: no machine has it.
  await assert.rejects(listenEndpoints(bed.proxy, { endpointListen: [{ host: '192.0.2.1', port: 0 }], endpointListenIsDefault: false }), {
    kind: 'validation',
    message: 'The endpoints cannot listen on 192.0.2.1:0: this machine does not have the address. Give another with --endpoint-listen.',
  });
});

const ANNOUNCED = [
  { host: '127.0.0.1', hosts: ['lull.example.org'], certificate: undefined, url: 'http://127.0.0.1' },
  { host: '0.0.0.0', hosts: [], certificate: undefined, url: 'http://127.0.0.1' },
  { host: '0.0.0.0', hosts: [], certificate: FILES, url: 'https://127.0.0.1' },
  { host: '0.0.0.0', hosts: ['lull.example.org', 'other.example.org'], certificate: FILES, url: 'https://lull.example.org' },
];

for (const { host, hosts, certificate, url } of ANNOUNCED) {
  test(`${host} ${certificate === undefined ? 'without' : 'with'} a certificate for ${hosts.join(' and ') || 'no name'} is announced as ${url}`, async () => {
    await using api = fastify();
    const announced = await listenApi(api, { listen: { host, port: 0 }, apiHosts: hosts, apiCertificate: certificate });
    assert.equal(announced, `${url}:${(api.server.address() as AddressInfo).port}`);
  });
}
