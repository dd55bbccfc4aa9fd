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
    await bed.app((request, response) => {
      asked.push(request.url ?? '');
      request.resume().on('end', () => response.end('served'));
    });
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

  const MALFORMED: Record<string, () => string> = {
    'no HTTP at all': () => '\x00\x01\x02 hello\r\n\r\n',
    'HTTP/2 without ALPN': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'no Host': () => `GET / HTTP/1.1\r\nX-aws-proxy-auth: ${auth}\r\n\r\n`,
    'two Hosts': () => `GET / HTTP/1.1\r\n${good()}Host: ${HOST}\r\nConnection: close\r\n\r\n`,
    'another Host in the target': () => `GET https://other.example/ HTTP/1.1\r\n${good()}Connection: close\r\n\r\n`,
    'Content-Length and Transfer-Encoding': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'Transfer-Encoding and Content-Length': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
    'two Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx`,
    'two equal Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody`,
    'a list of Content-Lengths': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 4, 4\r\n\r\nbody`,
    'a signed Content-Length': () => `POST / HTTP/1.1\r\n${good()}Content-Length: +4\r\n\r\nbody`,
    'a Content-Length beyond 64 bits': () => `POST / HTTP/1.1\r\n${good()}Content-Length: 99999999999999999999\r\n\r\nbody`,
    'an unknown transfer coding': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n`,
    'chunked that is not last': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    'chunked twice': () => `POST / HTTP/1.1\r\n${good()}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n`,
    'obs-fold': () => `GET / HTTP/1.1\r\n${good()}X-Folded: a\r\n b\r\nConnection: close\r\n\r\n`,
    'a space before the colon': () => `GET / HTTP/1.1\r\n${good()}X-Bad : a\r\n\r\n`,
    'bare LF': () => `GET / HTTP/1.1\n${good().replaceAll('\r\n', '\n')}\n`,
    'bare CR in a value': () => `GET / HTTP/1.1\r\n${good()}X-Bad: a\rb\r\n\r\n`,
    'NUL in a value': () => `GET / HTTP/1.1\r\n${good()}X-Bad: a\x00b\r\n\r\n`,
    'CONNECT': () => `CONNECT ${HOST}:443 HTTP/1.1\r\n${good()}\r\n`,
    'headers too large': () => `GET / HTTP/1.1\r\n${good()}X-Large: ${'x'.repeat(20_000)}\r\n\r\n`,
    'a target too large': () => `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${good()}\r\n`,
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
    assert.equal(line['reason'], 'the client left before its request was complete');
  });

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
    'no HTTP': 'hello\r\n\r\n',
    'a split answer': 'HTTP/1.1 200 OK\r\nX-Bad: a\nInjected: b\x00\r\nContent-Length: 0\r\n\r\n',
    'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
    'a length and chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'an unasked 101': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    'headers without end': `HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(40_000)}`,
    'an impossible status': 'HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n',
  })) {
    test(`an application that answers with ${name}: 502`, async () => {
      await bed.rawApp((socket) => socket.once('data', () => socket.end(bytes)), 9002);
      const answer = await bed.fetch({ headers: { 'X-aws-proxy-port': '9002' } });
      assert.equal(answer.status, 502);
      assert.equal(answer.body, '');
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
