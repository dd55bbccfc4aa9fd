/** What the endpoint of one microVM may carry (section 5.6), where an operator wants AWS's figures. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { Agent } from 'node:https';
import { suite, test } from 'node:test';
import { Allowances, awsAllowance, type Allowance } from '../../../src/proxy/allowance.ts';
import { DOMAIN, HOST, MICROVM, OTHER_ENDPOINT, OTHER_MICROVM, ProxyBed, wholeOf } from '../../fakes/proxy-bed.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';
import { askIn, openSession, VERSIONS } from '../../fakes/proxy-client.ts';

const MIB = 1024 * 1024;

test('AWS’s figures by size (5.6)', () => {
  // Columns: baseline, MB/s, connections, requests/s where published.
  for (const [mib, megabytes, connections, requests] of [[512, 1, 8], [1024, 2, 16], [2048, 4, 32, 40], [4096, 8, 64], [8192, 16, 128, 160]] as const) {
    const allowance = awsAllowance(mib)!;
    assert.equal(allowance.bytesPerSecond, megabytes * 1_000_000);
    assert.equal(allowance.connections, connections);
    if (requests !== undefined) assert.equal(allowance.requestsPerSecond, requests);
  }
  assert.deepEqual(awsAllowance(128), awsAllowance(512));
});

suite('what is counted of a microVM', () => {
  const target = { microvmId: MICROVM, baselineMib: 512 };

  test('goes once nobody is connected and everything has flowed off, and not before', () => {
    const clock = new SteeredClock(0);
    let made = 0;
    const allowances = new Allowances(() => (made++, { connections: 1, requestsPerSecond: 2, bytesPerSecond: 10 }), clock);
    const visit = () => {
      const connection = new EventEmitter();
      allowances.enter(target, connection);
      return connection;
    };
    const first = visit();
    assert.throws(visit, /too many connections/);
    void allowances.pass(MICROVM, 30);
    first.emit('close');
    clock.advance(500);
    visit().emit('close');
    assert.equal(made, 1);
    // Thirty bytes of which ten were there, and ten more that fill the bucket.
    clock.advance(2500);
    visit().emit('close');
    assert.equal(made, 2);
  });

  test('hangs on a connection by one listener, however many microVMs it serves', () => {
    const allowances = new Allowances(awsAllowance, new SteeredClock(0));
    const connection = new EventEmitter();
    for (let at = 0; at < 20; at++) allowances.enter({ ...target, microvmId: `microvm-${at}` }, connection);
    assert.equal(connection.listenerCount('close'), 1);
  });
});

suite('a microVM’s allowance', { timeout: 30_000 }, () => {
  const PLENTY: Allowance = { connections: 1000, requestsPerSecond: 1000, bytesPerSecond: 1e12 };
  async function start(allowance: Partial<Allowance>): Promise<ProxyBed> {
    const bed = await ProxyBed.start({}, () => ({ ...PLENTY, ...allowance }));
    await bed.app((request, response) => (request.url === '/all' ? response.end(Buffer.alloc(MIB)) : request.pipe(response)));
    return bed;
  }

  for (const version of VERSIONS) {
    test(`requests beyond so many a second are answered 429, over ${version}, and not those of another microVM`, async () => {
      await using bed = await start({ requestsPerSecond: 3 });
      const statuses: number[] = [];
      for (let at = 0; at < 5; at++) statuses.push((await bed.ask({ version })).status);
      assert.deepEqual(statuses.slice(0, 3), [200, 200, 200]);
      assert.equal(statuses.at(-1), 429);
      const other = { Host: `${OTHER_ENDPOINT}.${DOMAIN}`, 'X-aws-proxy-auth': await bed.token({ microvmId: OTHER_MICROVM }) };
      assert.equal((await bed.ask({ version, headers: other })).status, 200);
      bed.clock.aheadMs += 1000;
      assert.equal((await bed.ask({ version })).status, 200);
    });

    test(`bytes beyond so many a second wait, in both directions, over ${version}`, async () => {
      await using bed = await start({ bytesPerSecond: MIB });
      await bed.ask({ version, path: '/all' });
      // The second's worth is used up: half a megabyte there and back takes another.
      const startedAtMs = performance.now();
      const answer = await bed.ask({ version, method: 'POST', body: 'x'.repeat(MIB / 2) });
      assert.equal(answer.body.length, MIB / 2);
      assert.ok(performance.now() - startedAtMs > 500, `${performance.now() - startedAtMs} ms`);
    });
  }

  test('bytes wait also where the request was held because its microVM fell asleep', async () => {
    await using bed = await start({ bytesPerSecond: MIB });
    bed.destinations.beforeConnect = async () => bed.proxy.forget(MICROVM);
    const startedAtMs = performance.now();
    const answer = await bed.ask({ method: 'POST', body: 'x'.repeat(MIB) });
    assert.equal(answer.body.length, MIB);
    assert.ok(performance.now() - startedAtMs > 500, `${performance.now() - startedAtMs} ms`);
  });

  test('connections beyond so many are refused, those that are open go on; requests of one HTTP/2 connection are one', async () => {
    await using bed = await start({ connections: 2 });
    const session = openSession(bed.place);
    const headers = { Host: HOST, 'x-aws-proxy-auth': await bed.token() };
    const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await wholeOf(await askIn(session, { headers }).answer)).status));
    assert.deepEqual(statuses, [200, 200, 200, 200, 200]);
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: bed.ca, servername: HOST });
    for (let at = 0; at < 3; at++) assert.equal((await bed.fetch({ agent })).status, 200);
    assert.equal((await bed.fetch()).status, 429);
    session.close();
    await new Promise((resolve) => session.once('close', resolve));
    // The proxy hears of it a moment later.
    let status = 429;
    while (status === 429) status = (await bed.fetch()).status;
    assert.equal(status, 200);
    agent.destroy();
  });
});
