/** curl, over both versions of HTTP (sections 5.1, 5.2, 5.4, 5.5). */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { PORTS, type DataPlane, type Endpoint, type SeenRequest } from './endpoint.ts';

const MIB = 1024 ** 2;
/** Of one exchange with an emulated guest on a busy machine. */
const LIMIT_S = '30';
const SUITE_LIMIT_MS = 120_000;
const VERSIONS = [
  { option: '--http1.1', version: '1.1' },
  { option: '--http2', version: '2' },
] as const;

const noCurl = spawnSync('curl', ['--version']).stdout?.includes('HTTP2') === true ? false : 'no curl with HTTP/2: apt-get install -y curl';

/** An answer as curl prints it. */
interface Printed {
  /** Statuses of the answers before the last. */
  readonly interim: readonly number[];
  readonly version: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Takes off the heads one by one: with `--include` they stand before the body. */
function parse(output: Buffer): Printed {
  const interim: number[] = [];
  for (let rest = output; ; ) {
    const end = rest.indexOf('\r\n\r\n');
    assert.ok(end >= 0, `a head in ${rest.toString('latin1', 0, 200)}`);
    const [statusLine = '', ...lines] = rest.toString('latin1', 0, end).split('\r\n');
    const [, version = '', code = ''] = /^HTTP\/(\S+) (\d+)/.exec(statusLine) ?? [];
    rest = rest.subarray(end + 4);
    if (code.startsWith('1')) {
      interim.push(Number(code));
      continue;
    }
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    return { interim, version, status: Number(code), headers, body: rest };
  }
}

/** curl at one of the endpoints, with one version of HTTP. */
class Curl {
  readonly #plane: DataPlane;
  readonly #option: string;

  constructor(plane: DataPlane, option: string) {
    this.#plane = plane;
    this.#option = option;
  }

