/** What traffic through a real proxy adds to the metrics. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { PassThrough, type Duplex } from 'node:stream';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { ServerMetrics } from '../../../src/metrics/server-metrics.ts';
import { ENDPOINT, HOST, MICROVM, OTHER_ENDPOINT, OTHER_MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';
import { metricsOver, scraped } from './metrics-bed.ts';

suite('the metrics of endpoints', { timeout: 30_000 }, () => {
  let metrics: ServerMetrics;
  let bed: ProxyBed;
  const start = async (maxSeries: number) => {
    metrics = metricsOver({ maxSeries, connections: () => bed.proxy.connections() });
    bed = await ProxyBed.start({}, undefined, metrics.exchanges);
    await bed.app((request, response) => request.resume().once('end', () => response.end('answer')));
  };
  const figure = async (series: string) => (await scraped(metrics)).figure(series);
  /** A line is written in the moment in which its request is counted. */
  const over = (count: number) => bed.line(() => bed.logged.filter((line) => 'bytesOut' in line).length >= count);
  beforeEach(() => start(0));
  afterEach(() => bed[Symbol.asyncDispose]());

  test('count requests by version and class of status, with their times and bytes', async () => {
    await bed.ask({ method: 'POST', body: 'question' });
    await bed.ask({ version: 'HTTP/2' });
    await bed.ask({ version: 'HTTP/2', headers: { 'X-aws-proxy-port': '9' } });
    await over(3);
    const all = await scraped(metrics);
    const expected = {
      'lull_endpoint_requests_total{version="http/1.1",status="2xx"}': 1,
      'lull_endpoint_requests_total{version="h2",status="2xx"}': 1,
      'lull_endpoint_requests_total{version="h2",status="5xx"}': 1,
      'lull_endpoint_requests_in_flight{version="h2"}': 0,
      'lull_endpoint_refusals_total{kind="unreachable"}': 1,
      'lull_endpoint_received_bytes_total': 8,
      'lull_endpoint_sent_bytes_total': 12,
      'lull_endpoint_request_duration_seconds_count{version="h2"}': 2,
      'lull_endpoint_first_byte_seconds_count{version="http/1.1"}': 1,
      // The one that was refused got no connection to wait for.
      'lull_endpoint_hold_seconds_count{woke="false"}': 2,
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((series) => [series, all.figure(series)])), expected);
  });

  test('tell requests and connections while they last, and who left before an answer', async () => {
    const asked = Promise.withResolvers<void>();
    await bed.app(() => asked.resolve(), 9000);
    const request = httpsRequest(await bed.options({ headers: { 'X-aws-proxy-port': '9000' } }));
    request.on('error', () => undefined);
    request.end();
    await asked.promise;
    assert.equal(await figure('lull_endpoint_requests_in_flight{version="http/1.1"}'), 1);
    assert.equal(await figure('lull_endpoint_connections'), 1);
    request.destroy();
    await over(1);
    assert.equal(await figure('lull_endpoint_requests_in_flight{version="http/1.1"}'), 0);
    assert.equal(await figure('lull_endpoint_requests_total{version="http/1.1",status="none"}'), 1);
  });

  test('tell refusals by their kind', async () => {
    await bed.ask({ headers: { 'X-aws-proxy-auth': '' } });
    await bed.ask({ headers: { 'X-aws-proxy-auth': await bed.token({ microvmId: OTHER_MICROVM }) } });
    await bed.ask({ headers: { 'X-aws-proxy-auth': await bed.token({ ports: [] }) } });
    await over(3);
    const all = await scraped(metrics);
    for (const kind of ['unauthenticated', 'notYours', 'portDenied']) assert.equal(all.figure(`lull_endpoint_refusals_total{kind="${kind}"}`), 1, kind);
  });

  test('tell who waited for a wake, and for how long', async () => {
    bed.destinations.asleep.add(MICROVM);
    bed.destinations.beforeConnect = async () => void (bed.clock.aheadMs += 1500);
    await bed.ask();
    await over(1);
    assert.equal(await figure('lull_endpoint_hold_seconds_count{woke="true"}'), 1);
    assert.ok((await figure('lull_endpoint_hold_seconds_sum{woke="true"}'))! >= 1.5);
  });

  test('tell WebSockets while they are open, their bytes too, and keep them out of durations', async () => {
    const app = await bed.app(() => undefined, 9001);
    app.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
      socket.once('data', () => socket.end('pong!'));
    });
    const request = httpsRequest(await bed.options({ headers: { Connection: 'Upgrade', Upgrade: 'WebSocket', 'X-aws-proxy-port': '9001' } }));
    request.end();
    const [, socket, early] = (await once(request, 'upgrade')) as [unknown, Duplex, Buffer];
    if (early.length === 0) await once(socket, 'data');
    assert.equal(await figure('lull_endpoint_upgrades_open{protocol="websocket"}'), 1);
    assert.equal(await figure('lull_endpoint_sent_bytes_total'), 5);
    socket.resume().end('ping');
    await once(socket, 'close');
    await over(1);
    const all = await scraped(metrics);
    assert.equal(all.figure('lull_endpoint_upgrades_open{protocol="websocket"}'), 0);
    assert.equal(all.figure('lull_endpoint_upgrades_total{protocol="websocket"}'), 1);
    assert.equal(all.figure('lull_endpoint_request_duration_seconds_count{version="http/1.1"}'), undefined);
  });

  test('tell a shell as the WebSocket that it is', async () => {
    bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress: ['SHELL_INGRESS'], baselineMib: 512 });
    const terminal = new PassThrough();
    bed.destinations.shell = () => Promise.resolve({ stream: terminal, resize: () => Promise.resolve() });
    const handshake = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
    const token = { 'X-aws-proxy-auth': await bed.token({ purpose: 'shell', ports: [] }) };
    const request = httpsRequest(await bed.options({ headers: { ...handshake, ...token } }));
    request.end();
    const [, socket] = (await once(request, 'upgrade')) as [unknown, Duplex];
    assert.equal(await figure('lull_endpoint_upgrades_open{protocol="websocket"}'), 1);
    socket.destroy();
    await over(1);
    const all = await scraped(metrics);
    assert.equal(all.figure('lull_endpoint_upgrades_open{protocol="websocket"}'), 0);
    assert.equal(all.figure('lull_endpoint_upgrades_total{protocol="websocket"}'), 1);
    assert.equal(all.figure('lull_endpoint_request_duration_seconds_count{version="http/1.1"}'), undefined);
  });

  test('name no single microVM unless told', async () => {
    await bed.ask();
    await over(1);
    assert.equal((await metrics.text()).includes(MICROVM), false);
  });

  test('name as many microVMs as told, until they end', async () => {
    await bed[Symbol.asyncDispose]();
    await start(1);
    const other = { Host: HOST.replace(/^[^.]*/, OTHER_ENDPOINT), 'X-aws-proxy-auth': await bed.token({ microvmId: OTHER_MICROVM }) };
    await bed.ask({ method: 'POST', body: 'question' });
    await bed.ask({ headers: other });
    await over(2);
    const of = (microvmId: string) => `lull_microvm_endpoint_requests_total{microvm_id="${microvmId}",status="2xx"}`;
    assert.deepEqual([await figure(of(MICROVM)), await figure(of(OTHER_MICROVM))], [1, undefined]);
    assert.equal(await figure(`lull_microvm_endpoint_received_bytes_total{microvm_id="${MICROVM}"}`), 8);
    metrics.microvmEnded(MICROVM);
    // Neither what is left of one that has ended takes a place, nor one that cannot be reached.
    await bed.ask();
    await bed.ask({ headers: { ...other, 'X-aws-proxy-port': '9' } });
    await over(4);
    assert.deepEqual([await figure(of(MICROVM)), await figure(of(OTHER_MICROVM).replace('2xx', '5xx'))], [undefined, undefined]);
    await bed.ask({ headers: other });
    await over(5);
    assert.deepEqual([await figure(of(MICROVM)), await figure(of(OTHER_MICROVM))], [undefined, 1]);
  });
});
