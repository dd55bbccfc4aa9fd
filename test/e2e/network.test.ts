/** What a microVM reaches of networks, tried from inside as root by an application that means ill. Contract reference, section 5.8. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../src/host/process.ts';
import { missingFor } from '../../src/network/guest-networks.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';
import { World } from './world.ts';

const HOSTILE = join(import.meta.dirname, '../fixtures/hostile');
const GUEST = /^198\.19\.\d+\.\d+$/;

const skip = (await cannotServe()) || ((await missingFor(process.getuid!())) ?? false);

/** A listener of this host that counts who comes. */
async function listener(host: string): Promise<{ server: Server; port: number; came: () => number }> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  server.listen(0, host);
  await once(server, 'listening');
  return { server, port: (server.address() as { port: number }).port, came: () => count };
}

describe('the network of microVMs', { skip }, () => {
  let world: World;
  let server: LullServer;
  let imageArn: string;
  let microvm: TestMicrovm;
  let neighbour: TestMicrovm;
  before(async () => {
    world = await World.open();
    server = await LullServer.start(['--egress-resolver', World.address]);
    imageArn = await server.image('hostile', HOSTILE);
    const launch = () => server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    [microvm, neighbour] = await Promise.all([launch(), launch()]);
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });
  const attempt = <T = { reached: boolean; answer?: string; error?: string }>(what: string, ...words: readonly (string | number)[]): Promise<T> =>
    microvm.json<T>(`/${what}?${words.map((word) => `with=${word}`).join('&')}`);
  /** The devices of this server's microVMs; other servers of the host have their own. */
  const taps = () => {
    const [mark = ''] = readdirSync(server.runtime);
    return readdirSync('/sys/class/net').filter((name) => name.startsWith(`lull${mark.slice(0, 5)}`));
  };
  const addressOf = async (one: TestMicrovm) => (await one.json<{ address: string }>('/network')).address;

  it('reaches the world by TCP and its names by UDP, as the host; and nothing else by UDP', async () => {
    assert.deepEqual(await attempt('tcp', World.address, 80), { reached: true, answer: World.hostAddress });
    assert.deepEqual(await attempt('name', 'example.test'), { addresses: [World.address] });
    assert.deepEqual(await attempt('tcp', 'example.test', 80), { reached: true, answer: World.hostAddress });
    assert.equal((await attempt('udp', World.address, 9999)).reached, false);
  });

  it('is gone while nothing has a network, and there again after a sleep, with another address', async () => {
    const before = await addressOf(microvm);
    assert.match(before, GUEST);
    await microvm.suspend();
    assert.equal(taps().length, 1, 'only the neighbour\'s is left');
    assert.deepEqual(await attempt('tcp', World.address, 80), { reached: true, answer: World.hostAddress });
    assert.match(await addressOf(microvm), GUEST);
  });

  it('reaches no loopback, address or port of the host, nor the API or an endpoint', async () => {
    const onLoopback = await listener('127.0.0.1');
    const everywhere = await listener('0.0.0.0');
    try {
      const api = Number(new URL(server.apiUrl).port);
      const { gateway } = await defaultRoute();
      for (const address of [World.hostAddress, '169.254.53.53', '10.213.0.1', '127.0.0.1', ...(gateway === undefined ? [] : [gateway])]) {
        for (const port of [onLoopback.port, everywhere.port, api, server.endpointPort, 22]) {
          assert.equal((await attempt('tcp', address, port)).reached, false, `${address}:${port}`);
        }
      }
      assert.deepEqual([onLoopback.came(), everywhere.came()], [0, 0]);
    } finally {
      onLoopback.server.close();
      everywhere.server.close();
    }
  });

  it('reaches no neighbour and no private or link-local network, at once refused', async () => {
    const other = await addressOf(neighbour);
    for (const address of [other, World.privateAddress, '192.168.1.1', '172.16.0.1', '100.64.0.1', '169.254.1.1', '198.18.0.1', '224.0.0.1']) {
      const { reached, error } = await attempt('tcp', address, 80);
      assert.equal(reached, false, address);
      if (address !== other && address !== '224.0.0.1') assert.notEqual(error, 'timeout', address);
    }
  });

  it('is believed as nobody but itself, and hears of nobody on its link', async () => {
    for (const source of ['203.0.113.77', '10.213.0.77', '127.0.0.1', await addressOf(neighbour)]) await attempt('spoof', source, World.address, 80);
    // Behind the datagrams, so that they would have arrived.
    assert.equal((await attempt('tcp', World.address, 80)).reached, true);
    const allowed = new Set([World.hostAddress, World.address, World.privateAddress, '10.213.0.1']);
    assert.deepEqual((await world.sources()).filter((source) => !allowed.has(source)), []);
    for (const address of ['169.254.53.53', World.hostAddress, '10.213.0.1', await addressOf(neighbour)]) assert.deepEqual(await attempt('arp', address), { answered: false }, address);
  });

  it('has no IPv6', async () => {
    for (const address of ['fe80::1', '2001:db8::1', '::ffff:203.0.113.1']) assert.equal((await attempt('ipv6', address, 22)).reached, false, address);
  });

  it('still has its metadata service, and its resolver\'s address in the image', async () => {
    assert.equal((await attempt('tcp', '169.254.169.254', 80)).reached, true);
    const seen = await microvm.json<{ resolver: string; devices: readonly string[] }>('/network');
    assert.equal(seen.resolver, 'nameserver 169.254.53.53\n');
    assert.deepEqual(seen.devices, ['eth0', 'lo', 'lull0']);
  });

  it('goes on over a crash of the server, and leaves no device when its microVM ends', async () => {
    await server.crash();
    assert.deepEqual(await attempt('tcp', World.address, 80), { reached: true, answer: World.hostAddress });
    await microvm.terminate();
    assert.equal(taps().length, 1);
  });

  it('is none where the server is told so, and says so at once', async () => {
    await server.stop('SIGTERM');
    await server.up(['--egress', 'none']);
    const alone = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    const refused = await alone.json<{ reached: boolean; error: string; errno: number }>(`/tcp?with=${World.address}&with=80`);
    // ENETUNREACH
    assert.deepEqual(refused, { reached: false, error: 'OSError', errno: 101 });
  });
});

async function defaultRoute(): Promise<{ gateway?: string }> {
  const [, gateway] = /default via (\S+)/.exec(await run(['ip', 'route'])) ?? [];
  return gateway === undefined ? {} : { gateway };
}
