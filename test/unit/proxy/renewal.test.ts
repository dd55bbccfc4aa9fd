/** What clients may speak, and a certificate that is replaced while the proxy serves. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { connect, type ConnectionOptions } from 'node:tls';
import { promisify } from 'node:util';
import { ensureCertificates } from '../../../src/proxy/certificates.ts';
import { DOMAIN, HOST, ProxyBed, SteeredClock } from '../../fakes/proxy-bed.ts';
import { askIn, openSession } from '../../fakes/proxy-client.ts';

const run = promisify(execFile);

suite('TLS of the endpoints', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    await bed.app((_request, response) => response.end('served'));
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** What the handshake came to, with a client that would do anything. */
  async function agreed(options: ConnectionOptions): Promise<string> {
    const ciphers = options.ciphers ?? 'ALL:@SECLEVEL=0';
    const socket = connect({ host: '127.0.0.1', port: bed.port, servername: HOST, ca: bed.ca, minVersion: 'TLSv1', ...options, ciphers });
    try {
      await once(socket, 'secureConnect');
      return `${socket.getProtocol()} ${socket.getCipher().name}`;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'failed';
    } finally {
      socket.destroy();
    }
  }

  const renewed = async () => {
    const dir = await mkdtemp(join(tmpdir(), 'lull-renewed-'));
    const { certPath, keyPath, caPath } = await ensureCertificates({ dir, domain: DOMAIN, clock: new SteeredClock() });
    const [cert, key, ca] = await Promise.all([certPath, keyPath, caPath].map((path) => readFile(path)));
    await rm(dir, { recursive: true });
    return { cert: cert!, key: key!, ca: ca! };
  };

  for (const stage of ['at first', 'after a renewal']) {
    test(`is 1.2 or 1.3 with forward secrecy and AEAD, ${stage}`, async () => {
      if (stage === 'after a renewal') bed.proxy.setCertificate({ cert: await readFile(bed.certificates.certPath), key: await readFile(bed.certificates.keyPath) });
      assert.match(await agreed({ maxVersion: 'TLSv1.2' }), /^TLSv1\.2 ECDHE-ECDSA-/);
      assert.match(await agreed({}), /^TLSv1\.3 /);
      for (const maxVersion of ['TLSv1', 'TLSv1.1'] as const) assert.equal(await agreed({ maxVersion }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', maxVersion);
      for (const ciphers of ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA384', 'AES128-GCM-SHA256']) {
        assert.match(await agreed({ maxVersion: 'TLSv1.2', ciphers: `${ciphers}:@SECLEVEL=0` }), /HANDSHAKE_FAILURE/, ciphers);
      }
    });
  }

  test('1.1 is refused to OpenSSL’s own client', async () => {
    await assert.rejects(run('openssl', ['s_client', '-connect', `127.0.0.1:${bed.port}`, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']), /protocol version|handshake failure/);
  });

  test('a new certificate is shown to new connections of both versions; open ones go on', async () => {
    const session = openSession(bed.place);
    await once(session, 'connect');
    const socket = await bed.raw();
    const { ca, ...pair } = await renewed();
    bed.proxy.setCertificate(pair);
    await assert.rejects(bed.fetch(), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
    assert.equal((await bed.fetch({ ca })).body, 'served');
    const later = openSession({ ...bed.place, ca });
    const headers = { Host: HOST, 'X-aws-proxy-auth': await bed.token() };
    for (const each of [session, later]) {
      assert.equal((await askIn(each, { headers }).answer).status, 200);
      each.close();
    }
    socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-aws-proxy-auth: ${headers['X-aws-proxy-auth']}\r\nConnection: close\r\n\r\n`);
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200 /);
  });

  test('a listener that is opened after a renewal shows the new certificate', async () => {
    const { ca, ...pair } = await renewed();
    bed.proxy.setCertificate(pair);
    const port = (await bed.proxy.listen({ host: '127.0.0.1', port: 0 }))!;
    assert.equal((await bed.fetch({ ca, port })).body, 'served');
  });
});
