/** Certificates that an operator gives, wrong in each way. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openCertificates } from '../../../src/main/served-certificates.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';
import { readAuthorities, readCertificate } from '../../../src/main/certificate-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'lull-certificates-'));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

function make(name: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`)];
  execFileSync('openssl', ['req', '-x509', ...key, '-subj', `/CN=${name}`, '-days', '2', '-out', at(`${name}.pem`)], { stdio: 'ignore' });
}
make('one');
make('other');
writeFileSync(at('text'), 'no PEM at all\n');
writeFileSync(at('half.pem'), `${readFileSync(at('one.pem'), 'utf8')}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);

const files = (cert: string, key: string) => ({
  cert: { path: at(cert), option: '--api-cert' },
  key: { path: at(key), option: 'lull.toml:3: api.key' },
});

test('a chain and its key are taken as they are', async () => {
  const read = await readCertificate(files('one.pem', 'one.key'));
  assert.deepEqual([read.cert, read.key], [readFileSync(at('one.pem')), readFileSync(at('one.key'))]);
});

const WRONG = [
  { cert: 'absent', key: 'one.key', says: `--api-cert: ${at('absent')} cannot be read (ENOENT).` },
  { cert: 'one.pem', key: '.', says: `lull.toml:3: api.key: ${at('.')} cannot be read (EISDIR).` },
  { cert: 'text', key: 'one.key', says: `--api-cert: ${at('text')} is no certificate in PEM.` },
  { cert: 'one.pem', key: 'text', says: `lull.toml:3: api.key: ${at('text')} is no private key in PEM, or has a passphrase.` },
  { cert: 'one.pem', key: 'other.key', says: `lull.toml:3: api.key: ${at('other.key')} is not the key of ${at('one.pem')}.` },
  { cert: 'half.pem', key: 'one.key', says: `--api-cert: ${at('half.pem')} cannot be served.` },
];

for (const { cert, key, says } of WRONG) {
  test(`refused in one line that names option and file: ${cert} with ${key}`, async () => {
    await assert.rejects(readCertificate(files(cert, key)), { name: 'LullError', kind: 'validation', message: says });
  });
}

test('the bundle of `lull env` has the CA of the API’s certificate too', async () => {
  const { cert, key } = files('one.pem', 'one.key');
  const apiAuthority = { path: at('one.pem'), option: '--api-ca' };
  mkdirSync(at('data'));
  const options = { apiCertificate: { cert, key }, apiAuthority, endpointCertificate: undefined, dataFolder: at('data'), domain: 'microvm.localhost' };
  using certificates = await openCertificates(options, { clock: new SteeredClock(Date.now()), log: SILENT });
  assert.ok(certificates.api?.current.cert.equals(readFileSync(at('one.pem'))));
  const bundle = readFileSync(at('data/tls/ca-bundle.pem'), 'utf8');
  for (const path of ['one.pem', 'data/tls/ca.pem']) assert.ok(bundle.includes(readFileSync(at(path), 'utf8')), path);
});

for (const name of ['text', 'one.key', 'half.pem', 'data/tls/endpoint.pem']) {
  test(`no CA: ${name}`, async () => {
    await assert.rejects(readAuthorities({ path: at(name), option: '--api-ca' }), { kind: 'validation', message: /^--api-ca: \S+ is no certificate (of a CA )?in PEM\.$/ });
  });
}
