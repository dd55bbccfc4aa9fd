/** The shell endpoint (section 6.2), in front of a real terminal of this machine. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { createSecureContext, type TLSSocket } from 'node:tls';
import { WebSocket, type ClientOptions } from 'ws';
import { openShell } from '../../../src/client/shell.ts';
import { LullError } from '../../../src/domain/errors.ts';
import type { ManagedConnector } from '../../../src/domain/ids.ts';
import type { ShellSession } from '../../../src/domain/ports.ts';
import { atRest, drained } from '../../fakes/flow.ts';
import { ENDPOINT, HOST, MICROVM, OTHER_MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';
import { PtyShell } from '../../fakes/pty-shell.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UPGRADE = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };

/** More than is ever under way of one direction. */
const FULL = 64 * 1024 * 1024;

/** A client of the shell endpoint and all that it has seen. */
class ShellClient {
  readonly socket: WebSocket;
  readonly texts: string[] = [];
  output = '';
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('message', (message: Buffer, isBinary) => {
      if (isBinary) this.output += message.toString('latin1');
      else this.texts.push(message.toString());
      socket.emit('seen');
    });
    this.closed = once(socket, 'close').then(([code, reason]) => ({ code: code as number, reason: String(reason) }));
    void this.closed.then(() => socket.emit('seen'));
  }

  type(text: string): void {
    this.socket.send(Buffer.from(text));
  }

  /** Waits until the terminal has shown something. */
  async shows(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.output)) {
      assert.equal(this.socket.readyState, WebSocket.OPEN, this.output);
      await once(this.socket, 'seen');
    }
  }
}

