/** One exchange through the proxy, over either version of HTTP: what passes, what does not, streaming, back-pressure, ends (section 5). */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { fill, steady } from '../../fakes/flow.ts';
import { HOST, MICROVM, ProxyBed, readAll, seen, wholeOf } from '../../fakes/proxy-bed.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

const MIB = 1024 * 1024;
/** Kernel buffers of two TCP connections and the streams in between; the bodies are many times that. */
const IN_FLIGHT_BYTES = 24 * MIB;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A proxy, and an application that answers as the test says. */
class Stage {
  readonly bed: ProxyBed;
  handler: Handler = () => undefined;

  private constructor(bed: ProxyBed) {
    this.bed = bed;
  }

  static async start(): Promise<Stage> {
    const stage = new Stage(await ProxyBed.start());
    const app = await stage.bed.app((request, response) => stage.handler(request, response));
    app.on('checkContinue', (request, response) => stage.handler(request, response));
    app.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      if (request.url === '/refuse') return void socket.end('HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${request.headers.upgrade}\r\nConnection: Upgrade\r\n\r\nearly `);
      socket.pipe(socket);
    });
    return stage;
  }
}

for (const version of VERSIONS) {
  suite(`through the proxy over ${version}`, { timeout: 60_000 }, () => {
    let stage: Stage;
    let bed: ProxyBed;
    before(async () => {
      stage = await Stage.start();
      bed = stage.bed;
    });
    after(() => bed[Symbol.asyncDispose]());

    test('the application gets the client’s request, without what is ours or of this hop', async () => {
      let got: IncomingMessage | undefined;
      stage.handler = (request, response) => {
        got = request;
        response.end();
      };
      const ofHop = { Connection: 'close, X-Hop, Host', 'X-Hop': 'x', 'Keep-Alive': 'timeout=5', 'Proxy-Connection': 'x' };
      await bed.ask({
        version,
        path: '/a%2Fb?q=%20%C3%BC&x#',
        headers: {
          ...{ 'X-aws-proxy-port': '8080', 'X-AWS-Proxy-Anything': 'x', 'x-amzn-requestid': 'forged' },
          // In HTTP/2 they are not allowed, and Node's client sends none (RFC 9113, 8.2.2).
          ...(version === 'HTTP/1.1' ? ofHop : {}),
          ...{ TE: version === 'HTTP/1.1' ? 'trailers, gzip' : 'trailers', Cookie: ['a=1', 'b=2'], 'X-Kept': ['one', 'two'], Accept: '*/*' },
        },
      });
      assert.equal(got?.url, '/a%2Fb?q=%20%C3%BC&x#');
      assert.equal(got.headers.host, `${HOST}:${bed.port}`);
      assert.match(got.headers['x-amzn-requestid'] as string, /^[0-9a-f-]{36}$/);
      assert.equal(got.headers['x-kept'], 'one, two');
      assert.equal(got.headers.cookie, 'a=1; b=2');
      assert.equal(got.headers.te, 'trailers');
      const names = Object.keys(got.headers).toSorted();
      assert.deepEqual(names, ['accept', 'connection', 'cookie', 'host', 'te', 'x-amzn-requestid', 'x-kept']);
    });

    test('the client gets the application’s answer, header by header', async () => {
      stage.handler = (_request, response) => {
        response.writeHead(418, 'Short and stout', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Hop', '1', 'Connection', 'X-Hop', 'X-Kept', 'ü', 'Content-Length', '3']);
        response.end(Buffer.from('tea'));
      };
      const answer = await bed.ask({ version });
      assert.equal(answer.status, 418);
      assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
      assert.equal(answer.headers['x-hop'], undefined);
      assert.equal(answer.headers['x-kept'], 'ü');
      assert.equal(answer.headers['content-length'], '3');
      assert.equal(answer.body, 'tea');
    });

    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      test(`${method} without a body`, async () => {
        stage.handler = (request, response) => {
          response.setHeader('X-Method', request.method ?? '');
          response.setHeader('X-Framing', `${request.headers['content-length']} ${request.headers['transfer-encoding']}`);
          response.setHeader('Content-Length', 9);
          response.end('some body');
        };
        const answer = await bed.ask({ version, method, isEmpty: true });
        assert.equal(answer.headers['x-method'], method);
        assert.match(answer.headers['x-framing'] as string, /^(0|undefined) undefined$/);
        assert.equal(answer.body, method === 'HEAD' ? '' : 'some body');
        assert.equal(answer.headers['content-length'], '9');
      });
    }

    test('204 and 304 have no body', async () => {
      for (const status of [204, 304]) {
        stage.handler = (_request, response) => response.writeHead(status, { ETag: '"x"' }).end();
        const answer = await bed.ask({ version });
        assert.equal(answer.status, status);
        assert.equal(answer.headers['transfer-encoding'], undefined);
        assert.equal(answer.headers['etag'], '"x"');
      }
    });

    test('trailers pass in both directions, those of framing and routing do not', async () => {
      let trailers: IncomingMessage['trailers'] | undefined;
      stage.handler = (request, response) => {
        request.resume().on('end', () => {
          trailers = request.trailers;
          response.writeHead(200, { Trailer: 'grpc-status', 'Transfer-Encoding': 'chunked' });
          response.write('x');
          response.addTrailers([['grpc-status', '0'], ['Content-Type', 'text/html']]);
          response.end();
        });
      };
      const asked = await bed.begin({ version, method: 'POST', headers: { Trailer: 'X-Sum' }, trailers: { 'X-Sum': '42', 'X-aws-proxy-auth': 'x' } });
      asked.end('body');
      const answer = await wholeOf(await asked.answer);
      assert.deepEqual({ ...trailers }, { 'x-sum': '42' });
      assert.deepEqual(answer.trailers, { 'grpc-status': '0' });
    });

    test('interim answers pass: 103 and 100', async () => {
      stage.handler = (request, response) => {
        response.writeEarlyHints({ link: '</a.css>; rel=preload' });
        response.writeContinue();
        request.resume().on('end', () => response.end('done'));
      };
      const asked = await bed.begin({ version, method: 'POST', headers: { Expect: '100-continue', 'Content-Length': '4' } });
      while (asked.interim.length < 2) await asked.nextInterim();
      assert.deepEqual(asked.interim, [103, 100]);
      asked.end('body');
      assert.equal((await wholeOf(await asked.answer)).body, 'done');
    });

    test('100 is the application’s to send, not ours', async () => {
      stage.handler = (_request, response) => response.writeHead(413).end('too large');
      const asked = await bed.begin({ version, method: 'POST', headers: { Expect: '100-continue', 'Content-Length': '4' } });
      assert.equal((await asked.answer).status, 413);
      assert.deepEqual(asked.interim, []);
      asked.abort();
    });

    test('each chunk of an answer arrives when it is written (SSE), the head before the first', async () => {
      let response: ServerResponse | undefined;
      stage.handler = (_request, got) => {
        response = got;
        got.writeHead(200, { 'Content-Type': 'text/event-stream' });
        got.flushHeaders();
      };
      const { body } = await (await bed.begin({ version })).answer;
      for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n']) {
        response!.write(event);
        assert.equal(((await once(body, 'data')) as [Buffer])[0].toString(), event);
      }
      response!.end();
      await once(body.resume(), 'end');
    });

    test('each chunk of a request arrives when it is written, answered chunk by chunk', async () => {
      stage.handler = (request, response) => {
        response.flushHeaders();
        request.pipe(response);
      };
      const asked = await bed.begin({ version, method: 'POST' });
      const { body } = await asked.answer;
      for (const word of ['one', 'two', 'three']) {
        asked.sink.write(word);
        assert.equal(((await once(body, 'data')) as [Buffer])[0].toString(), word);
      }
      asked.end();
      await once(body.resume(), 'end');
    });

    test('a slow reader holds the application back, then gets all 64 MiB', async () => {
      let filled: (() => number) | undefined;
      stage.handler = (_request, response) => (filled = fill(response, 64 * MIB));
      const { body } = await (await bed.begin({ version })).answer;
      body.pause();
      await steady(() => filled!());
      assert.ok(filled!() < IN_FLIGHT_BYTES, `${filled!()} bytes in flight`);
      assert.equal(await lengthOf(body), 64 * MIB);
    });

    test('a slow application holds the client back, then gets all 64 MiB', async () => {
      let resume: (() => void) | undefined;
      stage.handler = (request, response) => {
        resume = () => void lengthOf(request).then((length) => response.end(`${length}`));
      };
      const asked = await bed.begin({ version, method: 'PUT', headers: { 'Content-Length': `${64 * MIB}` } });
      const filled = fill(asked.sink, 64 * MIB);
      await steady(filled);
      assert.ok(filled() < IN_FLIGHT_BYTES, `${filled()} bytes in flight`);
      resume!();
      assert.equal((await wholeOf(await asked.answer)).body, `${64 * MIB}`);
    });

    test('an application that answers early and ends its side is heard', async () => {
      await bed.rawApp((socket) => {
        socket.resume();
        socket.end('HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large');
      }, 9001);
      const asked = await bed.begin({ version, method: 'POST', headers: { 'Content-Length': `${64 * MIB}`, 'X-aws-proxy-port': '9001' } });
      asked.sink.write(Buffer.alloc(MIB));
      const answer = await wholeOf(await asked.answer);
      assert.equal(answer.status, 413);
      assert.equal(answer.body, 'too large');
      asked.abort();
    });

    test('a client that leaves is seen by the application, before, during and after the answer’s head', async () => {
      for (const stageOf of ['silent', 'headers', 'body'] as const) {
        const begun = Promise.withResolvers<void>();
        const closed = new Promise<boolean>((resolve) => {
          stage.handler = (request, response) => {
            response.once('close', () => resolve(response.writableFinished));
            if (stageOf === 'headers') response.flushHeaders();
            if (stageOf === 'body') response.write('some');
            request.resume();
            begun.resolve();
          };
        });
        const asked = await bed.begin({ version, method: 'POST' });
        asked.sink.write('some');
        await begun.promise;
        if (stageOf !== 'silent') {
          const { body } = await asked.answer;
          body.on('error', () => undefined);
          if (stageOf === 'body') await once(body, 'data');
        }
        asked.abort();
        assert.equal(await closed, false, stageOf);
      }
    });

    test('an application that breaks off its answer breaks off the client’s', async () => {
      for (const headers of [{ 'Content-Length': '100' }, {}]) {
        stage.handler = (_request, response) => {
          response.writeHead(200, headers);
          response.write('half', () => response.destroy());
        };
        const { body } = await (await bed.begin({ version })).answer;
        await assert.rejects(readAll(body), /aborted|NGHTTP2_INTERNAL_ERROR/);
      }
    });

    test('an application that hangs up without an answer: 502, and it was asked once', async () => {
      let asked = 0;
      stage.handler = (_request, response) => {
        asked++;
        response.destroy();
      };
      const answer = await bed.ask({ version });
      assert.equal(answer.status, 502);
      assert.equal(answer.body, '');
      assert.equal(asked, 1);
    });
  });
}

