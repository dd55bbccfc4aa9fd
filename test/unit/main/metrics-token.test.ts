/** The file with the token of the metrics, wrong in each way. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MetricsTokenWatch, readMetricsToken } from '../../../src/main/metrics-token.ts';
import { parseServerOptions } from '../../../src/main/options.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

const folder = mkdtempSync(join(tmpdir(), 'lull-token-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string, mode = 0o600) {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return { path, option: '--metrics-token-file' };
}

test('the one line of the file is the token', async () => {
  assert.equal(await readMetricsToken(file('good', 'abcdefghij0123456789\n')), 'abcdefghij0123456789');
});

const WRONG = [
  { file: { path: join(folder, 'absent'), option: 'LULL_METRICS_TOKEN_FILE' }, says: 'cannot be read (ENOENT).' },
  { file: file('open', 'abcdefghij0123456789', 0o640), says: 'can be read by others: chmod 600 it.' },
  { file: file('short', 'short'), says: 'holds no token: 16 to 1024 letters, digits and ._~+/- on one line.' },
  { file: file('two', 'abcdefghij0123456789\nabcdefghij0123456789'), says: 'holds no token: 16 to 1024 letters, digits and ._~+/- on one line.' },
  { file: file('long', 'a'.repeat(5000)), says: 'is no file with a token.' },
];
for (const { file: named, says } of WRONG) {
  test(`refused in one line: ${says} (${named.path.split('/').at(-1)})`, async () => {
    await assert.rejects(readMetricsToken(named), { kind: 'validation', message: `${named.option}: ${named.path} ${says}` });
  });
}

test('another token in the file is in force within a minute, or at once where it is asked for; a bad one leaves the one before', async () => {
  const clock = new SteeredClock(1_000_000);
  const lines: string[] = [];
  const keep = (_fields: object, message: string) => void lines.push(message);
  const named = file('renewed', 'the-first-token-of-all');
  using watch = await MetricsTokenWatch.open(named, { clock, log: { debug: keep, info: keep, warn: keep, error: keep } });
  assert.equal(watch.current, 'the-first-token-of-all');
  const changed = new Promise((resolve) => watch.onChange(resolve));
  file('renewed', 'the-second-token-of-all');
  clock.advance(60_000);
  assert.equal(await changed, 'the-second-token-of-all');
  file('renewed', 'short');
  await watch.check();
  assert.equal(watch.current, 'the-second-token-of-all');
  file('renewed', 'the-third-token-of-all');
  await watch.check();
  assert.equal(watch.current, 'the-third-token-of-all');
  assert.deepEqual(lines, ['a new token is asked for', 'the new token cannot be used, the one before stays', 'a new token is asked for']);
});

test('a CA of the API’s certificate has a certificate beside it', () => {
  assert.throws(() => parseServerOptions({ config: 'none', apiCa: '/ca' }, { env: {}, uid: 1000 }), { message: '--api-ca belongs to --api-cert and --api-key.' });
});

test('metrics are for loopback unless there is a token, and TLS or a word that it may be without', () => {
  const surroundings = { env: {}, uid: 1000 };
  const options = (more: object) => parseServerOptions({ config: 'none', ...more }, surroundings).metrics;
  assert.deepEqual(options({}), { listen: undefined, tokenFile: undefined, maxSeries: 0 });
  assert.deepEqual(options({ metricsListen: '127.0.0.1:9470', metricsMicrovms: '20' }), { listen: { host: '127.0.0.1', port: 9470 }, tokenFile: undefined, maxSeries: 20 });
  const open = { metricsListen: '0.0.0.0:9470' };
  const token = { metricsTokenFile: '/etc/lull/metrics.token' };
  assert.throws(() => options(open), { message: '--metrics-listen 0.0.0.0 is not a loopback address: give --metrics-token-file.' });
  assert.throws(() => options({ ...open, ...token }), { message: '--metrics-listen 0.0.0.0 is not a loopback address: give --api-cert and --api-key, or --insecure-listen.' });
  assert.equal(options({ ...open, ...token, insecureListen: true }).tokenFile?.path, '/etc/lull/metrics.token');
  assert.equal(options({ ...open, ...token, apiCert: '/c', apiKey: '/k' }).listen?.port, 9470);
});
