/** Applications that speak TLS themselves, found out by asking (section 5.4). */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import { connect } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

suite('an application behind TLS of its own', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let certificate: { cert: Buffer; key: Buffer };
  let asked = 0;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    // Any certificate does: nobody checks it.
    certificate = { cert: await readFile(bed.certificates.certPath), key: await readFile(bed.certificates.keyPath) };
    asked = 0;
    const app = createServer(certificate, (request, response) => {
      asked++;
      request.pipe(response);
    });
    await bed.serverApp(app);
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  for (const version of VERSIONS) {
    test(`gets its first request over ${version} whole and once, and every later one over TLS at once`, async () => {
      assert.equal((await bed.ask({ version, method: 'POST', body: 'first' })).body, 'first');
      assert.equal(asked, 1);
      // In plain text, then over TLS.
      assert.equal(bed.destinations.connects.length, 2);
      bed.proxy.forget(MICROVM);
      assert.equal((await bed.ask({ version })).status, 200);
      assert.equal(bed.destinations.connects.length, 4);
      const answers = await Promise.all([1, 2, 3].map((at) => bed.ask({ version, method: 'POST', body: `${at}` })));
      assert.deepEqual(answers.map(({ body }) => body), ['1', '2', '3']);
      assert.ok(bed.destinations.connects.length <= 7);
    });

    test(`a first request over ${version} that is too big to be said again: 502, the next one passes`, async () => {
      const body = 'x'.repeat(1024 * 1024);
      assert.equal((await bed.ask({ version, method: 'POST', body })).status, 502);
      assert.equal((await bed.ask({ version, method: 'POST', body })).body, body);
    });
  }

  test('that answers plain text in plain text with 400, as Go and nginx do, gets its request', async () => {
    await bed.rawApp((socket) => {
      socket.once('data', (bytes) => {
        if (bytes[0] !== 22) return void socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n');
        const tls = connect({ host: '127.0.0.1', port: bed.destinations.ports.get(8080)! });
        tls.write(bytes);
        socket.pipe(tls).pipe(socket);
      });
    }, 9001);
    const ask = (body: string) => bed.ask({ method: 'POST', body, headers: { 'X-aws-proxy-port': '9001' } });
    // What it says to that is no answer of the application's.
    const large = 'x'.repeat(1024 * 1024);
    assert.equal((await ask(large)).status, 502);
    assert.equal((await ask(large)).body, large);
    bed.proxy.forget(MICROVM);
    assert.equal((await ask('over TLS')).body, 'over TLS');
  });

  test('may agree on HTTP/2 with a client of HTTP/2, and has to where it is forced', async () => {
    const app = createSecureServer({ ...certificate, allowHTTP1: false });
    app.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200 });
      stream.end(headers[':scheme']);
    });
    await bed.serverApp(app, 9002);
    const headers = { 'X-aws-proxy-port': '9002' };
    assert.equal((await bed.ask({ headers: { ...headers, 'X-aws-proxy-force-h2': 'true' } })).status, 200);
    assert.equal((await bed.ask({ version: 'HTTP/2', headers })).body, 'https');
    assert.equal((await bed.ask({ headers })).status, 502);
  });
});

suite('an application without TLS', { timeout: 30_000 }, () => {
  test('gets nothing but its requests, and one connection', async () => {
    await using bed = await ProxyBed.start();
    await bed.app((request, response) => request.pipe(response));
    for (let at = 0; at < 3; at++) assert.equal((await bed.ask({ method: 'POST', body: `${at}` })).body, `${at}`);
    assert.equal(bed.destinations.connects.length, 1);
  });

  test('may answer 400, or hang up: the client gets that, or 502', async () => {
    await using bed = await ProxyBed.start();
    await bed.app((request, response) => (request.url === '/gone' ? response.destroy() : response.writeHead(400).end('mine')));
    assert.equal((await bed.ask({ path: '/gone' })).status, 502);
    const answer = await bed.ask();
    assert.deepEqual([answer.status, answer.body], [400, 'mine']);
  });

  test('may answer its first request 400 and keep the connection: no other one is opened', async () => {
    await using bed = await ProxyBed.start();
    await bed.app((_request, response) => response.writeHead(400).end('mine'));
    for (let at = 0; at < 3; at++) assert.equal((await bed.ask({ method: 'POST', body: 'once' })).body, 'mine');
    assert.equal(bed.destinations.connects.length, 1);
  });

  test('that hangs up after a 400 is asked for TLS once, not each time', async () => {
    await using bed = await ProxyBed.start();
    await bed.app((_request, response) => response.writeHead(400, { Connection: 'close' }).end('mine'));
    for (let at = 0; at < 3; at++) assert.equal((await bed.ask()).body, 'mine');
    assert.equal(bed.destinations.connects.length, 4);
  });
});
