/** Who reads the metrics, on the API's listener and on one of their own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { mayReadMetrics } from '../../../src/api/metrics-access.ts';
import { closeMetrics, createMetricsServer } from '../../../src/api/metrics-server.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { readAll } from '../../fakes/proxy-bed.ts';
import { startApi, type ApiBed } from './bed.ts';

const TOKEN = 'a-token-of-more-than-16';
const PATH = '/lull/v1/metrics';

/** A plain request: what a scraper sends. */
async function scrape(port: number, ask: { path?: string; method?: string; headers?: Record<string, string> } = {}) {
  const request = httpRequest({ port, host: '127.0.0.1', path: PATH, agent: false, ...ask }).end();
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  return { status: answer.statusCode, headers: answer.headers, text: await readAll(answer) };
}

suite('metrics on the API’s listener', { timeout: 30_000 }, () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());

  test('are read without a signature from this machine', async () => {
    const { status, headers, text } = await scrape(bed.port);
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.ok(headers['x-amzn-requestid'] !== undefined);
    assert.match(text, /^lull_build_info 1$/m);
  });

  const STRANGERS: readonly Record<string, string>[] = [
    { host: 'rebound.example.org' },
    { 'x-forwarded-for': '203.0.113.9' },
    { forwarded: 'for=203.0.113.9' },
    { via: '1.1 front' },
  ];
  for (const headers of STRANGERS) {
    test(`are refused to who is elsewhere, for all that it comes from here: ${JSON.stringify(headers)}`, async () => {
      const { status, headers: answered } = await scrape(bed.port, { headers });
      assert.deepEqual([status, answered['x-amzn-errortype']], [403, 'AccessDeniedException']);
    });
  }

  test('open nothing else: another method wants a signature', async () => {
    assert.equal((await scrape(bed.port, { method: 'POST' })).status, 403);
  });
});

suite('who may read metrics', () => {
  const asked = (remoteAddress: string, headers: Record<string, string>) => ({ socket: { remoteAddress }, headers }) as unknown as IncomingMessage;

  test('without a token: loopback in every form, under a name of its own', () => {
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) assert.ok(mayReadMetrics(asked(address, { host: 'localhost:8470' }), undefined), address);
    for (const host of ['127.0.0.1', '[::1]:8470', 'localhost']) assert.ok(mayReadMetrics(asked('::1', { host }), undefined), host);
    for (const address of ['10.0.0.1', '::ffff:10.0.0.1', 'fe80::1', '']) assert.ok(!mayReadMetrics(asked(address, { host: 'localhost' }), undefined), address);
    assert.ok(!mayReadMetrics(asked('127.0.0.1', {}), undefined));
  });

  test('with a token: who shows it, from wherever, and nobody else', () => {
    assert.ok(mayReadMetrics(asked('203.0.113.9', { host: 'lull.example.org', authorization: `Bearer ${TOKEN}` }), TOKEN));
    for (const authorization of [`Bearer ${TOKEN}x`, `Basic ${TOKEN}`, TOKEN, '']) {
      assert.ok(!mayReadMetrics(asked('127.0.0.1', { host: 'localhost', authorization }), TOKEN), authorization);
    }
  });
});

suite('metrics on a listener of their own', { timeout: 30_000 }, () => {
  let server: Server;
  let fails = false;
  before(async () => {
    const metrics = async () => (fails ? assert.fail('the store is closed') : 'lull_build_info 1\n');
    server = createMetricsServer({ control: { server: { metrics } }, token: () => TOKEN, tls: undefined, log: SILENT });
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });
  after(() => closeMetrics(server));
  const ask = (more: Parameters<typeof scrape>[1] = {}) => scrape((server.address() as AddressInfo).port, { headers: { authorization: `Bearer ${TOKEN}` }, ...more });

  test('are at /metrics and where the API has them, for who shows the token', async () => {
    for (const path of ['/metrics', PATH, '/metrics?from=scraper']) assert.equal((await ask({ path })).text, 'lull_build_info 1\n');
    assert.equal((await ask({ headers: {} })).status, 403);
  });

  test('are all that is there', async () => {
    assert.equal((await ask({ path: '/2025-09-09/microvms' })).status, 404);
    assert.equal((await ask({ method: 'DELETE' })).status, 405);
  });

  test('show nothing of a failure', async () => {
    fails = true;
    const { status, text } = await ask();
    fails = false;
    assert.deepEqual([status, text], [500, '']);
  });
});
