/** Bytes that no decent client sends. The proxy refuses or hangs up, passes nothing on, and serves the next one. */
import assert from 'node:assert/strict';
import { connect as tcpConnect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { HOST, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';

suite('the proxy survives', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let auth = '';
  const asked: string[] = [];
  before(async () => {
    bed = await ProxyBed.start({ headersMs: 300, handshakeMs: 300, keepAliveMs: 300, silenceMs: 1000, headerBytes: 16 * 1024 });
    const app = await bed.app((request, response) => {
      asked.push(request.url ?? '');
      request.resume().on('end', () => response.end('served'));
    });
    app.on('checkExpectation', (request, response) => app.emit('request', request, response));
    auth = await bed.token();
  });
  after(() => bed[Symbol.asyncDispose]());

  const good = () => `Host: ${HOST}\r\nX-aws-proxy-auth: ${auth}\r\n`;

  /** Sends bytes and returns all that comes back until the proxy hangs up. */
  async function exchange(bytes: string): Promise<string> {
    const socket = await bed.raw();
    socket.write(Buffer.from(bytes, 'latin1'));
    return readAll(socket);
  }

  test('a refusal that Node would give by itself is ours: with a request id, and a line in the log', async () => {
    const refused = await exchange(`GET / HTTP/1.1\r\nX-aws-proxy-auth: ${auth}\r\n\r\n`);
    const requestId = /^HTTP\/1\.1 400 [^]*\r\nx-amzn-requestid: (.*)\r\n/.exec(refused)?.[1];
    assert.equal((await bed.line((line) => line['requestId'] === requestId))['reason'], 'no Host');
    // Section 5.5 has no 417: whether it can be met is the application's affair.
    const unmet = await exchange(`GET /expects HTTP/1.1\r\nHost: ${HOST}\r\nExpect: the-moon\r\nConnection: close\r\n\r\n`);
    assert.match(unmet, /^HTTP\/1\.1 403 [^]*\r\nx-amzn-requestid: /);
    assert.match(await exchange(`GET /expects HTTP/1.1\r\n${good()}Expect: the-moon\r\nConnection: close\r\n\r\n`), /^HTTP\/1\.1 200 /);
    assert.equal(asked.pop(), '/expects');
  });

  const MALFORMED: Record<string, () => string> = {
    // RFC 9112, 3.
    'no HTTP at all': () => '\x00\x01\x02 hello\r\n\r\n',
    // RFC 9113, 3.2.
    'HTTP/2 without ALPN': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    // RFC 9112, 3.2.
    'no Host': () => `GET / HTTP/1.1\r\nX-aws-proxy-auth: ${auth}\r\n\r\n`,
    // RFC 9112, 3.2.
    'two Hosts': () => `GET / HTTP/1.1\r\n${good()}Host: ${HOST}\r\nConnection: close\r\n\r\n`,
    // RFC 9112, 3.2.2.
    'another Host in the target': () => `GET https://other.example/ HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`,
    // RFC 9112, 6.1.
    'Content-Length and Transfer-Encoding': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    // RFC 9112, 6.1.
    'Transfer-Encoding and Content-Length': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
    // RFC 9112, 6.3.
    'two Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx`,
    // RFC 9110, 8.6.
    'two equal Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody`,
    // RFC 9110, 8.6.
    'a list of Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4, 4\r\n\r\nbody`,
    // RFC 9110, 8.6.
    'a signed Content-Length': () => `POST / HTTP/1.1\r\n${good()}Content-Length: +4\r\n\r\nbody`,
    // RFC 9110, 8.6.
    'a Content-Length beyond 64 bits': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 99999999999999999999\r\n\r\nbody`,
    // RFC 9112, 6.1.
    'an unknown transfer coding': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n`,
    // RFC 9112, 6.3.
    'chunked that is not last': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    // RFC 9112, 6.1.
    'chunked twice': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n`,
    // RFC 9112, 5.2.
    'obs-fold': () => `GET / HTTP/1.1\r\n${good()}X-Folded: a\r\n b\r\nConnection: close\r\n\r\n`,
    // RFC 9112, 5.1.
    'a space before the colon': () => `GET / HTTP/1.1\r\n${good()}X-Bad : a\r\n\r\n`,
    // RFC 9112, 2.2.
    'bare LF': () => `GET / HTTP/1.1\n${good().replaceAll('\r\n', '\n')}\n`,
    // RFC 9112, 2.2.
    'bare CR in a value': () => `GET / HTTP/1.1\r\n${good()}X-Bad: a\rb\r\n\r\n`,
    // RFC 9110, 5.5.
    'NUL in a value': () => `GET / HTTP/1.1\r\n${good()}X-Bad: a\x00b\r\n\r\n`,
    // RFC 9112, 6.1.
    'a transfer coding in HTTP/1.0': () => `POST / HTTP/1.0\r\n${good()}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9112, 6.1.
    'an unknown coding before a second request': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9110, 5.6.1.
    'an empty member of Transfer-Encoding': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n`,
    // RFC 9110, 5.6.3.
    'a vertical tab before a coding': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
    // RFC 9110, 8.6.
    'an empty Content-Length': () => `POST / HTTP/1.1\r\n${good()}Content-Length: \r\n\r\n`,
    // RFC 9110, 8.6.
    'a Content-Length in hexadecimal': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 0x4\r\n\r\nbody`,
    // RFC 9112, 2.3.
    'version 2.0 in a line of text': () => `GET / HTTP/2.0\r\n${good()}Connection: close\r\n\r\n`,
    // RFC 9112, 2.3.
    'version 1.2': () => `GET / HTTP/1.2\r\n${good()}\r\n`,
    // RFC 9112, 3.
    'a line without a version': () => 'GET /\r\n\r\n',
    // RFC 9112, 3.2.2.
    'a target of another scheme': () => `GET ws://other.example/ HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`,
    // RFC 9110, 4.2.4.
    'a target with another user': () => `GET https://a@${HOST}/ HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`,
    // RFC 9112, 3.2.4.
    'the asterisk of another method': () => `GET * HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`,
    // RFC 9112, 3.2.
    'a target with a space': () => `GET /a b HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9112, 2.2.
    'bare LF within the headers': () => `GET / HTTP/1.1\r\n${good()}a: b\nX: y\r\n\r\n`,
    // RFC 9112, 2.2.
    'CR before CRLF': () => `GET / HTTP/1.1\r\n${good()}a: b\r\r\n\r\n`,
    // RFC 9112, 2.2.
    'whitespace before the first header': () => `GET / HTTP/1.1\r\n ${good()}\r\n`,
    // RFC 9110, 5.1.
    'an empty name': () => `GET / HTTP/1.1\r\n${good()}: x\r\n\r\n`,
    // RFC 9112, 5.
    'a line without a colon': () => `GET / HTTP/1.1\r\n${good()}abc\r\n\r\n`,
    // RFC 9110, 9.3.6.
    'CONNECT': () => `CONNECT ${HOST}:443 HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9110, 5.4.
    'headers too large': () => `GET / HTTP/1.1\r\n${good()}X-Large: ${'x'.repeat(20_000)}\r\n\r\n`,
    // RFC 9112, 3.
    'a target too large': () => `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9110, 5.4.
    'too many headers': () => `GET / HTTP/1.1\r\n${good()}${'a: b\r\n'.repeat(300)}Connection: close\r\n\r\n`,
  };
  for (const [name, bytes] of Object.entries(MALFORMED)) {
    test(`${name}: 400, and nothing of it reaches the application`, async () => {
      const before = bed.destinations.connects.length + asked.length;
      const answer = await exchange(bytes());
      assert.equal(bed.destinations.connects.length + asked.length, before);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
    });
  }

  test('a bad chunk size, which shows only after the request was passed on: 400, and the application is told', async () => {
    const socket = await bed.raw();
    const told = Promise.withResolvers<void>();
    await bed.rawApp((application) => {
      application.once('end', () => told.resolve()).once('error', () => told.resolve());
      application.once('data', () => socket.write('zz\r\n'));
    }, 9004);
    socket.write(`POST / HTTP/1.1\r\n${good()}X-aws-proxy-port: 9004\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n`);
    assert.match(await readAll(socket), /^HTTP\/1\.1 400 Bad Request\r\n/);
    await told.promise;
    const line = await bed.line((candidate) => candidate['port'] === 9004);
    assert.deepEqual([line['status'], line['reason']], [400, 'no HTTP']);
  });

  for (const [name, body] of Object.entries({
    // RFC 9112, 7.1.
    'a size with a prefix': '0x4\r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.
    'a signed size': '+4\r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.
    'a negative size': '-1\r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.1.
    'a space after the size': '4 \r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.
    'a size beyond 64 bits': '10000000000000004\r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 2.2 and 7.1.
    'bare LF after the size': '4\nbody\r\n0\r\n\r\n',
    // RFC 9112, 2.2 and 7.1.
    'bare CR after the size': '4\rbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.
    'data longer than its size': '3\r\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.
    'no CRLF after the data': '4\r\nbodyX0\r\n\r\n',
    // RFC 9112, 2.2 and 7.1.
    'bare LF after the last chunk': '4\r\nbody\r\n0\n\n',
    // RFC 9112, 7.1.1.
    'bare LF in an extension': '4;a\nbody\r\n0\r\n\r\n',
    // RFC 9112, 7.1.1.
    'an endless extension': `4;a=${'x'.repeat(20_000)}\r\nbody\r\n0\r\n\r\n`,
    // RFC 9112, 5.2 and 7.1.2.
    'a folded trailer': '0\r\nx: y\r\n z\r\n\r\n',
    // RFC 9112, 5.1 and 7.1.2.
    'a trailer with a space before the colon': '0\r\nx : y\r\n\r\n',
    // RFC 9110, 5.5; RFC 9112, 7.1.2.
    'a trailer with NUL': '0\r\nx: a\x00b\r\n\r\n',
    // RFC 9110, 6.5.1.
    'a trailer that frames': '0\r\nContent-Length: 5\r\n\r\n',
  })) {
    test(`${name} in a chunked body: 400, and the application gets no complete request`, async () => {
      const complete = asked.length;
      let completed = false;
      await bed.app((request, response) => request.resume().on('end', () => ((completed = true), response.end())), 9005);
      const answer = await exchange(`POST / HTTP/1.1\r\n${good()}X-aws-proxy-port: 9005\r\nTransfer-Encoding: chunked\r\n\r\n${body}GET / HTTP/1.1\r\n${good()}\r\n`);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
      assert.deepEqual([completed, asked.length], [false, complete]);
    });
  }

  const BEHIND: Record<string, () => string> = {
    // RFC 9112, 9.3.2.
    'an Upgrade': () => `GET /next HTTP/1.1\r\n${good()}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
    // RFC 9110, 9.3.6.
    'CONNECT': () => `CONNECT ${HOST}:443 HTTP/1.1\r\n${good()}\r\n`,
    // RFC 9112, 3.
    'garbage': () => '\x00\x01\r\n\r\n',
    // RFC 9112, 7.1.
    'a broken body': () => `POST /next HTTP/1.1\r\n${good()}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    // RFC 9112, 9.3.2.
    'more requests than may wait': () => `GET /next HTTP/1.1\r\n${good()}\r\n`.repeat(200),
  };
  for (const [name, next] of Object.entries(BEHIND)) {
    // RFC 9112, 9.3.2: answers come in the order of their requests.
    test(`${name} behind a request that is not answered: hung up on, and not answered in its place`, async () => {
      const { promise: arrived, resolve } = Promise.withResolvers<void>();
      await bed.rawApp((application) => application.once('data', () => resolve()), 9006);
      const socket = await bed.raw();
      const answer = readAll(socket).catch(() => '');
      socket.write(`GET / HTTP/1.1\r\n${good()}X-aws-proxy-port: 9006\r\n\r\n`);
      await arrived;
      asked.length = 0;
      socket.write(Buffer.from(next(), 'latin1'));
      assert.equal(await answer, '');
      assert.deepEqual(asked, []);
    });
  }

  test('the same request in decent form: 200', async () => {
    assert.match(await exchange(`GET / HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`), /^HTTP\/1\.1 200 OK\r\n[^]*served/);
    assert.match(await exchange(`GET https://${HOST}/absolute?x HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`), /^HTTP\/1\.1 200 OK\r\n/);
    assert.equal(asked.at(-1), '/absolute?x');
    assert.match(await exchange(`OPTIONS * HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`), /^HTTP\/1\.1 200 OK\r\n/);
    assert.equal(asked.at(-1), '*');
    assert.match(await exchange(`GET /old HTTP/1.0\r\n${good()}\r\n`), /^HTTP\/1\.1 200 OK\r\n[^]*served$/);
  });

  test('pipelined requests: one after the other, in order', async () => {
    asked.length = 0;
    const paths = Array.from({ length: 50 }, (_, at) => `/${at}`);
    const requests = paths.map((path, at) => `GET ${path} HTTP/1.1\r\n${good()}${at === 49 ? 'Connection: close\r\n' : ''}\r\n`);
    const answers = await exchange(requests.join(''));
    assert.equal(answers.match(/served/g)?.length, 50);
    assert.deepEqual(asked, paths);
  });

  test('a client that sends its headers too slowly: 408', async () => {
    assert.match(await exchange('GET / HT'), /^HTTP\/1\.1 408 Request Timeout\r\n/);
  });

  test('a client that asks nothing, before or after a request: hung up on', async () => {
    await exchange('');
    assert.match(await exchange(`GET / HTTP/1.1\r\n${good()}\r\n`), /^HTTP\/1\.1 200 OK\r\n/);
  });

  test('a body that stops arriving: hung up on, and the application is told', async () => {
    const line = bed.line((candidate) => candidate['method'] === 'PUT');
    await exchange(`PUT / HTTP/1.1\r\n${good()}Content-Length: 100\r\n\r\nhalf`);
    assert.equal((await line)['bytesIn'], 4);
  });

  test('plain HTTP, garbage and silence where TLS should be', async () => {
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff garbage', '']) {
      const socket = tcpConnect({ host: '127.0.0.1', port: bed.port });
      socket.on('error', () => undefined);
      socket.write(bytes);
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
    }
  });

  for (const [name, bytes] of Object.entries({
    // RFC 9112, 4.
    'no HTTP': 'hello\r\n\r\n',
    // RFC 9112, 2.2; RFC 9110, 5.5.
    'a split answer': 'HTTP/1.1 200 OK\r\nX-Bad: a\nInjected: b\x00\r\nContent-Length: 0\r\n\r\n',
    // RFC 9112, 6.3.
    'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
    // RFC 9112, 6.1.
    'a length and chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    // RFC 9112, 6.1.
    'chunks and a length': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n',
    // RFC 9112, 6.1 and 6.3.
    'chunks twice': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    // RFC 9110, 7.8 and 15.2.2.
    'an unasked 101': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    // RFC 9110, 5.4.
    'headers without end': `HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(40_000)}`,
    // RFC 9110, 15.
    'an impossible status': 'HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n',
    // RFC 9110, 7.8 and 15.2.2.
    'an unasked 101 that says nothing': 'HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged',
    // RFC 9112, 6.1.
    'an unknown transfer coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    // RFC 9110, 15.2.
    'a flood of interim answers': 'HTTP/1.1 102 Processing\r\nX-Some: words\r\n\r\n'.repeat(10_000),
    // RFC 9112, 2.2.
    'a bare LF': 'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
    // RFC 9112, 5.2.
    'a folded header': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n',
    // RFC 9112, 5.1.
    'a space before the colon': 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n',
    // RFC 9113, 3.4.
    'bytes of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  })) {
    test(`an application that answers with ${name}: 502`, async () => {
      await bed.rawApp((socket) => socket.once('data', () => socket.end(bytes)), 9002);
      const answer = await bed.fetch({ headers: { 'X-aws-proxy-port': '9002' } });
      assert.equal(answer.status, 502);
      assert.equal(answer.body, '');
    });
  }

  for (const [name, trailers] of Object.entries({
    // RFC 9110, 6.5 (any name is one).
    'names that every object has': 'constructor: a\r\n__proto__: b\r\ntoString: c\r\n',
    // RFC 9110, 5.3 and 6.5.
    'one value twice': 'etag: a\r\netag: b\r\nage: 1\r\nage: 2\r\n',
  })) {
    test(`an application whose trailers are ${name}: the client of HTTP/2 has its answer`, async () => {
      await bed.rawApp((socket) => socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`)), 9007);
      const answer = await bed.ask({ version: 'HTTP/2', headers: { 'X-aws-proxy-port': '9007', TE: 'trailers' } });
      assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    });
  }

  const AFTER_AN_ANSWER: Record<string, string> = {
    // RFC 9112, 9.2.
    'a second answer in the same packet': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged',
    // RFC 9112, 9.2.
    'the beginning of a second answer': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n',
    // RFC 9112, 6.3 and 9.2.
    'more than its length': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokforged',
    // RFC 9112, 7.1 and 9.2.
    'more than its chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nforged',
    // RFC 9112, 6.3.
    'a body of what has none': 'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged',
  };
  for (const [at, [name, answer]] of Object.entries(AFTER_AN_ANSWER).entries()) {
    // RFC 9112, 9.2: what comes after an answer answers nothing, and nothing more is asked on that connection.
    test(`an application that sends ${name}: no client gets it`, async () => {
      const port = 9010 + at;
      let connections = 0;
      await bed.rawApp((socket) => {
        connections += 1;
        socket.on('data', () => socket.write(answer));
      }, port);
      for (let turn = 1; turn <= 4; turn++) {
        const { status, body } = await bed.fetch({ headers: { 'X-aws-proxy-port': `${port}` } });
        assert.deepEqual([status, body, connections], answer.includes(' 204 ') ? [204, '', turn] : [200, 'ok', turn]);
      }
    });
  }

  test('an application that speaks out of turn: the next request does not get those bytes', async () => {
    let connections = 0;
    await bed.rawApp((socket) => {
      connections++;
      const body = `${connections}`;
      socket.on('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${body}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged`);
      });
    }, 9003);
    const first = await bed.fetch({ headers: { 'X-aws-proxy-port': '9003' } });
    assert.equal(first.body, '1');
    const second = await bed.fetch({ headers: { 'X-aws-proxy-port': '9003' } });
    assert.equal(second.body, '2');
  });

  test('all of this, and serves the next request', async () => {
    assert.equal((await bed.fetch()).body, 'served');
  });
});