  /** @param words options that go before the URL; the token is given unless there is an `X-aws-proxy-auth` among them */
  argv(path: string, words: readonly string[] = [], { host, token }: Endpoint = this.#plane.one): string[] {
    const authentication = words.some((word) => word.startsWith('X-aws-proxy-auth')) ? [] : ['-H', `X-aws-proxy-auth: ${token}`];
    return [...['-sS', this.#option, '--noproxy', '*', '--max-time', LIMIT_S, '--cacert', this.#plane.caPath, ...authentication, ...words], `https://${host}${path}`];
  }

  async ask(path: string, words: readonly string[] = [], endpoint?: Endpoint): Promise<Printed> {
    const run = promisify(execFile)('curl', ['--include', ...this.argv(path, words, endpoint)], { encoding: 'buffer', maxBuffer: 64 * MIB });
    return parse((await run).stdout);
  }

  /** Sends a body from standard input. */
  async send(path: string, body: Buffer, words: readonly string[]): Promise<Printed> {
    const child = spawn('curl', ['--include', ...this.argv(path, words)], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => undefined);
    child.stdin.end(body);
    const [output] = await Promise.all([child.stdout.toArray(), once(child, 'close')]);
    return parse(Buffer.concat(output as Buffer[]));
  }

  async seen(path: string, words: readonly string[] = []): Promise<SeenRequest> {
    const { status, body } = await this.ask(path, words);
    assert.equal(status, 200, body.toString());
    return JSON.parse(body.toString()) as SeenRequest;
  }

  /** curl with its output line by line, as it comes. */
  follow(path: string) {
    const child = spawn('curl', ['--no-buffer', ...this.argv(path)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, ended: once(child, 'close'), line: async () => (await lines.next()).value };
  }
}

const toPort = (port: number) => ['-H', `X-aws-proxy-port: ${port}`];
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** The tests of one version. @param plane is there once they run */
export function curlSuite(plane: () => DataPlane): void {
  for (const { option, version } of VERSIONS) {
    describe(`curl ${option}`, { skip: noCurl, timeout: SUITE_LIMIT_MS }, () => {
      const curl = () => new Curl(plane(), option);
      requestTests(plane, curl, version);
      bodyTests(curl, option);
      portTests(curl);
      refusalTests(plane, curl);
    });
  }
}

function requestTests(plane: () => DataPlane, curl: () => Curl, version: string): void {
  it('shows the application the request as it was: path, Host, fields; nothing of ours but a request id', async () => {
    const answer = await curl().ask('/seen?a=b&c=%20', ['-H', 'X-Own: one', '-H', 'x-aws-proxy-anything: reserved', '-A', 'agent']);
    assert.deepEqual([answer.status, answer.version], [200, version]);
    const seen = JSON.parse(answer.body.toString()) as SeenRequest;
    assert.deepEqual([seen.method, seen.url, seen.httpVersion, seen.peer, seen.port], ['GET', '/seen?a=b&c=%20', '1.1', '127.0.0.1', PORTS.http]);
    const { 'x-amzn-requestid': requestId, ...headers } = seen.headers;
    assert.match(requestId!, /^[0-9a-f-]{36}$/);
    assert.deepEqual(headers, { host: plane().one.host, 'user-agent': 'agent', accept: '*/*', 'x-own': 'one', connection: 'keep-alive' });
  });

  it('asks with HEAD, OPTIONS, DELETE and PATCH', async () => {
    const head = await curl().ask('/seen', ['--head']);
    assert.deepEqual([head.status, head.body.length], [200, 0]);
    assert.ok(Number(head.headers['content-length']) > 0);
    for (const method of ['OPTIONS', 'DELETE', 'PATCH']) assert.equal((await curl().seen('/seen', ['-X', method])).method, method);
  });

  it('reaches an application of HTTP/2 without TLS where that is forced, and gets 502 where the application speaks HTTP/1.1 only', async () => {
    const forced = ['-H', 'X-aws-proxy-force-h2: true'];
    const seen = await curl().seen('/seen', [...toPort(PORTS.h2c), ...forced]);
    assert.deepEqual([seen.httpVersion, seen.port, seen.headers[':authority']], ['2.0', PORTS.h2c, plane().one.host]);
    assert.equal(seen.headers['x-aws-proxy-force-h2'], undefined);
    const refused = await curl().ask('/seen', forced);
    assert.deepEqual([refused.status, refused.body.toString()], [502, '']);
  });

  it('reaches an application that speaks TLS itself', async () => {
    for (const _ of ['found out', 'known']) {
      const seen = await curl().seen('/seen', toPort(PORTS.tls));
      assert.deepEqual([seen.isEncrypted, seen.port, seen.method], [true, PORTS.tls, 'GET']);
    }
  });
}

function bodyTests(curl: () => Curl, option: string): void {
  it('uploads and downloads megabytes, with and without a length', async () => {
    const body = randomBytes(3 * MIB + 1);
    for (const words of [['--data-binary', '@-'], ['-T', '-', '-X', 'POST']]) {
      const { status, body: answer } = await curl().send('/digest', body, words);
      assert.equal(status, 200);
      assert.deepEqual(JSON.parse(answer.toString()), { bytes: body.length, sha256: sha256(body) });
    }
    const { body: got } = await curl().ask('/download?64');
    assert.deepEqual(got, Buffer.alloc(4 * MIB, 'x'));
  });

  it('hears of 100 Continue from the application, or of its refusal', async () => {
    const expecting = ['-H', 'Expect: 100-continue', '--expect100-timeout', LIMIT_S, '--data-binary', '@-'];
    const told = await curl().send('/echo', Buffer.from('body'), expecting);
    assert.deepEqual([told.interim, told.status, told.body.toString()], [[100], 200, 'body']);
    const refused = await curl().send('/early', Buffer.alloc(MIB), expecting);
    assert.deepEqual([refused.interim, refused.status, refused.body.toString()], [[], 413, 'too much']);
  });

  it('gets an answer that comes before its body is read', async () => {
    for (const path of ['/early', '/early?close']) {
      const { status, body } = await curl().send(path, Buffer.alloc(8 * MIB), ['-H', 'Expect:', '--data-binary', '@-']);
      assert.deepEqual([status, body.toString()], [413, 'too much'], path);
    }
  });

  it('gets each server-sent event when it is sent', async () => {
    const { ended, line } = curl().follow(`/events?${option}`);
    assert.equal(await line(), 'data: first');
    assert.deepEqual(await curl().seen(`/release?${option}`), { released: true });
    assert.deepEqual([await line(), await line()], ['', 'data: second']);
    const [exitCode] = (await ended) as [number];
    assert.equal(exitCode, 0);
  });

  it('is missed by the application when it leaves', async () => {
    const { child, line } = curl().follow(`/hang?${option}`);
    assert.equal(await line(), 'here');
    child.kill();
    assert.deepEqual(await curl().seen(`/left?${option}`), { left: option });
  });
}

function portTests(curl: () => Curl): void {
  it('reaches loopback at any port from 1 to 65535, and 8080 where it names none', async () => {
    assert.equal((await curl().seen('/seen')).port, PORTS.http);
    for (const port of [PORTS.otherHttp, PORTS.first, PORTS.last]) {
      const { port: reached, headers } = await curl().seen('/seen', toPort(port));
      assert.deepEqual([reached, headers['x-aws-proxy-port']], [port, undefined]);
    }
  });
}

function refusalTests(plane: () => DataPlane, curl: () => Curl): void {
  it('is refused in the words of AWS, as plain text', async () => {
    const { one, other } = plane();
    const narrow = await plane().tokenFor(PORTS.otherHttp);
    const withToken = (token: string) => ['-H', `X-aws-proxy-auth: ${token}`];
    // Section 5.5.
    const refusals: readonly (readonly [words: readonly string[], status: number, body: string])[] = [
      [withToken(''), 403, 'Request missing authentication'],
      [withToken('garbage'), 403, 'Request missing authentication'],
      [withToken(other.token), 403, 'Token authentication failed'],
      [['-H', 'Host: 00000000-0000-4000-8000-000000000000.microvm.localhost'], 403, 'Token authentication failed'],
      [['-H', `Host: ${other.host}`], 403, 'Token authentication failed'],
      [withToken(narrow), 403, 'Access to port denied'],
      [toPort(0), 400, ''],
      [toPort(65_536), 400, ''],
      [toPort(PORTS.nobody), 502, ''],
    ];
    for (const [words, status, body] of refusals) {
      const answer = await curl().ask('/seen', words, one);
      const shown = body === '' ? '' : answer.body.toString();
      assert.deepEqual([answer.status, shown, answer.headers['x-amzn-errortype']], [status, body, undefined], words.join(' ').slice(0, 80));
      assert.doesNotMatch(answer.headers['content-type'] ?? '', /json/);
    }
    assert.equal((await curl().seen('/seen', [...withToken(narrow), ...toPort(PORTS.otherHttp)])).port, PORTS.otherHttp);
  });
}
