import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as v4 from '../../../src/lib/sigv4.ts';

/** The example key and moment of the S3 API Reference, "Authenticating requests". */
const CREDENTIALS = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const CONTEXT = { credentials: CREDENTIALS, region: 'us-east-1', service: 's3', nowMs: Date.UTC(2013, 4, 24) };
const HOST = 'https://examplebucket.s3.amazonaws.com';
const signatureIn = (headers: Record<string, string>) => /Signature=(\w+)/.exec(headers['authorization']!)![1];

describe("the examples of AWS's own documentation", () => {
  test('GET object with a range', () => {
    const headers = v4.signHeaders({ method: 'GET', url: new URL(`${HOST}/test.txt`), headers: { Range: 'bytes=0-9' } }, '', CONTEXT);
    assert.equal(signatureIn(headers), 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41');
  });

  test('PUT object with a $ in its key', () => {
    const given = { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' };
    const headers = v4.signHeaders({ method: 'PUT', url: new URL(`${HOST}/test$file.text`), headers: given }, 'Welcome to Amazon S3.', CONTEXT);
    assert.equal(signatureIn(headers), '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd');
  });

  test('GET bucket with an empty parameter and with two', () => {
    const lifecycle = v4.signHeaders({ method: 'GET', url: new URL(`${HOST}/?lifecycle`) }, '', CONTEXT);
    assert.equal(signatureIn(lifecycle), 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543');
    const list = v4.signHeaders({ method: 'GET', url: new URL(`${HOST}/?max-keys=2&prefix=J`) }, '', CONTEXT);
    assert.equal(signatureIn(list), '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7');
  });

  test('a presigned URL', () => {
    const url = v4.presign({ method: 'GET', url: new URL(`${HOST}/test.txt`) }, 86_400, CONTEXT);
    assert.equal(url.searchParams.get('X-Amz-Signature'), 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404');
  });

  test('chunks of an upload', () => {
    const scope = { date: '20130524', region: 'us-east-1', service: 's3' };
    const key = v4.signingKey(CREDENTIALS.secretAccessKey, scope);
    let signature = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9';
    const expected = [
      'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
      '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
      'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
    ];
    for (const [at, size] of [65_536, 1024, 0].entries()) {
      const dataSha256 = v4.sha256Hex('a'.repeat(size));
      signature = v4.signatureOf(key, v4.chunkStringToSign({ amzDate: '20130524T000000Z', scope, previousSignature: signature, dataSha256 }));
      assert.equal(signature, expected[at]);
    }
  });
});

test('paths: S3 encodes once whatever was sent, other services what was sent once more', () => {
  assert.equal(v4.canonicalPath('/b/a%20b+c!/%2E%2e/..', 'once'), '/b/a%20b%2Bc%21/../..');
  assert.equal(v4.canonicalPath('/x/arn%3Aaws:y', 'twice'), '/x/arn%253Aaws%3Ay');
  assert.throws(() => v4.canonicalPath('/%ff', 'once'), URIError);
});

test('queries are encoded anew, sorted by name and value, and leave out the signature', () => {
  assert.equal(v4.canonicalQuery('b=2&a=z&a=%7e&X-Amz-Signature=1&c&B='), 'B=&a=z&a=~&b=2&c=');
});

test('moments', () => {
  assert.equal(v4.amzDate(Date.UTC(2026, 0, 2, 3, 4, 5, 678)), '20260102T030405Z');
  assert.equal(v4.parseAmzDate('20260102T030405Z'), Date.UTC(2026, 0, 2, 3, 4, 5));
  for (const text of ['20261302T030405Z', '2026-01-02T03:04:05Z', '20260102T030405', '']) assert.equal(v4.parseAmzDate(text), undefined);
});

test('comparison of secrets takes any lengths', () => {
  assert.ok(v4.constantTimeEqual('abc', 'abc'));
  assert.ok(!v4.constantTimeEqual('abc', 'abcd'));
  assert.ok(!v4.constantTimeEqual('', 'a'));
});
