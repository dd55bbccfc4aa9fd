/** What only HTTP/2 has, from the client (section 5.4) and to the application (section 5.2). */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { constants, type ClientHttp2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import { DOMAIN, HOST, OTHER_ENDPOINT, OTHER_MICROVM, ProxyBed, readAll, wholeOf } from '../../fakes/proxy-bed.ts';
import { askIn, openSession, VERSIONS } from '../../fakes/proxy-client.ts';

const MIB = 1024 * 1024;

suite('HTTP/2 from the client', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let session: ClientHttp2Session;
  let headers: Record<string, string>;
  beforeEach(async () => {
    bed = await ProxyBed.start({ keepAliveMs: 1000 });
    session = openSession(bed.place);
    headers = { Host: `${HOST}:${bed.port}`, 'x-aws-proxy-auth': await bed.token() };
  });
  afterEach(async () => {
    session.destroy();
    await bed[Symbol.asyncDispose]();
  });

  test('is agreed on by ALPN, on the listener of HTTP/1.1', async () => {
    for (const [offered, agreed] of [[['h2', 'http/1.1'], 'h2'], [['http/1.1', 'h2'], 'h2'], [['http/1.1'], 'http/1.1'], [[], false]] as const) {
      const socket = tlsConnect({ port: bed.port, ca: bed.ca, servername: HOST, ALPNProtocols: [...offered] });
      await once(socket, 'secureConnect');
      assert.equal(socket.alpnProtocol, agreed);
      socket.destroy();
    }
  });

  test('carries many requests at once over one connection, each with its own answer', async () => {
    await bed.app((request, response) => request.pipe(response));
    const bodies = Array.from({ length: 100 }, (_, at) => `request ${at}`);
    const asked = bodies.map((body) => {
      const one = askIn(session, { method: 'POST', headers, isEmpty: false });
      one.end(body);
      return one;
    });
    const answers = await Promise.all(asked.map(async ({ answer }) => wholeOf(await answer)));
    assert.deepEqual(answers.map(({ body }) => body), bodies);
  });

  test('is routed by :authority, request by request', async () => {
    await bed.app((request, response) => response.end(request.headers.host));
    const other = { Host: `${OTHER_ENDPOINT}.${DOMAIN}`, 'x-aws-proxy-auth': await bed.token({ microvmId: OTHER_MICROVM }) };
    const ask = async (given: Record<string, string>) => wholeOf(await askIn(session, { headers: given }).answer);
    assert.equal((await ask(headers)).body, headers['Host']);
    assert.equal((await ask(other)).body, other.Host);
    assert.deepEqual(bed.destinations.connects.map(({ microvmId }) => microvmId).includes(OTHER_MICROVM), true);
    // Section 5.5: token of another microVM.
    const crossed = await ask({ ...headers, Host: other.Host });
    assert.deepEqual([crossed.status, crossed.body], [403, 'Token authentication failed']);
  });

  test('with Host beside :authority passes where both say the same, else 400', async () => {
    await bed.app((request, response) => response.end(request.headers.host));
    const raw = (host: string, authority: string) => session.request([':method', 'GET', ':path', '/', ':authority', authority, 'host', host, 'x-aws-proxy-auth', headers['x-aws-proxy-auth']!]);
    for (const [host, authority, status] of [[HOST, HOST, 200], [HOST, `${OTHER_ENDPOINT}.${DOMAIN}`, 400]] as const) {
      const [got] = (await once(raw(host, authority), 'response')) as [IncomingHttpHeaders];
      assert.equal(got[':status'], status);
    }
  });

  test('CONNECT, and more fields than the limit: 400, and the connection goes on', async () => {
    await bed.app((_request, response) => response.end('served'));
    const stream = session.request({ ':method': 'CONNECT', ':authority': HOST });
    assert.equal(((await once(stream, 'response')) as [IncomingHttpHeaders])[0][':status'], 400);
    const many = Object.fromEntries(Array.from({ length: 250 }, (_, at) => [`x-${at}`, '']));
    assert.equal((await wholeOf(await askIn(session, { headers: { ...headers, ...many } }).answer)).status, 400);
    const tooMany = Object.fromEntries(Array.from({ length: 2500 }, (_, at) => [`x-${at}`, '']));
    assert.equal(await askIn(session, { headers: { ...headers, ...tooMany } }).closed, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.equal((await wholeOf(await askIn(session, { headers }).answer)).body, 'served');
  });

  test('an answer that is complete before the body has arrived ends the upload, not the connection', async () => {
    await bed.app((_request, response) => response.writeHead(413, { Connection: 'close' }).end('too large'));
    const asked = askIn(session, { method: 'POST', headers, isEmpty: false });
    asked.sink.write('the beginning');
    const answer = await wholeOf(await asked.answer);
    assert.deepEqual([answer.status, answer.body], [413, 'too large']);
    // RFC 9113, 8.1.
    assert.equal(await asked.closed, constants.NGHTTP2_NO_ERROR);
    assert.equal((await wholeOf(await askIn(session, { headers }).answer)).status, 413);
    const line = await bed.line(({ method }) => method === 'POST');
    assert.equal(line['reason'], undefined);
  });

  test('a refusal ends the upload, not the connection', async () => {
    const asked = askIn(session, { method: 'POST', headers: { ...headers, 'x-aws-proxy-auth': 'x' }, isEmpty: false });
    asked.sink.write(Buffer.alloc(MIB));
    const answer = await wholeOf(await asked.answer);
    assert.deepEqual([answer.status, answer.body], [403, 'Request missing authentication']);
    assert.equal(await asked.closed, constants.NGHTTP2_NO_ERROR);
    assert.equal(session.closed, false);
  });

  test('a stream that nobody reads does not hold up the next one', async () => {
    await bed.app((request, response) => (request.url === '/all' ? response.end(Buffer.alloc(32 * MIB)) : response.end('served')));
    const stalled = askIn(session, { path: '/all', headers });
    (await stalled.answer).body.pause();
    const stuck = askIn(session, { method: 'POST', path: '/stuck', headers: { ...headers, 'x-aws-proxy-port': '9001' }, isEmpty: false });
    await bed.rawApp((socket) => socket.pause(), 9001);
    stuck.sink.write(Buffer.alloc(4 * MIB));
    assert.equal((await wholeOf(await askIn(session, { headers }).answer)).body, 'served');
  });

  test('streams that are reset at once harm nobody, and are no fault of ours', async () => {
    await bed.app((_request, response) => response.end('served'));
    await Promise.all(
      Array.from({ length: 200 }, () => {
        const asked = askIn(session, { headers });
        asked.abort();
        return asked.closed;
      }),
    );
    assert.deepEqual(bed.logged.filter(({ status }) => status === 500), []);
    assert.equal((await bed.ask({ version: 'HTTP/2' })).body, 'served');
  });

  test('a silent connection is ended after its time, one with a request under way is not', async () => {
    const answered = Promise.withResolvers<() => void>();
    await bed.app((_request, response) => answered.resolve(() => response.end('late')));
    const asked = askIn(session, { headers });
    const idle = openSession(bed.place);
    const finish = await answered.promise;
    await once(idle, 'close');
    finish();
    assert.equal((await wholeOf(await asked.answer)).body, 'late');
    await once(session, 'close');
  });

  test('at the end of the proxy: GOAWAY, and what is under way is answered', async () => {
    const answered = Promise.withResolvers<() => void>();
    await bed.app((_request, response) => answered.resolve(() => response.end('late')));
    const asked = askIn(session, { headers });
    const finish = await answered.promise;
    const goaway = once(session, 'goaway');
    const closed = bed.proxy.close();
    await goaway;
    finish();
    assert.equal((await wholeOf(await asked.answer)).body, 'late');
    await closed;
  });

  test('curl gets through, with either version', { skip: spawnSync('curl', ['--version']).stdout?.includes('HTTP2') ? false : 'no curl with HTTP/2' }, async () => {
    await bed.app((request, response) => request.pipe(response));
    for (const [option, version] of [['--http2', '2'], ['--http1.1', '1.1']] as const) {
      const { stdout } = await promisify(execFile)('curl', [
        ...['-sS', option, '--noproxy', '*', '--cacert', bed.certificates.bundlePath, '--resolve', `${HOST}:${bed.port}:127.0.0.1`],
        ...['-H', `X-aws-proxy-auth: ${headers['x-aws-proxy-auth']}`, '--data-binary', 'x'.repeat(2000), '-w', '%{http_version}'],
        `https://${HOST}:${bed.port}/`,
      ]);
      assert.equal(stdout, `${'x'.repeat(2000)}${version}`);
    }
  });
});

for (const version of VERSIONS) {
  suite(`X-aws-proxy-force-h2 from ${version}`, { timeout: 30_000 }, () => {
    let bed: ProxyBed;
    let connections = 0;
    let handler: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void = () => undefined;
    const headers = { 'X-aws-proxy-force-h2': 'true' };
    before(async () => {
      bed = await ProxyBed.start();
      const app = await bed.http2App((stream, given) => handler(stream, given));
      app.on('session', () => connections++);
    });
    after(() => bed[Symbol.asyncDispose]());

    test('speaks HTTP/2 to the application, trailers and all', async () => {
      let got: IncomingHttpHeaders = {};
      let trailers: IncomingHttpHeaders = {};
      handler = (stream, given) => {
        got = given;
        stream.on('trailers', (all) => (trailers = all));
        stream.additionalHeaders({ ':status': 103, link: '</a.css>' });
        stream.respond({ ':status': 200, 'x-kept': ['a', 'b'] }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.pipe(stream);
      };
      const ask = { version, method: 'POST', path: '/a?b', headers: { ...headers, TE: 'trailers', Cookie: ['a=1', 'b=2'] }, trailers: { 'x-sum': '42' } };
      const asked = await bed.begin(ask);
      asked.end('body');
      const answer = await wholeOf(await asked.answer);
      assert.deepEqual(asked.interim, [103]);
      assert.equal(answer.body, 'body');
      assert.equal(answer.headers['x-kept'], 'a, b');
      assert.deepEqual(answer.trailers, { 'grpc-status': '0' });
      assert.equal(trailers['x-sum'], '42');
      assert.deepEqual([got[':method'], got[':path'], got[':scheme'], got[':authority']], ['POST', '/a?b', 'http', `${HOST}:${bed.port}`]);
      assert.deepEqual(Object.keys(got).filter((name) => !name.startsWith(':')).toSorted(), ['cookie', 'te', 'x-amzn-requestid']);
      assert.equal(got.cookie, 'a=1; b=2');
    });

    test('uses the connection of the request before', async () => {
      handler = (stream) => stream.respond({ ':status': 204 }, { endStream: true });
      await bed.ask({ version, headers });
      connections = 0;
      for (let at = 0; at < 5; at++) assert.equal((await bed.ask({ version, headers })).status, 204);
      assert.equal(connections, 0);
    });

    test('a client that leaves is seen by the application as CANCEL', async () => {
      const code = new Promise((resolve) => {
        handler = (stream) => {
          stream.respond({ ':status': 200 });
          stream.write('some');
          stream.once('close', () => resolve(stream.rstCode));
        };
      });
      const asked = await bed.begin({ version, headers });
      const { body } = await asked.answer;
      body.on('error', () => undefined);
      await once(body, 'data');
      asked.abort();
      assert.equal(await code, constants.NGHTTP2_CANCEL);
    });

    test('an application that resets the stream: 502 before its answer, a broken one after', async () => {
      handler = (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      assert.equal((await bed.ask({ version, headers })).status, 502);
      handler = (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('half', () => stream.destroy(new Error('broken')));
      };
      // The head may be cut off with the rest.
      const whole = bed.begin({ version, headers }).then(({ answer }) => answer).then(({ body }) => readAll(body));
      await assert.rejects(whole, /aborted|hang up|closed without|NGHTTP2_INTERNAL_ERROR/);
    });

    test('an application that dies: 502 before its answer, a broken one after', async () => {
      handler = (stream) => stream.session!.destroy();
      assert.equal((await bed.ask({ version, headers })).status, 502);
      handler = (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('half', () => stream.session!.destroy());
      };
      // The head may be cut off with the rest.
      const whole = bed.begin({ version, headers }).then(({ answer }) => answer).then(({ body }) => readAll(body));
      await assert.rejects(whole, /aborted|hang up|closed without|NGHTTP2_INTERNAL_ERROR/);
    });

    test('an application that speaks HTTP/1.1 only: 502', async () => {
      await bed.app((_request, response) => response.end('not this'), 9001);
      assert.equal((await bed.ask({ version, headers: { ...headers, 'X-aws-proxy-port': '9001' } })).status, 502);
    });

    test('travels over any duplex stream, socket or not', async () => {
      const connect = bed.destinations.connect.bind(bed.destinations);
      bed.destinations.connect = async (microvmId, port, signal) => Duplex.from(await connect(microvmId, port, signal));
      bed.destinations.ports.set(9002, bed.destinations.ports.get(8080)!);
      handler = (stream) => {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      };
      for (let at = 0; at < 3; at++) {
        const answer = await bed.ask({ version, method: 'POST', body: `${at}`, headers: { ...headers, 'X-aws-proxy-port': '9002' } });
        assert.equal(answer.body, `${at}`);
      }
      bed.destinations.connect = connect;
    });
  });
}
