/** The local CA: who accepts it, what it may not vouch for, when it is renewed (issue "lull env", design "The front door"). */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { ensureCertificates } from '../../../src/proxy/certificates.ts';
import { DOMAIN, HOST, ProxyBed, SteeredClock } from '../../fakes/proxy-bed.ts';

const run = promisify(execFile);
const DAY_MS = 24 * 60 * 60 * 1000;
const without = (program: string) => (spawnSync(program, ['--version']).error === undefined ? false : `no ${program}`);

suite('clients accept the certificate', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  before(async () => {
    bed = await ProxyBed.start();
    await bed.app((_request, response) => response.end('served'));
  });
  after(() => bed[Symbol.asyncDispose]());

  const url = () => `https://${HOST}:${bed.port}/`;
  const env = () => ({ ...process.env, NO_PROXY: '*', no_proxy: '*' });

  test('node, with our CA alone', async () => {
    assert.equal((await bed.fetch()).body, 'served');
    await assert.rejects(bed.fetch({ ca: [] }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  });

  test('node, by NODE_EXTRA_CA_CERTS', async () => {
    const script = `require('node:https').get(process.argv[1], { lookup: (host, options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]) }, (answer) => console.log(answer.resume().statusCode))`;
    const { stdout } = await run(process.execPath, ['-e', script, url()], { env: { ...env(), NODE_EXTRA_CA_CERTS: bed.certificates.caPath } });
    assert.equal(stdout, '403\n');
  });

  test('curl, with the bundle, and with our CA alone', { skip: without('curl') }, async () => {
    for (const path of [bed.certificates.bundlePath, bed.certificates.caPath]) {
      const { stdout } = await run('curl', ['-sS', '--resolve', `${HOST}:${bed.port}:127.0.0.1`, url()], { env: { ...env(), CURL_CA_BUNDLE: path } });
      assert.equal(stdout, 'Request missing authentication');
    }
  });

  test('python, with the bundle', { skip: without('python3') }, async () => {
    const script = [
      'import socket, ssl, sys',
      'context = ssl.create_default_context(cafile=sys.argv[1])',
      'with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[2]))), server_hostname=sys.argv[3]) as tls:',
      '  print(tls.version())',
    ].join('\n');
    const { stdout } = await run('python3', ['-c', script, bed.certificates.bundlePath, `${bed.port}`, HOST]);
    assert.equal(stdout, 'TLSv1.3\n');
  });

  test('openssl, for the wildcard and localhost', async () => {
    for (const name of [['-verify_hostname', HOST], ['-verify_hostname', 'localhost']]) {
      const args = ['verify', '-x509_strict', '-purpose', 'sslserver', ...name, '-CAfile', bed.certificates.caPath, bed.certificates.certPath];
      assert.match((await run('openssl', args)).stdout, /: OK\n$/);
    }
  });
});

suite('the local CA', { timeout: 30_000 }, () => {
  let dir: string;
  const clock = new SteeredClock();
  const ensure = () => ensureCertificates({ dir, domain: DOMAIN, clock });
  const certificate = async (path: string) => new X509Certificate(await readFile(path));
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'lull-ca-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  test('is made at the first start: keys for us alone, nothing left over', async () => {
    const made = await ensure();
    for (const name of ['ca.key', 'endpoint.key']) assert.equal((await stat(join(dir, name))).mode & 0o777, 0o600);
    assert.deepEqual((await readdir(dir)).toSorted(), ['ca-bundle.pem', 'ca.key', 'ca.pem', 'endpoint.key', 'endpoint.pem']);
    const [ca, leaf] = [await certificate(made.caPath), await certificate(made.certPath)];
    assert.equal(ca.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
    assert.equal(Math.round((ca.validToDate.getTime() - Date.now()) / DAY_MS), 3650);
    assert.equal(Math.round((leaf.validToDate.getTime() - Date.now()) / DAY_MS), 397);
    assert.equal(leaf.subjectAltName, `DNS:*.${DOMAIN}, DNS:${DOMAIN}, DNS:localhost`);
    assert.ok(BigInt(`0x${ca.serialNumber}`) > 2n ** 64n && BigInt(`0x${leaf.serialNumber}`) > 2n ** 64n);
  });

  test('stays, and the bundle is made afresh: the system’s CAs and ours', async () => {
    const before = await ensure();
    const [ca, leaf] = [await certificate(before.caPath), await certificate(before.certPath)];
    await writeFile(before.bundlePath, 'stale');
    const after = await ensure();
    assert.equal((await certificate(after.caPath)).fingerprint256, ca.fingerprint256);
    assert.equal((await certificate(after.certPath)).fingerprint256, leaf.fingerprint256);
    const bundle = await readFile(after.bundlePath, 'utf8');
    assert.ok(bundle.endsWith(await readFile(after.caPath, 'utf8')));
  });

  test('renews the certificate under 30 days before its end, and itself before a certificate could outlive it', async () => {
    const { caPath, certPath } = await ensure();
    const [ca, leaf] = [await certificate(caPath), await certificate(certPath)];
    clock.aheadMs = 366 * DAY_MS;
    await ensure();
    assert.equal((await certificate(certPath)).fingerprint256, leaf.fingerprint256);
    clock.aheadMs = 368 * DAY_MS;
    await ensure();
    assert.notEqual((await certificate(certPath)).fingerprint256, leaf.fingerprint256);
    assert.equal((await certificate(caPath)).fingerprint256, ca.fingerprint256);
    clock.aheadMs = (3650 - 396) * DAY_MS;
    await ensure();
    assert.notEqual((await certificate(caPath)).fingerprint256, ca.fingerprint256);
    clock.aheadMs = 0;
  });

  test('is made anew where a file of it is damaged or another’s, and for another domain', async () => {
    for (const name of ['ca.key', 'ca.pem', 'endpoint.key', 'endpoint.pem']) {
      await truncate(join(dir, name), 10);
      const { caPath, certPath } = await ensure();
      assert.ok((await certificate(certPath)).verify((await certificate(caPath)).publicKey), name);
    }
    const { caPath, certPath } = await ensure();
    const ca = await certificate(caPath);
    await ensureCertificates({ dir, domain: 'vm.example.test', clock });
    assert.notEqual((await certificate(caPath)).fingerprint256, ca.fingerprint256);
    assert.equal((await certificate(certPath)).checkHost('a.vm.example.test'), '*.vm.example.test');
    await assert.rejects(ensureCertificates({ dir, domain: 'x\n[evil]', clock }), { kind: 'validation' });
  });

  test('cannot vouch for other names: its constraints make openssl refuse', async () => {
    const { caPath } = await ensure();
    const work = await mkdtemp(join(tmpdir(), 'lull-forged-'));
    const at = (name: string) => join(work, name);
    await writeFile(at('names'), 'subjectAltName = DNS:aws.amazon.com\n');
    await run('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=x', '-keyout', at('key'), '-out', at('csr')]);
    await run('openssl', ['x509', '-req', '-in', at('csr'), '-CA', caPath, '-CAkey', join(dir, 'ca.key'), '-CAcreateserial', '-CAserial', at('serial'), '-extfile', at('names'), '-out', at('forged')]);
    await assert.rejects(run('openssl', ['verify', '-CAfile', caPath, at('forged')]), /permitted subtree violation/);
    await rm(work, { recursive: true });
  });
});
