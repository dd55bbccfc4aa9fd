import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, describe, test } from 'node:test';
import { buildEventLine, healthAnswer, reportAnswer, verifiedFileLine } from '../../../src/contract/extensions.ts';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { microvmNotFound } from '../../../src/domain/refusals.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const JSON_HEADERS = { 'content-type': 'application/json' };

describe('extensions under /lull/v1', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());
  beforeEach(() => {
    bed.control.calls.length = 0;
    bed.control.instead.clear();
  });
  const open = (path: string, signal?: AbortSignal) => {
    const url = new URL(bed.origin + path);
    return fetch(url, { headers: signHeaders({ method: 'GET', url }, '', bed.context('lambda')), ...(signal === undefined ? {} : { signal }) });
  };

  test('health needs no signature; the rest does', async () => {
    const answer = await fetch(`${bed.origin}/lull/v1/health`);
    const { driver, reconciler } = healthAnswer.parse(await answer.json());
    assert.deepEqual([driver, reconciler], ['qemu', { runs: 3, mended: 1, lastRunAtMs: 1000 }]);
    for (const path of ['/lull/v1/microvms/m/logs', '/lull/v1/microvms/m/report', '/lull/v1/images/a/versions/1.0/events', '/lull/v1/health/']) {
      assert.equal((await fetch(bed.origin + path)).status, 403, path);
    }
    assert.equal((await fetch(`${bed.origin}/lull/v1/shutdown`, { method: 'POST' })).status, 403);
    assert.ok(!bed.control.calls.some(({ useCase }) => useCase !== 'server.health'));
  });

  test('report and shutdown', async () => {
    const report = await bed.call('GET', '/lull/v1/microvms/m/report');
    assert.deepEqual(reportAnswer.parse(JSON.parse(report.text)), { launch: [{ step: 'restore', ms: 12 }], suspend: null, wake: null });
    const shutdown = await bed.call('POST', '/lull/v1/shutdown');
    assert.equal(shutdown.text, '{"suspended":2}');
  });

  test('logs are text, events are NDJSON', async () => {
    const logs = await bed.call('GET', '/lull/v1/microvms/m/logs');
    assert.deepEqual([logs.text, logs.headers.get('content-type')], ['hello\n', 'text/plain; charset=utf-8']);
    assert.ok(logs.headers.get('x-amzn-requestid'));
    const events = await bed.call('GET', '/lull/v1/images/app/versions/1.0/events?follow=true');
    const lines = events.text.trimEnd().split('\n').map((line) => buildEventLine.parse(JSON.parse(line)));
    assert.deepEqual(lines.map((line) => line.type), ['step', 'line']);
    assert.equal((bed.control.calls.at(-1)!.args[2] as { follow: boolean }).follow, true);
  });

  test('what is verified comes as NDJSON, file by file', async () => {
    const request = { images: [{ imageIdentifier: 'app', imageVersion: null }], microvms: ['microvm-one'] };
    const answer = await bed.call('POST', '/lull/v1/verify', { headers: JSON_HEADERS, body: JSON.stringify(request) });
    assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'application/x-ndjson']);
    const lines = answer.text.trimEnd().split('\n').map((line) => verifiedFileLine.parse(JSON.parse(line)));
    assert.deepEqual(lines.map(({ file, fault }) => [file, fault]), [['memory', null], ['device-state', 'is missing']]);
    assert.deepEqual(bed.control.calls.at(-1)!.args[0], request);
    assert.equal((await bed.call('POST', '/lull/v1/verify', { headers: JSON_HEADERS, body: '{"images":"app"}' })).status, 400);
  });

  test('what cannot be found is an answer, not a stream', async () => {
    bed.control.instead.set('microvms.logs', async () => {
      throw microvmNotFound('microvm-x');
    });
    const answer = await bed.call('GET', '/lull/v1/microvms/microvm-x/logs');
    assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [404, 'ResourceNotFoundException']);
    const bad = await bed.call('GET', '/lull/v1/microvms/m/logs?follow=maybe');
    assert.equal(bad.status, 400);
  });

  test('a follower gets headers and lines at once; its going away ends the source', { timeout: 10_000 }, async () => {
    const ended = new AbortController();
    bed.control.instead.set('microvms.logs', async (_id: string, { signal }: { signal: AbortSignal }) =>
      (async function* () {
        yield Buffer.from('first\n');
        if (!signal.aborted) await once(signal, 'abort');
        ended.abort();
      })(),
    );
    const client = new AbortController();
    const answer = await open('/lull/v1/microvms/m/logs?follow=true', client.signal);
    const reader = answer.body!.getReader();
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), 'first\n');
    const over = once(ended.signal, 'abort');
    client.abort();
    await over;
  });

  test('a stream that fails half-way does not look complete', { timeout: 10_000 }, async () => {
    bed.control.instead.set('microvms.logs', async () =>
      (async function* () {
        yield Buffer.from('first\n');
        throw new Error('the guest is gone');
      })(),
    );
    await assert.rejects(async () => (await open('/lull/v1/microvms/m/logs')).text());
    assert.equal((await fetch(`${bed.origin}/lull/v1/health`)).status, 200);
  });

  test('closing the server ends its followers', { timeout: 10_000 }, async () => {
    const other = await startApi();
    other.control.instead.set('microvms.logs', async (_id: string, { signal }: { signal: AbortSignal }) =>
      (async function* () {
        yield Buffer.from('first\n');
        if (!signal.aborted) await once(signal, 'abort');
      })(),
    );
    const url = new URL(`${other.origin}/lull/v1/microvms/m/logs?follow=true`);
    const answer = await fetch(url, { headers: signHeaders({ method: 'GET', url }, '', other.context('lambda')) });
    const read = answer.text().catch(() => 'cut');
    await other[Symbol.asyncDispose]();
    assert.match(await read, /first|cut/);
  });
});
