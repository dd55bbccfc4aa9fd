/** Certificates that are renewed under a server that runs: by a copy, by a swapped link, by halves, and our own after a year. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, suite, test } from 'node:test';
import { readCertificate, type Certificate } from '../../../src/main/certificate-files.ts';
import { CertificateWatch } from '../../../src/main/certificate-watch.ts';
import { openCertificates } from '../../../src/main/served-certificates.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

const root = mkdtempSync(join(tmpdir(), 'lull-watch-'));
after(() => rmSync(root, { recursive: true }));

function make(folder: string, name: string): void {
  mkdirSync(folder, { recursive: true });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(folder, 'key.pem')];
  execFileSync('openssl', ['req', '-x509', ...key, '-subj', `/CN=${name}`, '-days', '2', '-out', join(folder, 'cert.pem')], { stdio: 'ignore' });
}
make(join(root, 'first'), 'first');
make(join(root, 'second'), 'second');

const subjectOf = ({ cert }: Certificate) => new X509Certificate(cert).subject;
const MINUTE_MS = 60_000;

/** A log that keeps its lines. */
function keptLog() {
  const lines: string[] = [];
  const keep = (fields: object, message: string) => void lines.push('reason' in fields ? `${message}: ${String(fields.reason)}` : message);
  return { lines, log: { debug: keep, info: keep, warn: keep, error: keep } };
}

suite('a certificate of the operator', () => {
  let live: string;
  let clock: SteeredClock;
  const files = () => ({ cert: { path: join(live, 'cert.pem'), option: '--endpoint-cert' }, key: { path: join(live, 'key.pem'), option: '--endpoint-key' } });
  const copy = (from: string, ...names: string[]) => names.forEach((name) => copyFileSync(join(root, from, name), join(live, name)));
  const open = async () => {
    const { lines, log } = keptLog();
    const served: string[] = [];
    const watch = await CertificateWatch.open({ who: 'the endpoints', read: () => readCertificate(files()), everyMs: MINUTE_MS, clock, log });
    watch.onChange((certificate) => served.push(subjectOf(certificate)));
    return { watch, served, lines };
  };
  beforeEach(() => {
    live = mkdtempSync(join(root, 'live-'));
    clock = new SteeredClock(1_000_000);
    copy('first', 'cert.pem', 'key.pem');
  });

  test('is served anew within a minute of its renewal, and not again while it stays', async () => {
    const { watch, served, lines } = await open();
    using _ = watch;
    clock.advance(MINUTE_MS);
    await watch.check();
    copy('second', 'cert.pem', 'key.pem');
    clock.advance(MINUTE_MS);
    await watch.check();
    clock.advance(10 * MINUTE_MS);
    await watch.check();
    assert.deepEqual([served, lines], [['CN=second'], ['a new certificate is served']]);
  });

  test('is seen where a link above it is swapped', async () => {
    const link = join(live, 'data');
    symlinkSync(join(root, 'first'), link);
    const { lines, log } = keptLog();
    const read = () => readCertificate({ cert: { path: join(link, 'cert.pem'), option: 'c' }, key: { path: join(link, 'key.pem'), option: 'k' } });
    using watch = await CertificateWatch.open({ who: 'the API', read, everyMs: MINUTE_MS, clock, log });
    symlinkSync(join(root, 'second'), `${link}.new`);
    renameSync(`${link}.new`, link);
    await watch.check();
    assert.deepEqual([subjectOf(watch.current), lines], ['CN=second', ['a new certificate is served']]);
  });

  test('that is half there, or none, leaves the one before, is told once, and is served once it is whole', async () => {
    const { watch, served, lines } = await open();
    using _ = watch;
    copy('second', 'cert.pem');
    for (let look = 0; look < 3; look += 1) await watch.check();
    const stays = 'the new certificate cannot be used, the one before stays';
    assert.deepEqual(lines, [`${stays}: --endpoint-key: ${join(live, 'key.pem')} is not the key of ${join(live, 'cert.pem')}.`]);
    truncateSync(join(live, 'cert.pem'), 100);
    await watch.check();
    assert.equal(lines.at(-1), `${stays}: --endpoint-cert: ${join(live, 'cert.pem')} is no certificate in PEM.`);
    assert.deepEqual([served, subjectOf(watch.current)], [[], 'CN=first']);
    copy('second', 'cert.pem', 'key.pem');
    await watch.check();
    assert.deepEqual(served, ['CN=second']);
  });

  test('that cannot be used lets nothing start', async () => {
    writeFileSync(join(live, 'key.pem'), 'none');
    await assert.rejects(open(), { kind: 'validation', message: `--endpoint-key: ${join(live, 'key.pem')} is no private key in PEM, or has a passphrase.` });
  });
});

test('the certificate of the local CA is renewed under a server that runs for more than a year', { timeout: 30_000 }, async () => {
  const clock = new SteeredClock(Date.now());
  const { log } = keptLog();
  const options = { apiCertificate: undefined, apiAuthority: undefined, endpointCertificate: undefined, dataFolder: join(root, 'data'), domain: 'microvm.localhost' };
  mkdirSync(options.dataFolder);
  using certificates = await openCertificates(options, { clock, log });
  const first = certificates.endpoint.current;
  const renewed = Promise.withResolvers<Certificate>();
  certificates.endpoint.onChange((certificate) => renewed.resolve(certificate));
  clock.advance(MINUTE_MS);
  await certificates.reload();
  assert.ok(certificates.endpoint.current.cert.equals(first.cert));
  clock.advance(400 * 24 * 60 * MINUTE_MS);
  assert.ok(!(await renewed.promise).cert.equals(first.cert));
  assert.equal(certificates.api, undefined);
  await certificates.reload();
});
