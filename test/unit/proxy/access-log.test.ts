/** The one line that each request to an endpoint leaves, and what it never tells. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import type { Duplex, Readable } from 'node:stream';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { LullError } from '../../../src/domain/errors.ts';
import { UNOBSERVED, type ExchangeRecord } from '../../../src/proxy/exchange.ts';
import { HOST, MICROVM, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

suite('the access log', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    await bed.app((request, response) => {
      request.resume().once('end', () => response.writeHead(201).end('answer'));
    });
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  for (const version of VERSIONS) {
    test(`tells of a request by ${version}: microVM, port, status, bytes both ways, times`, async () => {
      await bed.ask({ version, method: 'POST', body: 'question' });
      const { requestId, msToFirstByte, durationMs, heldMs, ...line } = await bed.line();
      assert.match(String(requestId), /^[0-9a-f-]{36}$/);
      for (const ms of [msToFirstByte, durationMs, heldMs]) assert.ok(typeof ms === 'number' && ms >= 0);
      assert.ok((durationMs as number) >= (msToFirstByte as number));
      const expected = { microvmId: MICROVM, port: 8080, version: version === 'HTTP/2' ? 'h2' : 'http/1.1', method: 'POST', status: 201 };
      assert.deepEqual(line, { ...expected, bytesIn: 8, bytesOut: 6, woke: false });
    });
  }

  test('tells that a request found its microVM asleep, and for how long it was held', async () => {
    bed.destinations.asleep.add(MICROVM);
    bed.destinations.beforeConnect = async () => {
      bed.destinations.asleep.clear();
      bed.clock.aheadMs += 1500;
    };
    await bed.ask();
    const { woke, heldMs } = await bed.line();
    assert.equal(woke, true);
    assert.ok((heldMs as number) >= 1500);
  });

  test('tells why a wake did not help, and does not call it one', async () => {
    bed.destinations.asleep.add(MICROVM);
    bed.destinations.beforeConnect = () => Promise.reject(new LullError('internal', 'the wake failed'));
    await bed.ask();
    const { woke, status, reason } = await bed.line();
    assert.deepEqual({ woke, status, reason }, { woke: false, status: 502, reason: 'the wake failed' });
  });

  test('has no more than 32 characters of what a client of HTTP/2 calls its method', async () => {
    await bed.ask({ version: 'HTTP/2', method: 'M'.repeat(10_000), headers: { 'X-aws-proxy-auth': '' } });
    assert.equal((await bed.line())['method'], 'M'.repeat(32));
  });

  test('has no status where the client left first', async () => {
    const asked = Promise.withResolvers<void>();
    await bed.app(() => asked.resolve(), 9000);
    const request = httpsRequest(await bed.options({ headers: { 'X-aws-proxy-port': '9000' } }));
    request.on('error', () => undefined);
    request.end();
    await asked.promise;
    request.destroy();
    const line = await bed.line();
    assert.deepEqual([line['status'], line['msToFirstByte'], line['port'], line['reason']], [undefined, undefined, 9000, 'the client left']);
  });

  test('blames the client where it left within the answer', async () => {
    await bed.app((_request, response) => void response.write('some'), 9000);
    const request = httpsRequest(await bed.options({ headers: { 'X-aws-proxy-port': '9000' } }));
    request.on('error', () => undefined).end();
    const [answer] = (await once(request, 'response')) as [Readable];
    await once(answer.on('error', () => undefined), 'data');
    request.destroy();
    const { status, reason } = await bed.line();
    assert.deepEqual({ status, reason }, { status: 200, reason: 'the client left before its answer was complete' });
  });

  test('has a line for a WebSocket once it is over, with what crossed it', async () => {
    const app = await bed.app(() => undefined, 9001);
    app.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      socket.once('data', () => socket.end('pong!'));
    });
    const request = httpsRequest(await bed.options({ headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'X-aws-proxy-port': '9001' } }));
    request.end();
    const [, socket] = (await once(request, 'upgrade')) as [unknown, Duplex];
    socket.resume().end('ping');
    await once(socket, 'close');
    const { status, bytesIn, bytesOut } = await bed.line();
    assert.deepEqual({ status, bytesIn, bytesOut }, { status: 101, bytesIn: 4, bytesOut: 5 });
  });

  for (const [name, { bytes, expected }] of Object.entries({
    'that are no HTTP': { bytes: 'secret-bytes\r\n\r\n', expected: { method: '', status: 400, reason: 'no HTTP' } },
    'that come too slowly': { bytes: 'GET /secret-bytes HT', expected: { method: '', status: 408, reason: 'the request does not arrive' } },
    'that ask for a tunnel': { bytes: `CONNECT secret-bytes:443 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, expected: { method: 'CONNECT', status: 400, reason: 'CONNECT' } },
  })) {
    test(`has a line for bytes ${name}, and the figures count them`, async () => {
      const counted: unknown[] = [];
      const observer = { ...UNOBSERVED, began: (version: string) => void counted.push(version), ended: ({ status }: ExchangeRecord, { refusal }: { refusal: unknown }) => void counted.push(status, refusal) };
      await using strict = await ProxyBed.start({ headersMs: 100 }, undefined, observer);
      const socket = await strict.raw();
      socket.write(bytes);
      const answer = await readAll(socket);
      const { method, status, reason, requestId, microvmId } = await strict.line();
      assert.deepEqual({ method, status, reason }, expected);
      assert.equal(microvmId, undefined);
      assert.ok(answer.includes(`\r\nx-amzn-requestid: ${requestId as string}\r\n`));
      assert.deepEqual(counted, ['http/1.1', status, status === 408 ? 'tooSlow' : 'malformed']);
      assert.ok(!JSON.stringify(strict.logged).includes('secret-bytes'));
    });
  }

  test('has none for a connection that never said a word', async () => {
    await using strict = await ProxyBed.start({ headersMs: 100 });
    assert.equal(await readAll(await strict.raw()), '');
    await strict.ask();
    assert.equal((await strict.line())['status'], 502);
    assert.equal(strict.logged.length, 1);
  });

  test('never has what an application said that is no HTTP', async () => {
    await bed.rawApp((socket) => void socket.end('HTTP/1.1 200 OK\r\nno-field secret-bytes\r\n\r\n'), 9002);
    assert.equal((await bed.ask({ headers: { 'X-aws-proxy-port': '9002' } })).status, 502);
    const { err } = await bed.line();
    assert.match(JSON.stringify(err), /SyntaxFault/);
    const kept = JSON.stringify(bed.logged);
    assert.ok(!kept.includes('secret-bytes') && !kept.includes('rawPacket'));
  });

  test('never has a token, a path or a query', async () => {
    const token = await bed.token();
    const secrets = { token, header: 'secret-header', path: 'secret-path', query: 'secret-query' };
    const headers = { 'X-aws-proxy-auth': token, Authorization: secrets.header, Cookie: secrets.header };
    for (const version of VERSIONS) await bed.ask({ version, headers, path: `/${secrets.path}?key=${secrets.query}` });
    await bed.ask({ headers: { 'X-aws-proxy-auth': `${token}x`, 'X-aws-proxy-port': '1' }, path: `/${secrets.path}` });
    await bed.ask({ headers: { ...headers, 'X-aws-proxy-port': '1' }, path: `/${secrets.path}` });
    await bed.line(({ reason }) => reason === 'nothing listens on port 1');
    const text = JSON.stringify(bed.logged, (_name, value: unknown) => (value instanceof Error ? Object.assign({ said: `${value.stack} ${String(value.cause)}` }, value) : value));
    for (const [what, secret] of Object.entries(secrets)) assert.equal(text.includes(secret), false, what);
  });
});
