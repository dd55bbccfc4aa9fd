/** `lull env`, judged by a real sh. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { exportLines, unsetLines } from '../../../src/cli/env.ts';

const SOURCE = {
  apiUrl: 'http://127.0.0.1:8470',
  domain: 'microvm.localhost',
  folder: "/srv/it's here",
  credentials: { region: 'us-east-1', account: '000000000000', accessKeyId: 'AKIAEXAMPLE', secretAccessKey: "s'e$c`r\"et/+=" },
};

/** The environment of a shell that has evaluated the lines. */
function evaluate(lines: string, env: Record<string, string>): Record<string, string> {
  const text = execFileSync('/bin/sh', ['-c', 'eval "$1"; exec env -0', 'sh', lines], { env, encoding: 'utf8' });
  const entries = text.split('\0').filter((entry) => entry !== '').map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]);
  return Object.fromEntries(entries.filter(([name]) => !['PWD', 'OLDPWD', '_', 'SHLVL'].includes(name)));
}

test('the lines set keys, region, endpoint and CA files, whatever characters are in them', () => {
  const env = evaluate(exportLines(SOURCE, { PATH: '/usr/bin:/bin' }), { PATH: '/usr/bin:/bin' });
  assert.equal(env['AWS_SECRET_ACCESS_KEY'], SOURCE.credentials.secretAccessKey);
  assert.equal(env['AWS_ENDPOINT_URL'], SOURCE.apiUrl);
  assert.equal(env['AWS_DEFAULT_REGION'], 'us-east-1');
  assert.equal(env['NODE_EXTRA_CA_CERTS'], "/srv/it's here/tls/ca-bundle.pem");
  assert.equal(env['CURL_CA_BUNDLE'], "/srv/it's here/tls/ca-bundle.pem");
  assert.equal(env['NO_PROXY'], 'localhost,127.0.0.1,::1,.localhost');
});

test('what would win over them is gone, and --unset brings all of it back', () => {
  const before = {
    PATH: '/usr/bin:/bin',
    AWS_PROFILE: "o'neil",
    AWS_SESSION_TOKEN: 'token',
    AWS_ENDPOINT_URL_S3: 'https://s3.example.com',
    AWS_REGION: 'eu-central-1',
    NO_PROXY: 'internal.example.com',
  };
  const during = evaluate(exportLines(SOURCE, before), before);
  for (const name of ['AWS_PROFILE', 'AWS_SESSION_TOKEN', 'AWS_ENDPOINT_URL_S3']) assert.equal(during[name], undefined, name);
  assert.equal(during['NO_PROXY'], 'internal.example.com,localhost,127.0.0.1,::1,.localhost');
  const twice = evaluate(exportLines(SOURCE, during), during);
  assert.deepEqual(twice, during);
  assert.deepEqual(evaluate(unsetLines(twice), twice), before);
});

test('--unset without lines in force says nothing', () => {
  assert.equal(unsetLines({ AWS_REGION: 'eu-central-1' }), '');
});
