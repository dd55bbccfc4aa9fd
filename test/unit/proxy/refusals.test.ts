/** The data plane's own answers: every row of the contract reference's section 5.5, and who may pass (5.7, 6.1). */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { LullError } from '../../../src/domain/errors.ts';
import { DOMAIN, ENDPOINT, HOST, MICROVM, OTHER_ENDPOINT, OTHER_MICROVM, ProxyBed, type Seen } from '../../fakes/proxy-bed.ts';
import { VERSIONS, type Ask } from '../../fakes/proxy-client.ts';

const UNKNOWN = '55555555-5555-4555-8555-555555555555';

for (const version of VERSIONS) {
  suite(`the proxy refuses, over ${version}`, () => {
    let bed: ProxyBed;
    const ask = (more: Omit<Ask, 'version'> = {}) => bed.ask({ version, ...more });
    let reached = 0;
    before(async () => {
      bed = await ProxyBed.start();
      await bed.app((_request, response) => {
        reached++;
        response.end('the application');
      });
    });
    after(() => bed[Symbol.asyncDispose]());

    /** Nothing but status and text: plain, no JSON, no error type; and the application saw nothing. */
    function assertRefused(answer: Omit<Seen, 'rawHeaders'>, status: number, text: string): void {
      assert.equal(answer.status, status);
      assert.equal(answer.body, text);
      assert.equal(answer.headers['content-length'], `${text.length}`);
      assert.equal(answer.headers['content-type'], text === '' ? undefined : 'text/plain');
      assert.equal(answer.headers['x-amzn-errortype'], undefined);
    }

    const MISSING = 'Request missing authentication';
    const FAILED = 'Token authentication failed';
    const DENIED = 'Access to port denied';

    test('a request without a token: 403', async () => {
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': '' } }), 403, MISSING);
    });

    for (const garbage of ['x', 'a.b.c.d.e', '....', 'e30..AAAA.AAAA.AAAA', 'A'.repeat(20_000)]) {
      test(`a token that cannot be parsed (${garbage.slice(0, 20)}): 403`, async () => {
        assertRefused(await ask({ headers: { 'X-aws-proxy-auth': garbage } }), 403, MISSING);
      });
    }

    test('a token that was tampered with, in any part: 403', async () => {
      const parts = (await bed.token()).split('.');
      for (const at of [0, 2, 3, 4]) {
        const part = parts[at]!;
        const changed = parts.with(at, `${part[0] === 'A' ? 'B' : 'A'}${part.slice(1)}`).join('.');
        assertRefused(await ask({ headers: { 'X-aws-proxy-auth': changed } }), 403, MISSING);
      }
    });

    test('two tokens: 403', async () => {
      const token = await bed.token();
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': [token, token] } }), 403, MISSING);
    });

    test('a token of another microVM: 403', async () => {
      const token = await bed.token({ microvmId: OTHER_MICROVM });
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': token } }), 403, FAILED);
      const served = await ask({ headers: { 'X-aws-proxy-auth': token, Host: `${OTHER_ENDPOINT}.${DOMAIN}` } });
      assert.equal(served.body, 'the application');
    });

    for (const host of [`${UNKNOWN}.${DOMAIN}`, 'example.com', DOMAIN, `${ENDPOINT}.example.com`, `x.${HOST}`, `${ENDPOINT}x.${DOMAIN}`, '127.0.0.1']) {
      test(`a wrong or unknown host name (${host}): 403`, async () => {
        assertRefused(await ask({ headers: { Host: host } }), 403, FAILED);
      });
    }

    test('an expired token: 403, from its last millisecond on', async () => {
      const token = await bed.token({ expiresAtMs: bed.clock.nowMs() });
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': token } }), 403, FAILED);
    });

    test('a port that the token does not cover: 403', async () => {
      const token = await bed.token({ ports: [{ from: 3000, to: 3010 }] });
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': token } }), 403, DENIED);
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': token, 'X-aws-proxy-port': '3011' } }), 403, DENIED);
      // Covered, and nothing listens there.
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': token, 'X-aws-proxy-port': '3010' } }), 502, '');
    });

    // Node's client of HTTP/2 sends no value of blanks.
    const blank = version === 'HTTP/1.1' ? [' '] : [];
    for (const port of ['0', '65536', '-1', '80x', '8080, 8080', '0x50', ...blank, '080', '99999999999']) {
      test(`a bad port header (${port}): 400`, async () => {
        assertRefused(await ask({ headers: { 'X-aws-proxy-port': port } }), 400, '');
      });
    }

    test('everybody where the microVM has NO_INGRESS, or only the shell’s: 403', async () => {
      for (const ingress of [['NO_INGRESS'], ['SHELL_INGRESS'], []] as const) {
        bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress, baselineMib: 512 });
        assertRefused(await ask(), 403, DENIED);
      }
      for (const ingress of [['ALL_INGRESS'], ['SHELL_INGRESS', 'HTTP_INGRESS']] as const) {
        bed.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress, baselineMib: 512 });
        assert.equal((await ask()).body, 'the application');
      }
    });

    test('a shell token on plain HTTPS: 502', async () => {
      assertRefused(await ask({ headers: { 'X-aws-proxy-auth': await bed.token({ purpose: 'shell' }) } }), 502, '');
    });

    test('what a limit refuses: 429', async () => {
      bed.destinations.beforeConnect = () => Promise.reject(new LullError('throttled', 'too many'));
      // A port of its own: a kept connection would need none.
      assertRefused(await ask({ headers: { 'X-aws-proxy-port': '7001' } }), 429, '');
      bed.destinations.beforeConnect = () => Promise.resolve();
    });

    test('where the microVM cannot be reached: 502, with the reason in the log', async () => {
      bed.destinations.beforeConnect = () => Promise.reject(new LullError('conflict', 'it sleeps and may not be woken'));
      assertRefused(await ask({ headers: { 'X-aws-proxy-port': '7002' } }), 502, '');
      bed.destinations.beforeConnect = () => Promise.resolve();
      const line = await bed.line((candidate) => candidate['port'] === 7002);
      assert.equal(line['reason'], 'it sleeps and may not be woken');
      assert.equal(line['status'], 502);
      assert.equal(line['microvmId'], MICROVM);
    });

    test('with 500 where it fails itself', async () => {
      const lookup = bed.destinations.lookup.bind(bed.destinations);
      bed.destinations.lookup = () => Promise.reject(new Error('the store is broken'));
      assertRefused(await ask(), 500, '');
      bed.destinations.lookup = lookup;
      assert.ok(bed.logged.some((line) => (line['err'] as Error | undefined)?.message === 'the store is broken'));
    });

    test('before it reads a body of any size', { timeout: 20_000 }, async () => {
      const socket = await bed.raw();
      socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1000000000000\r\n\r\n`);
      const chunk = Buffer.alloc(64 * 1024);
      const fill = () => {
        while (!socket.destroyed && socket.writable && socket.write(chunk));
      };
      let answer = '';
      socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
      socket.on('drain', fill);
      fill();
      await new Promise((resolve) => socket.once('close', resolve));
      assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
      // It was cut off long before a terabyte: what is read of an unwanted body is bounded.
      assert.ok(socket.bytesWritten < 64 * 1024 * 1024, `${socket.bytesWritten}`);
    });

    test('and the application never sees any of it', async () => {
      const before = reached;
      await ask({ headers: { 'X-aws-proxy-auth': '' } });
      await ask({ headers: { Host: 'example.com' } });
      assert.equal(reached, before);
    });
  });
}