suite('through the proxy', { timeout: 60_000 }, () => {
  let stage: Stage;
  let bed: ProxyBed;
  before(async () => {
    stage = await Stage.start();
    bed = stage.bed;
  });
  after(() => bed[Symbol.asyncDispose]());

  const open = async (more: Parameters<ProxyBed['options']>[0] = {}): Promise<ClientRequest> => httpsRequest(await bed.options(more));
  const answerOf = async (request: ClientRequest) => ((await once(request, 'response')) as [IncomingMessage])[0];

  test('100 is the application’s to send: without it, its final answer ends the connection', async () => {
    stage.handler = (_request, response) => response.writeHead(413).end('too large');
    const request = await open({ method: 'POST', headers: { Expect: '100-continue', 'Content-Length': '4' } });
    request.on('continue', () => assert.fail('no 100 was sent'));
    request.flushHeaders();
    const answer = await seen(await answerOf(request));
    assert.equal(answer.status, 413);
    assert.equal(answer.headers.connection, 'close');
  });

  test('an answer may be complete while the request’s body still arrives', async () => {
    stage.handler = (_request, response) => response.writeHead(413).end('too large');
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: bed.ca, servername: HOST });
    const request = await open({ method: 'POST', agent, headers: { 'Content-Length': `${4 * MIB}` } });
    request.write('the beginning');
    const answer = await seen(await answerOf(request));
    assert.equal(answer.body, 'too large');
    request.end(Buffer.alloc(4 * MIB - 13));
    await once(request, 'close');
    stage.handler = (_request, response) => response.end('next');
    assert.equal((await bed.fetch({ agent })).body, 'next');
    agent.destroy();
  });

  test('a client that leaves within its request’s body, after the whole answer: the application is told', async () => {
    const told = Promise.withResolvers<void>();
    await bed.rawApp((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n')).resume();
      socket.once('end', () => told.resolve()).once('error', () => told.resolve());
    }, 9020);
    const request = await open({ method: 'POST', headers: { 'Content-Length': `${4 * MIB}`, 'X-aws-proxy-port': '9020' } });
    request.on('error', () => undefined).write('the beginning');
    await seen(await answerOf(request));
    request.destroy();
    await told.promise;
  });

  test('bytes of headers stay as they are, also where the head goes ahead of the body', async () => {
    const value = Buffer.from('gr\u00fc\u00df').toString('latin1');
    for (const late of [false, true]) {
      const socket = await bed.raw();
      let got: string | undefined;
      stage.handler = (request, response) => {
        got = request.headers['x-raw'] as string;
        const head = Buffer.from(`HTTP/1.1 200 OK\r\nX-Raw: ${value}\r\nConnection: close\r\nContent-Length: 4\r\n\r\n`, 'latin1');
        response.socket!.write(late ? head : Buffer.concat([head, Buffer.from('body')]));
        // The body follows once the head has come through.
        if (late) socket.once('data', () => response.socket!.end('body'));
        if (late) socket.write('x');
      };
      const framing = late ? 'Content-Length: 1\r\n' : '';
      const head = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nX-Raw: ${value}\r\nConnection: close\r\n${framing}X-aws-proxy-auth: ${await bed.token()}\r\n\r\n`;
      socket.write(Buffer.from(head, 'latin1'));
      const all = await readAll(socket);
      assert.equal(got, value);
      assert.ok(all.includes(`X-Raw: ${value}\r\n`), all);
      assert.ok(all.endsWith('body'));
    }
  });

  test('Upgrade: bytes both ways, also before the 101, and half-close', async () => {
    const socket = await bed.raw();
    socket.write(`GET /up HTTP/1.1\r\nHost: ${HOST}\r\nX-aws-proxy-auth: ${await bed.token()}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello `);
    socket.end('world');
    const got = await readAll(socket);
    assert.match(got, /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n/);
    assert.equal(got.split('\r\n\r\n')[1], 'early hello world');
    const line = await bed.line((candidate) => candidate['status'] === 101);
    assert.equal(line['bytesIn'], 11);
    assert.equal(line['bytesOut'], 17);
  });

  test('Upgrade that the application or the proxy refuses', async () => {
    for (const [path, auth, expected] of [
      ['/refuse', await bed.token(), /^HTTP\/1\.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: Upgrade\r\n[^]*\r\n\r\nno$/],
      ['/up', 'x', /^HTTP\/1\.1 403 Forbidden\r\n[^]*\r\n\r\nRequest missing authentication$/],
    ] as const) {
      const socket = await bed.raw();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nX-aws-proxy-auth: ${auth}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
      assert.match(await readAll(socket), expected);
    }
  });

  test('curl gets through with the bundle, through its own resolver rules', { skip: spawnSync('curl', ['--version']).status === 0 ? false : 'no curl' }, async () => {
    stage.handler = (request, response) => request.pipe(response);
    const { stdout } = await promisify(execFile)('curl', [
      ...['-sS', '--noproxy', '*', '--cacert', bed.certificates.bundlePath, '--resolve', `${HOST}:${bed.port}:127.0.0.1`],
      ...['-H', `X-aws-proxy-auth: ${await bed.token()}`, '-H', 'Expect: 100-continue', '--data-binary', 'x'.repeat(2000)],
      `https://${HOST}:${bed.port}/`,
    ]);
    assert.equal(stdout, 'x'.repeat(2000));
  });

  test('one log line for each request, and activity is told, throttled', async () => {
    stage.handler = (request, response) => request.pipe(response);
    bed.clock.aheadMs += 10_000;
    bed.destinations.touches.length = 0;
    // Lines of earlier tests may come late: no other test asks for this port.
    bed.destinations.ports.set(9357, bed.destinations.ports.get(8080)!);
    await bed.fetch({ method: 'PUT', body: 'x'.repeat(1000), headers: { 'X-aws-proxy-port': '9357' } });
    const isOurs = ({ port }: Record<string, unknown>) => port === 9357;
    await bed.line(isOurs);
    assert.equal(bed.logged.filter(isOurs).length, 1);
    assert.deepEqual(bed.destinations.touches, [MICROVM]);
    bed.clock.aheadMs += 250;
    await bed.fetch();
    assert.deepEqual(bed.destinations.touches, [MICROVM, MICROVM]);
  });
});

async function lengthOf(body: Readable): Promise<number> {
  let length = 0;
  for await (const part of body) length += (part as Buffer).length;
  return length;
}
