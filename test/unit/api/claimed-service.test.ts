import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimedService } from '../../../src/api/authentication.ts';

const header = (authorization: string) => claimedService({ headers: { authorization }, url: '/' });
const query = (url: string) => claimedService({ headers: {}, url });

const SCOPE = 'AKIA/20260101/us-east-1/logs/aws4_request';
const ENCODED = encodeURIComponent(SCOPE);

test('the credential in header or query names the service', () => {
  for (const authorization of [`AWS4-HMAC-SHA256 Credential=${SCOPE}, Signature=x`, `AWS4-HMAC-SHA256 Signature=x,Credential=${SCOPE}`]) {
    assert.equal(header(authorization), 'logs', authorization);
  }
  for (const url of [`/?X-Amz-Credential=${ENCODED}`, `/a?b=c&X-Amz-Credential=${ENCODED.toLowerCase().replace('akia', 'AKIA')}&d`, `/?X-Amz-Credential=${SCOPE}`]) {
    assert.equal(query(url), 'logs', url);
  }
  assert.equal(query('/?AWSAccessKeyId=AKIA&Signature=x'), 's3');
});

test('what is no credential names none', () => {
  const scopes = ['', 'AKIA', `${SCOPE}/more`, `/${SCOPE}`, SCOPE.replace('aws4', 'aws5'), SCOPE.replace('logs', ''), SCOPE.replace('AKIA', '')];
  for (const scope of scopes) {
    assert.equal(header(`AWS4-HMAC-SHA256 Credential=${scope}`), undefined, scope);
    assert.equal(query(`/?X-Amz-Credential=${encodeURIComponent(scope)}`), undefined, scope);
  }
  for (const url of [`/?X-Amz-Credential=%ff${ENCODED}`, `/?NotX-Amz-Credential=${ENCODED}`, `/X-Amz-Credential=${ENCODED}`]) assert.equal(query(url), undefined, url);
});

test('a credential takes no longer than its length, however often it begins', () => {
  const startedMs = performance.now();
  for (const many of ['Credential='.repeat(20_000), `Credential=${'/'.repeat(200_000)}`, 'Credential=a/b/c/'.repeat(20_000)]) assert.equal(header(many), undefined);
  for (const many of ['&X-Amz-Credential='.repeat(20_000), '&X-Amz-Credential=/a/a'.repeat(20_000), `&X-Amz-Credential=${'/a'.repeat(100_000)}`]) assert.equal(query(`/?${many}`), undefined);
  // Quadratic in the length it would be many seconds.
  assert.ok(performance.now() - startedMs < 2000);
});
