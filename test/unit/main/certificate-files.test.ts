/** Certificates that an operator gives, wrong in each way. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readCertificate } from '../../../src/main/certificate-files.ts';

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
