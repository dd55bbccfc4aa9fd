/** What has begun goes on when its token has expired: that is asked at the start of a request or stream alone (sections 5.5 and 6.1). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { ENDPOINT, HOST, MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';
import { PtyShell } from '../../fakes/pty-shell.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

/** Beyond the longest life of a token (section 6.1). */
const LATER_MS = 61 * 60_000;

suite('when its token has expired', { timeout: 20_000 }, () => {
  let bed: ProxyBed;
  let token: string;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    token = await bed.token();
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  const expire = async () => {
    bed.clock.aheadMs += LATER_MS;
    // Section 5.5 leaves the text of an expired token open: the one for a token that does not fit.
    const { status, body } = await bed.ask({ headers: { 'X-aws-proxy-auth': token } });
    assert.deepEqual([status, body], [403, 'Token authentication failed']);
  };
  const dial = (auth: string) =>
    new WebSocket(`wss://${HOST}:${bed.port}/`, [], {
      ca: bed.ca,
      headers: { 'X-aws-proxy-auth': auth },
      lookup: (_host, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]),
    });

  for (const version of VERSIONS) {
    test(`a stream of events goes on, over ${version}`, async () => {
      const answered = Promise.withResolvers<ServerResponse>();
      await bed.app((_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: first\n\n');
        answered.resolve(response);
      });
      const { body } = await (await bed.begin({ version, headers: { 'X-aws-proxy-auth': token } })).answer;
      const events = body.setEncoding('latin1')[Symbol.asyncIterator]() as AsyncIterator<string>;
      assert.equal((await events.next()).value, 'data: first\n\n');
      await expire();
      (await answered.promise).end('data: second\n\n');
      assert.equal((await events.next()).value, 'data: second\n\n');
      assert.equal((await events.next()).done, true);
    });

    test(`an upload goes on, over ${version}`, async () => {
      const begun = Promise.withResolvers<void>();
      await bed.app((request, response) => {
        request.once('data', () => begun.resolve());
        request.pipe(response);
      });
      const asked = await bed.begin({ version, method: 'POST', headers: { 'X-aws-proxy-auth': token } });
      asked.sink.write('before ');
      await begun.promise;
      await expire();
      asked.end('after');
      const { body } = await asked.answer;
      assert.equal((await body.toArray()).join(''), 'before after');
    });
  }

  test('a WebSocket goes on, both ways, and no other opens', async () => {
    const sockets = new WebSocketServer({ server: await bed.app((_request, response) => response.writeHead(404).end()) });
    sockets.on('connection', (socket) => socket.on('message', (message: Buffer) => socket.send(`heard ${message.toString()}`)));
    const socket = dial(token);
    await once(socket, 'open');
    await expire();
    socket.send('me');
    assert.equal(String(((await once(socket, 'message')) as [Buffer])[0]), 'heard me');
    const late = dial(token);
    late.on('error', () => undefined);
    const [, answer] = (await once(late, 'unexpected-response')) as [unknown, { statusCode: number; socket: TLSSocket }];
    assert.equal(answer.statusCode, 403);
    answer.socket.destroy();
    socket.terminate();
  });

  test('a shell goes on', async () => {
    bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress: ['SHELL_INGRESS', 'HTTP_INGRESS'], baselineMib: 512 });
    const pty = new PtyShell();
    bed.destinations.shell = () => Promise.resolve(pty);
    const socket = dial(await bed.token({ purpose: 'shell', ports: [] }));
    let shown = '';
    socket.on('message', (message: Buffer) => {
      shown += message.toString('latin1');
      socket.emit('shown');
    });
    await once(socket, 'open');
    await expire();
    socket.send(Buffer.from('echo still-$((6*7))\n'));
    while (!shown.includes('still-42')) await once(socket, 'shown');
    socket.terminate();
    await pty.gone;
  });
});
