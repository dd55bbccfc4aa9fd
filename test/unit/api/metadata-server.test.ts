/** IMDSv2 as SDKs use it: contract reference, section 8.2. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ONE, OTHER, startGuests, WITHOUT, type GuestBed } from './guest-bed.ts';

const CREDENTIALS = '/latest/meta-data/iam/security-credentials';
const HOUR_MS = 3_600_000;

describe('the metadata service', () => {
  let bed: GuestBed;
  before(async () => {
    bed = await startGuests();
  });
  after(() => bed[Symbol.asyncDispose]());

  const ask = async (microvmId: string, path: string, request: { method?: string; headers?: Record<string, string> } = {}) => {
    const answer = await fetch(`${bed.origin(microvmId, 'metadata')}${path}`, request);
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  const newToken = (microvmId: string, headers: Record<string, string>) => ask(microvmId, '/latest/api/token', { method: 'PUT', headers });
  const tokenOf = async (microvmId: string, seconds = 60) => (await newToken(microvmId, { 'X-aws-ec2-metadata-token-ttl-seconds': `${seconds}` })).text;
  const get = async (microvmId: string, path: string, token?: string) =>
    ask(microvmId, path, { headers: { 'X-aws-ec2-metadata-token': token ?? (await tokenOf(microvmId)) } });

  test('lists one role and gives its credentials', async () => {
    for (const path of [CREDENTIALS, `${CREDENTIALS}/`]) {
      const { status, text, headers } = await get(ONE, path);
      assert.deepEqual([status, text, headers.get('content-type')], [200, 'execution_role', 'text/plain']);
    }
    const { status, text } = await get(ONE, `${CREDENTIALS}/execution_role`);
    assert.equal(status, 200);
    const { accessKeyId, secretAccessKey, sessionToken, issuedAtMs, expiresAtMs } = (await bed.credentials(ONE))!;
    const { LastUpdated, Expiration, ...rest } = JSON.parse(text) as Record<string, string>;
    assert.deepEqual(rest, { Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken });
    for (const [time, atMs] of [[LastUpdated, issuedAtMs], [Expiration, expiresAtMs]] as const) {
      assert.match(time!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.equal(Date.parse(time!), Math.floor(atMs / 1000) * 1000);
    }
    assert.match(accessKeyId, /^ASIA[A-Z2-7]{16}$/);
  });

  test('a token for 1 to 21600 seconds, and for nothing else', async () => {
    for (const ttl of ['1', '21600']) {
      const { status, headers, text } = await newToken(ONE, { 'X-aws-ec2-metadata-token-ttl-seconds': ttl });
      assert.deepEqual([status, headers.get('x-aws-ec2-metadata-token-ttl-seconds')], [200, ttl]);
      assert.match(text, /^[\w-]{50,}$/);
    }
    for (const ttl of ['0', '21601', '-1', '1.5', '', 'x', '9'.repeat(30)]) assert.equal((await newToken(ONE, { 'X-aws-ec2-metadata-token-ttl-seconds': ttl })).status, 400, ttl);
    assert.equal((await newToken(ONE, {})).status, 400);
    assert.equal((await newToken(ONE, { 'X-aws-ec2-metadata-token-ttl-seconds': '60', 'X-Forwarded-For': '1.2.3.4' })).status, 403);
    assert.equal((await ask(ONE, '/latest/api/token')).status, 405);
  });

  test('without a good token everything is 401', async () => {
    const good = await tokenOf(ONE);
    const altered = `${good.startsWith('A') ? 'B' : 'A'}${good.slice(1)}`;
    for (const token of ['', 'x', good.slice(0, -2), altered, `${good}AAAA`, await tokenOf(OTHER)]) assert.equal((await get(ONE, CREDENTIALS, token)).status, 401, token);
    assert.equal((await ask(ONE, CREDENTIALS)).status, 401);
    assert.equal((await ask(ONE, '/latest/meta-data/')).status, 401);
    assert.equal((await get(ONE, CREDENTIALS, good)).status, 200);
    bed.time.nowMs += 60_000;
    assert.equal((await get(ONE, CREDENTIALS, good)).status, 401);
  });

  test('what is not there is 404: other paths, other roles, the credentials of a microVM without a role', async () => {
    const paths = ['/', '/latest/', '/latest/meta-data/instance-id', `${CREDENTIALS}/other`, `${CREDENTIALS}/execution_role/x`, `${CREDENTIALS}-extended/`, '/2025-09-09/microvms'];
    for (const path of paths) assert.equal((await get(ONE, path)).status, 404, path);
    for (const path of [`${CREDENTIALS}/`, `${CREDENTIALS}/execution_role`]) assert.equal((await get(WITHOUT, path)).status, 404, path);
    assert.equal((await ask(ONE, CREDENTIALS, { method: 'POST', headers: { 'X-aws-ec2-metadata-token': await tokenOf(ONE) } })).status, 405);
  });

  test('the same credentials as long as they are good, then others', async () => {
    const credentials = async () => (await get(ONE, `${CREDENTIALS}/execution_role`)).text;
    const first = await credentials();
    bed.time.nowMs += HOUR_MS;
    const second = await credentials();
    assert.notEqual(second, first);
    assert.equal(await credentials(), second);
  });
});