suite('the shell endpoint', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let token: string;
  let pty: PtyShell | undefined;
  const admits = (...ingress: ManagedConnector[]) => bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress, baselineMib: 512 });
  const shellToken = () => bed.token({ purpose: 'shell', ports: [] });
  beforeEach(async () => {
    bed = await ProxyBed.start();
    token = await shellToken();
    admits('SHELL_INGRESS');
    bed.destinations.shell = () => Promise.resolve((pty = new PtyShell()));
  });
  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
    pty?.stream.destroy();
    await pty?.gone;
    pty = undefined;
  });

  const dial = ({ protocols = [], path = '/', ...options }: ClientOptions & { protocols?: string[]; path?: string } = {}) =>
    new WebSocket(`wss://${HOST}:${bed.port}${path}`, protocols, {
      ca: bed.ca,
      headers: { 'X-aws-proxy-auth': token },
      lookup: (_host, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]),
      ...options,
    });

  async function open(ask: Parameters<typeof dial>[0] = {}): Promise<ShellClient> {
    const client = new ShellClient(dial(ask));
    await once(client.socket, 'open');
    return client;
  }

  /** Puts a stream in place of the terminal. */
  function streamShell(resize: ShellSession['resize'] = () => Promise.resolve()): { inside: Duplex; stream: Duplex } {
    const [typed, shown] = [new PassThrough(), new PassThrough()];
    const stream = Duplex.from({ readable: shown, writable: typed });
    const inside = Duplex.from({ readable: typed, writable: shown });
    inside.on('error', () => undefined);
    bed.destinations.shell = () => Promise.resolve({ stream, resize });
    return { inside, stream };
  }

  /** The status with which a handshake fails. */
  async function refusal(ask: Parameters<typeof dial>[0] = {}): Promise<[number | undefined, string]> {
    const socket = dial(ask);
    socket.on('error', () => undefined);
    const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    return [answer.statusCode, Buffer.concat(await answer.toArray()).toString()];
  }

  test('says its session, then what the terminal shows; exit closes with 1000 “shell exited”', async () => {
    const client = await open();
    client.type('echo $((6*7)) $TERM; stty size\n');
    await client.shows(/42 xterm\r\n0 0\r\n/);
    assert.equal(client.texts.length, 1);
    const { type, session_id: sessionId } = JSON.parse(client.texts[0]!) as Record<string, string>;
    assert.equal(type, 'session_init');
    assert.match(sessionId!, UUID);
    client.type('exit\n');
    assert.deepEqual(await client.closed, { code: 1000, reason: 'shell exited' });
    await pty!.gone;
    const line = await bed.line();
    assert.deepEqual([line['microvmId'], line['status'], line['port'], line['reason']], [MICROVM, 101, undefined, undefined]);
    assert.ok((line['bytesIn'] as number) >= 35 && (line['bytesOut'] as number) >= client.output.length);
    assert.ok(bed.destinations.touches.includes(MICROVM));
    assert.equal(bed.logged.filter((one) => 'bytesOut' in one).length, 1);
  });

  test('resizes the terminal; every other text is typed', async () => {
    const client = await open();
    client.socket.send('{"type":"resize","cols":120,"rows":40}');
    client.socket.send('stty size\n');
    await client.shows(/40 120\r\n/);
    for (const text of ['{"type":"resize","cols":0,"rows":40}', '{"type":"resize","cols":65536,"rows":1}', '{"type":"resize","cols":"9","rows":9}', '{"type":"resize"}', 'null']) {
      client.output = '';
      client.socket.send(`cat <<'END'\n`);
      client.socket.send(text);
      client.socket.send('\nEND\n');
      await client.shows(new RegExp(`END\\r\\n[^]*${RegExp.escape(text)}\\r\\n`));
    }
    client.output = '';
    client.type('{"type":"resize","cols":5,"rows":5}\nstty size\n');
    await client.shows(/40 120\r\n/);
    assert.deepEqual(pty!.sizes, [{ cols: 120, rows: 40 }]);
  });

  test('opens by the three subprotocols too, whatever the path and the port', async () => {
    const protocols = ['lambda-microvms', `lambda-microvms.authentication.${token}`, 'lambda-microvms.port.8022'];
    const client = await open({ protocols, path: '/shell', headers: {} });
    assert.equal(client.socket.protocol, 'lambda-microvms');
    assert.equal(client.socket.extensions, '');
    client.type('exit\n');
    assert.equal((await client.closed).code, 1000);
  });

  test('signals reach what runs in the terminal', async () => {
    const client = await open();
    client.type('cat\nready\n');
    // Once as it is typed, once by cat: an interrupt before that would be the shell's.
    await client.shows(/ready\r\n[^]*ready\r\n/);
    client.type('\x03');
    // What is typed before the shell asks again, the interrupt takes along.
    await client.shows(/\^C[^]*\$ $/);
    client.type('echo $?\n');
    await client.shows(/130\r\n/);
    client.socket.close();
    await client.closed;
  });

  test('a client that leaves hangs the terminal up, whether it says so or not', async () => {
    for (const leave of [(socket: WebSocket) => socket.close(), (socket: WebSocket) => socket.terminate()]) {
      const client = await open();
      await client.shows(/\$ $/);
      leave(client.socket);
      await pty!.gone;
    }
  });

  test('a shell that is lost with its microVM closes with 1001, after what it had shown', async () => {
    const { inside, stream } = streamShell();
    const client = await open();
    inside.write('last words');
    await client.shows(/last words/);
    stream.destroy(new Error('the session ended'));
    assert.deepEqual(await client.closed, { code: 1001, reason: 'the microVM went to sleep or has ended' });
    assert.equal((await bed.line())['reason'], 'the shell was lost');
  });

  test('the end of the server closes with 1001 and does not wait for the shell', async () => {
    const client = await open();
    await client.shows(/\$ $/);
    const closing = bed.proxy.close();
    assert.deepEqual(await client.closed, { code: 1001, reason: 'the server stops' });
    await closing;
    await pty!.gone;
  });

  const refusals: readonly [string, () => Promise<unknown>, readonly [number, string]][] = [
    ['plain HTTPS', async () => bed.fetch({ headers: { 'X-aws-proxy-auth': token } }).then(({ status, body }) => [status, body]), [502, '']],
    ['HTTP/2', async () => bed.ask({ version: 'HTTP/2', headers: { 'X-aws-proxy-auth': token } }).then(({ status, body }) => [status, body]), [502, '']],
    ['a microVM without SHELL_INGRESS', async () => (admits('HTTP_INGRESS'), refusal()), [403, 'Access to port denied']],
    ['a token of another microVM', async () => refusal({ headers: { 'X-aws-proxy-auth': await bed.token({ purpose: 'shell', microvmId: OTHER_MICROVM }) } }), [403, 'Token authentication failed']],
    ['an expired token', async () => refusal({ headers: { 'X-aws-proxy-auth': await bed.token({ purpose: 'shell', expiresAtMs: bed.clock.nowMs() }) } }), [403, 'Token authentication failed']],
    ['no token', async () => refusal({ headers: {} }), [403, 'Request missing authentication']],
    ['a port that is none', async () => refusal({ headers: { 'X-aws-proxy-auth': token, 'X-aws-proxy-port': '0' } }), [400, '']],
    ['a version of WebSocket that nobody speaks', async () => bed.fetch({ headers: { ...UPGRADE, 'Sec-WebSocket-Version': '12', 'X-aws-proxy-auth': token } }).then(({ status, body }) => [status, body]), [400, '']],
  ];
  for (const [title, ask, answer] of refusals) {
    test(`${title}: ${answer[0]}, and no shell is opened`, async () => {
      assert.deepEqual(await ask(), answer);
      assert.deepEqual(bed.destinations.shellsAsked, []);
      assert.equal((await bed.line())['status'], answer[0]);
    });
  }

  test('a token for HTTP opens no shell, and no application answers where SHELL_INGRESS is alone', async () => {
    assert.deepEqual(await refusal({ headers: { 'X-aws-proxy-auth': await bed.token() } }), [403, 'Access to port denied']);
    assert.deepEqual(bed.destinations.shellsAsked, []);
  });

  test('ALL_INGRESS lets a shell in', async () => {
    admits('ALL_INGRESS');
    const client = await open();
    client.type('exit\n');
    assert.equal((await client.closed).code, 1000);
  });

  test('a handshake that ws refuses is answered as everything is, and its shell is hung up', async () => {
    const socket = await bed.raw();
    const head = ['GET / HTTP/1.1', `Host: ${HOST}`, `X-aws-proxy-auth: ${token}`, 'Upgrade: websocket', 'Connection: Upgrade'];
    const websocket = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Protocol: a, a'];
    socket.write(`${[...head, ...websocket].join('\r\n')}\r\n\r\n`);
    const answer = Buffer.concat(await socket.toArray()).toString();
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(answer, /\r\nx-amzn-requestid: /);
    assert.match(answer, /\r\n\r\n$/);
    await pty!.gone;
  });

  test('a microVM that cannot be reached is 502, one beyond a limit 429', async () => {
    bed.destinations.shell = () => Promise.reject(new LullError('conflict', 'asleep'));
    assert.deepEqual(await refusal(), [502, '']);
    bed.destinations.shell = () => Promise.reject(new LullError('throttled', 'too many wait'));
    assert.deepEqual(await refusal(), [429, '']);
  });

  test('a client that gives up while the microVM wakes has no shell', async () => {
    const asked = Promise.withResolvers<AbortSignal>();
    bed.destinations.shell = (signal) => {
      asked.resolve(signal);
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    };
    const socket = dial();
    socket.on('error', () => undefined);
    const signal = await asked.promise;
    socket.terminate();
    if (!signal.aborted) await once(signal, 'abort');
    assert.equal((await bed.line())['reason'], 'the client left while its request was held');
  });

  test('a message beyond a mebibyte is refused with 1009, one of that size is typed whole', async () => {
    const { inside } = streamShell();
    const client = await open();
    const size = 1024 * 1024;
    client.socket.send(Buffer.alloc(size, 'x'));
    let typed = 0;
    for await (const chunk of inside) if ((typed += (chunk as Buffer).length) === size) break;
    const other = await open();
    other.socket.send(Buffer.alloc(size + 1));
    assert.equal((await other.closed).code, 1009);
  });

  test('holds a shell whose client does not read, and a client whose shell does not', async () => {
    const { inside, stream } = streamShell();
    const client = await open();
    client.socket.pause();
    const block = Buffer.alloc(64 * 1024, 'o');
    let shown = 0;
    // Until nothing moves any more: the bytes that are under way are bounded, whatever the kernel takes of them.
    while (inside.write(block) || (await drained(inside))) {
      shown += block.length;
      assert.ok(shown < FULL, 'the shell is held');
    }
    stream.pause();
    client.socket.resume();
    stream.resume();
    while (client.output.length < shown) await once(client.socket, 'seen');
    let typed = 0;
    while (await sent(client.socket, block)) {
      typed += block.length;
      assert.ok(typed < FULL, 'the client is held');
    }
    let received = 0;
    for await (const chunk of inside) if ((received += (chunk as Buffer).length) >= typed) break;
  });

  test('that is lost is not kept for a client that does not read', async () => {
    await bed[Symbol.asyncDispose]();
    bed = await ProxyBed.start({ farewellMs: 50 });
    token = await shellToken();
    admits('SHELL_INGRESS');
    const { inside, stream } = streamShell();
    const client = await open();
    client.socket.pause();
    const block = Buffer.alloc(64 * 1024, 'o');
    while (inside.write(block) || (await drained(inside)));
    stream.destroy();
    assert.equal((await bed.line())['status'], 101);
    client.socket.terminate();
  });

  test('in which nothing happens for as long as a connection may be silent is hung up', async () => {
    await bed[Symbol.asyncDispose]();
    bed = await ProxyBed.start({ silenceMs: 500 });
    token = await shellToken();
    admits('SHELL_INGRESS');
    const { stream } = streamShell();
    const client = await open();
    assert.equal((await client.closed).code, 1006);
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve));
  });

  test('waits for the screen of `lull shell`, which a pipe may be that nobody reads', async () => {
    const { inside } = streamShell();
    const room = Promise.withResolvers<void>();
    let [shown, length] = [0, 0];
    const whole = Promise.withResolvers<void>();
    const screen = (bytes: Buffer) => {
      shown += bytes.length;
      if (shown >= length && length > 0) whole.resolve();
      return room.promise;
    };
    const way = { endpoint: HOST, connect: { host: '127.0.0.1', port: bed.port }, trust: createSecureContext({ ca: bed.ca }) };
    const shell = await openShell({ ...way, token, screen, signal: new AbortController().signal });
    const block = Buffer.alloc(64 * 1024, 'o');
    let written = block.length;
    for (; inside.write(block) || (await drained(inside)); written += block.length) assert.ok(written < FULL, 'the shell is held');
    assert.ok(shown < written / 2, `${shown} of ${written}`);
    length = written;
    room.resolve();
    await whole.promise;
    shell.hangUp();
    await shell.ended;
  });

  test('of many sizes at once the last one counts, and one is set at a time', async () => {
    const sizes: number[] = [];
    const first = Promise.withResolvers<void>();
    const last = Promise.withResolvers<void>();
    const { inside } = streamShell(async ({ cols }) => {
      sizes.push(cols);
      if (cols === 1) await first.promise;
      if (cols === 500) last.resolve();
    });
    const client = await open();
    for (let cols = 1; cols <= 500; cols += 1) client.socket.send(JSON.stringify({ type: 'resize', cols, rows: 1 }));
    client.type('all sent');
    for await (const chunk of inside) if ((chunk as Buffer).toString().endsWith('all sent')) break;
    first.resolve();
    await last.promise;
    assert.deepEqual(sizes, [1, 500]);
  });

  test('a resize that fails ends nothing', async () => {
    const { inside } = streamShell(() => Promise.reject(new LullError('conflict', 'gone')));
    const client = await open();
    client.socket.send('{"type":"resize","cols":1,"rows":1}');
    client.type('x');
    const [typed] = (await once(inside, 'data')) as [Buffer];
    assert.equal(typed.toString(), 'x');
    inside.end();
    assert.equal((await client.closed).code, 1000);
  });

  test('frames that break RFC 6455 end their session alone', async () => {
    const client = await open();
    const raw = (client.socket as unknown as { _socket: TLSSocket })._socket;
    raw.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    assert.equal((await client.closed).code, 1002);
    await pty!.gone;
    const next = await open();
    next.type('exit\n');
    assert.equal((await next.closed).code, 1000);
  });
});

/** True where all of a message left this process. */
function sent(socket: WebSocket, block: Buffer): Promise<boolean> {
  return Promise.race([new Promise<boolean>((resolve) => socket.send(block, () => resolve(true))), atRest()]);
}
