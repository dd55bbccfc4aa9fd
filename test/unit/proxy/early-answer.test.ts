/** Answers that are complete before the request is (section 5.4; RFC 9113, 8.1). */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { constants } from 'node:http2';
import { Agent } from 'node:https';
import { after, before, suite, test } from 'node:test';
import { HOST, ProxyBed, readAll, wholeOf } from '../../fakes/proxy-bed.ts';
import { askIn, openSession, VERSIONS } from '../../fakes/proxy-client.ts';
import { buildLoopback, Loopback } from '../guest/loopback.ts';

const MIB = 1024 * 1024;
const RUNS = 5;
/** Of one curl on a busy machine; one that hangs is what is looked for. */
const CURL_LIMIT_S = '20';

for (const version of VERSIONS) {
  suite(`an answer before the end of an upload over ${version}`, { timeout: 10_000 }, () => {
    // Without it Node's client hangs up behind the answer.
    const agent = new Agent({ keepAlive: true });
    let bed: ProxyBed;
    let handler: RequestListener = () => undefined;
    before(async () => {
      bed = await ProxyBed.start();
      await bed.app((request, response) => handler(request, response));
    });
    after(async () => {
      agent.destroy();
      await bed[Symbol.asyncDispose]();
    });

    test('leaves the request to an application that answered with success: it may still read it', async () => {
      const read = Promise.withResolvers<string>();
      handler = (request, response) => {
        read.resolve(readAll(request));
        response.writeHead(202, { 'Content-Length': '2' }).end('ok');
      };
      const asked = await bed.begin({ version, agent, method: 'POST', headers: { 'Content-Length': '12' } });
      asked.sink.write('before');
      assert.equal((await wholeOf(await asked.answer)).status, 202);
      asked.end(' after');
      assert.equal(await read.promise, 'before after');
    });

    test('that is left by its client is no complete request: the application’s connection ends, and is not used again', async () => {
      const ended = Promise.withResolvers<boolean>();
      handler = (request, response) => {
        request.resume().socket.once('close', () => ended.resolve(request.complete));
        response.writeHead(202, { 'Content-Length': '2' }).end('ok');
      };
      const asked = await bed.begin({ version, agent, method: 'POST', headers: { 'Content-Length': '12' } });
      asked.sink.write('before');
      await wholeOf(await asked.answer);
      asked.abort();
      assert.equal(await ended.promise, false);
      handler = (_request, response) => response.end('next');
      assert.equal((await bed.ask({ version })).body, 'next');
    });
  });
}

suite('a refusal before the end of an upload over HTTP/2', { timeout: 10_000 }, () => {
  test('has the client stop, and ends the application’s request, which is not taken for a complete one', async () => {
    await using bed = await ProxyBed.start();
    const complete: Promise<boolean>[] = [];
    await bed.app((request, response) => {
      complete.push(new Promise((resolve) => request.resume().socket.once('close', () => resolve(request.complete))));
      response.writeHead(413).end('too large');
    });
    const session = openSession(bed.place);
    const headers = { Host: `${HOST}:${bed.port}`, 'x-aws-proxy-auth': await bed.token(), 'Content-Length': `${64 * MIB}` };
    for (const _ of ['first', 'next on the same connection']) {
      const asked = askIn(session, { method: 'POST', headers, isEmpty: false });
      asked.sink.write('the beginning');
      const answer = await wholeOf(await asked.answer);
      assert.deepEqual([answer.status, answer.body], [413, 'too large']);
      assert.equal(await asked.closed, constants.NGHTTP2_NO_ERROR);
    }
    assert.deepEqual(await Promise.all(complete), [false, false]);
    assert.equal(session.closed, false);
    session.destroy();
  });
});

const noCurl = spawnSync('curl', ['--version']).stdout?.includes('HTTP2') === true ? false : 'no curl with HTTP/2';

suite('curl uploads to an application that refuses without reading, through the agent', { skip: buildLoopback() ?? noCurl, timeout: 120_000 }, () => {
  for (const option of ['--http2', '--http1.1']) {
    for (const connection of ['keep-alive', 'close']) {
      test(`${option}, ${connection}: the whole answer, ${RUNS} times`, async () => {
        await using agent = await Loopback.start();
        await using session = await agent.session();
        await using bed = await ProxyBed.start();
        await bed.app((_request, response) => response.writeHead(413, { connection }).end('too much'));
        const port = bed.destinations.ports.get(8080)!;
        bed.destinations.connect = (_microvmId, _port, signal) => session.openTcp(port, { signal });
        for (let run = 0; run < RUNS; run += 1) {
          const child = spawn('curl', [
            ...['-sS', option, '--noproxy', '*', '--max-time', CURL_LIMIT_S, '--cacert', bed.certificates.bundlePath],
            ...['--resolve', `${HOST}:${bed.port}:127.0.0.1`, '-H', `X-aws-proxy-auth: ${await bed.token()}`],
            ...['-H', 'Expect:', '--data-binary', '@-', '-w', ' %{http_code}', `https://${HOST}:${bed.port}/`],
          ]);
          child.stdin.on('error', () => undefined);
          child.stdin.end(Buffer.alloc(8 * MIB));
          const [output, [exitCode]] = await Promise.all([readAll(child.stdout), once(child, 'close') as Promise<[number]>]);
          assert.deepEqual([exitCode, output], [0, 'too much 413']);
        }
      });
    }
  }
});
