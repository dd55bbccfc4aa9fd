import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { presign, signHeaders } from '../../../src/lib/sigv4.ts';
import type { SigningContext } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const PATH = '/2025-09-09/microvm-images/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Amicrovm-image%3Aapp/versions?maxResults=5';
const MINUTE_MS = 60_000;

interface Request {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** One altered part of a request that is good otherwise, and what AWS says of it. */
interface Misuse {
  readonly part: string;
  readonly alter?: (request: Request) => void;
  readonly sign?: (context: SigningContext) => SigningContext;
  readonly lambda: readonly [status: number, exception: string, text: RegExp];
  readonly s3: readonly [status: number, code: string];
}

const authorization = (change: (value: string) => string) => (request: Request) => {
  request.headers['authorization'] = change(request.headers['authorization']!);
};
const MISMATCH = [403, 'InvalidSignatureException', /does not match the signature you provided/] as const;
const NO_MATCH = [403, 'SignatureDoesNotMatch'] as const;

const MISUSES: readonly Misuse[] = [
  { part: 'no authorization', alter: (r) => delete r.headers['authorization'], lambda: [403, 'MissingAuthenticationTokenException', /Missing Authentication Token/], s3: [403, 'AccessDenied'] },
  { part: 'another scheme', alter: (r) => (r.headers['authorization'] = 'Bearer abc'), lambda: [403, 'IncompleteSignatureException', /Bearer/], s3: [400, 'InvalidRequest'] },
  { part: 'SigV4A', alter: authorization((v) => v.replace('AWS4-HMAC', 'AWS4-ECDSA-P256')), lambda: [403, 'IncompleteSignatureException', /ECDSA/], s3: [400, 'InvalidRequest'] },
  { part: 'no Signature', alter: authorization((v) => v.replace(/, Signature=.*/, '')), lambda: [403, 'IncompleteSignatureException', /requires 'Signature' parameter/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'no SignedHeaders', alter: authorization((v) => v.replace(/SignedHeaders=[^,]*, /, '')), lambda: [403, 'IncompleteSignatureException', /requires 'SignedHeaders' parameter/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'a short credential', alter: authorization((v) => v.replace('/aws4_request', '')), lambda: [403, 'IncompleteSignatureException', /5 slash-delimited/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'no date', alter: (r) => delete r.headers['x-amz-date'], lambda: [403, 'IncompleteSignatureException', /'X-Amz-Date' or a 'Date' header/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'a nonsense date', alter: (r) => (r.headers['x-amz-date'] = '20269999T999999Z'), lambda: [403, 'IncompleteSignatureException', /'X-Amz-Date'/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'an unknown key', sign: (c) => ({ ...c, credentials: { ...c.credentials, accessKeyId: 'AKIANOBODY' } }), lambda: [403, 'UnrecognizedClientException', /security token included in the request is invalid/], s3: [403, 'InvalidAccessKeyId'] },
  { part: 'a wrong secret', sign: (c) => ({ ...c, credentials: { ...c.credentials, secretAccessKey: 'no' } }), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'a session token that is not signed', alter: (r) => (r.headers['x-amz-security-token'] = 'abc'), lambda: [403, 'InvalidSignatureException', /not signed: x-amz-security-token/], s3: [403, 'AccessDenied'] },
  { part: 'another region', sign: (c) => ({ ...c, region: 'eu-central-1' }), lambda: [403, 'InvalidSignatureException', /valid region/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'too old', sign: (c) => ({ ...c, nowMs: c.nowMs - 16 * MINUTE_MS }), lambda: [403, 'InvalidSignatureException', /^Signature expired: /], s3: [403, 'RequestTimeTooSkewed'] },
  { part: 'too new', sign: (c) => ({ ...c, nowMs: c.nowMs + 16 * MINUTE_MS }), lambda: [403, 'InvalidSignatureException', /^Signature not yet current: /], s3: [403, 'RequestTimeTooSkewed'] },
  { part: 'the scope of another day', alter: authorization((v) => v.replace(/\/\d{8}\//, '/20200101/')), lambda: [403, 'InvalidSignatureException', /Date in Credential scope/], s3: [400, 'AuthorizationHeaderMalformed'] },
  { part: 'the signature', alter: authorization((v) => v.replace(/Signature=(.)/, (_, c) => `Signature=${c === '0' ? '1' : '0'}`)), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'a signature cut short', alter: authorization((v) => v.slice(0, -1)), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'an upper-case signature', alter: authorization((v) => v.replace(/Signature=.*/, (s) => s.toUpperCase().replace('SIGNATURE', 'Signature'))), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the date within the minute', alter: (r) => (r.headers['x-amz-date'] = r.headers['x-amz-date']!.replace(/(\d)Z$/, (_, d) => `${d === '0' ? 1 : 0}Z`)), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the path', alter: (r) => (r.path = r.path.replace('app', 'apq')), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the query', alter: (r) => (r.path = r.path.replace('=5', '=6')), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'a parameter more', alter: (r) => (r.path += '&x=1'), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the method', alter: (r) => (r.method = 'DELETE'), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'a signed header', alter: (r) => (r.headers['x-test'] = '2'), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'a signed header taken away', alter: (r) => delete r.headers['x-test'], lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the list of signed headers', alter: authorization((v) => v.replace(';x-test', '')), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'host not signed', alter: authorization((v) => v.replace('SignedHeaders=host;', 'SignedHeaders=')), lambda: [403, 'InvalidSignatureException', /'Host'/], s3: [403, 'AccessDenied'] },
  { part: 'the payload hash', alter: (r) => (r.headers['x-amz-content-sha256'] = '0'.repeat(64)), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'the host', alter: (r) => (r.headers['host'] = 'elsewhere:1'), lambda: MISMATCH, s3: NO_MATCH },
  { part: 'header and query at once', alter: (r) => (r.path += '&X-Amz-Signature=00'), lambda: [403, 'IncompleteSignatureException', /Only one auth mechanism/], s3: [400, 'InvalidArgument'] },
];

describe('signatures', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());

  /** Over a bare socket, because an HTTP client would mend what is altered. */
  async function send(request: Request): Promise<{ status: number; head: string; body: string }> {
    const headers = Object.entries({ ...request.headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = await bed.raw(`${request.method} ${request.path} HTTP/1.1\r\n${headers.join('')}\r\n${request.body ?? ''}`);
    const at = answer.indexOf('\r\n\r\n');
    return { status: Number(answer.split(' ')[1]), head: answer.slice(0, at).toLowerCase(), body: answer.slice(at + 4) };
  }

  function signed(service: 'lambda' | 's3', sign: (context: SigningContext) => SigningContext = (context) => context): Request {
    const headers = signHeaders({ method: 'GET', url: new URL(bed.origin + PATH), headers: { 'X-Test': '1' } }, '', sign(bed.context(service)));
    return { method: 'GET', path: PATH, headers, body: undefined };
  }

  test('the request that is altered below is good as it stands', async () => {
    assert.equal((await send(signed('lambda'))).status, 200);
    const s3 = await send(signed('s3'));
    assert.match(s3.body, /<Code>(NoSuchBucket|NotImplemented)</);
    const calls = bed.control.calls.length;
    assert.equal(calls, 1);
  });

  for (const misuse of MISUSES) {
    test(`refused: ${misuse.part}`, async () => {
      const calls = bed.control.calls.length;
      const request = signed('lambda', misuse.sign);
      misuse.alter?.(request);
      const [status, exception, text] = misuse.lambda;
      const answer = await send(request);
      assert.equal(answer.status, status, answer.body);
      assert.match(answer.head, new RegExp(`x-amzn-errortype: ${exception.toLowerCase()}\\b`));
      assert.match(answer.head, /x-amzn-requestid: \S/);
      assert.match(JSON.parse(answer.body).message, text);
      assert.equal(bed.control.calls.length, calls);

      const other = signed('s3', misuse.sign);
      misuse.alter?.(other);
      // Without a scope the path decides, and this one is Lambda's.
      if (!other.headers['authorization']?.includes('/s3/aws4_request')) other.path = '/bucket/key';
      const refused = await send(other);
      assert.equal(refused.status, misuse.s3[0], refused.body);
      assert.ok(refused.body.includes(`<Code>${misuse.s3[1]}</Code>`), refused.body);
    });
  }

  test('a body that is not the one signed', async () => {
    const url = new URL(`${bed.origin}/2025-09-09/microvms`);
    const headers = signHeaders({ method: 'POST', url, headers: { 'content-type': 'application/json' } }, '{"imageIdentifier":"a"}', bed.context('lambda'));
    const good = await fetch(url, { method: 'POST', headers, body: '{"imageIdentifier":"a"}' });
    assert.equal(good.status, 200);
    const bad = await fetch(url, { method: 'POST', headers, body: '{"imageIdentifier":"b"}' });
    assert.deepEqual([bad.status, bad.headers.get('x-amzn-errortype')], [403, 'InvalidSignatureException']);
    const unsigned = signHeaders({ method: 'POST', url }, { hash: 'UNSIGNED-PAYLOAD' }, bed.context('lambda'));
    assert.equal((await fetch(url, { method: 'POST', headers: unsigned, body: '{}' })).status, 403);
  });

  test('a signature for another service does not fit', async () => {
    const headers = signHeaders({ method: 'GET', url: new URL(bed.origin + PATH) }, '', { ...bed.context('lambda'), service: 'sts' });
    const answer = await send({ method: 'GET', path: PATH, headers, body: undefined });
    assert.equal(answer.status, 403);
    assert.match(answer.body, /Credential should be scoped to correct service: 'lambda'/);
  });

  test('within fifteen minutes either way is good', async () => {
    for (const minutes of [-14.9, 14.9]) {
      const request = signed('lambda', (context) => ({ ...context, nowMs: context.nowMs + minutes * MINUTE_MS }));
      assert.equal((await send(request)).status, 200, `${minutes} min`);
    }
  });

  test('presigned queries of the Lambda surface: good, expired, altered, incomplete', async () => {
    const url = presign({ method: 'GET', url: new URL(bed.origin + PATH) }, 60, bed.context('lambda'));
    assert.equal((await fetch(url)).status, 200);
    const altered: [string, string][] = [
      [String(url).replace('Expires=60', 'Expires=61'), 'InvalidSignatureException'],
      [String(url).replace('Expires=60', 'Expires=0'), 'IncompleteSignatureException'],
      [String(url).replace('Expires=60', 'Expires=604801'), 'IncompleteSignatureException'],
      [String(url).replace(/&X-Amz-Signature=.*/, ''), 'IncompleteSignatureException'],
      [`${String(url)}&X-Amz-Date=20260101T000000Z`, 'IncompleteSignatureException'],
      [`${String(url)}&X-Amz-Security-Token=x`, 'UnrecognizedClientException'],
      [`${String(url)}&%zz=1`, 'IncompleteSignatureException'],
    ];
    for (const [bad, exception] of altered) {
      const answer = await fetch(bad);
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [403, exception], bad);
    }
    bed.time.nowMs += 61_000;
    const late = await fetch(url);
    bed.time.nowMs -= 61_000;
    assert.match(await late.text(), /Signature expired/);
  });

  test('the Date header serves where there is no X-Amz-Date', async () => {
    const { signatureOf, signingKey, stringToSign, canonicalRequest, amzDate, EMPTY_SHA256 } = await import('../../../src/lib/sigv4.ts');
    const context = bed.context('lambda');
    const atMs = Math.floor(context.nowMs / 1000) * 1000;
    const headers = { host: new URL(bed.origin).host, date: new Date(atMs).toUTCString() };
    const scope = { date: amzDate(atMs).slice(0, 8), region: 'us-east-1', service: 'lambda' };
    const [path = '', query = ''] = PATH.split('?');
    const canonical = canonicalRequest({ method: 'GET', path, query, headers, signedHeaders: ['date', 'host'], payloadHash: EMPTY_SHA256, pathEncoding: 'twice' });
    const signature = signatureOf(signingKey(context.credentials.secretAccessKey, scope), stringToSign({ amzDate: amzDate(atMs), scope, canonicalRequest: canonical }));
    const authorization = `AWS4-HMAC-SHA256 Credential=${context.credentials.accessKeyId}/${scope.date}/us-east-1/lambda/aws4_request,SignedHeaders=date;host,Signature=${signature}`;
    assert.equal((await send({ method: 'GET', path: PATH, headers: { ...headers, authorization }, body: undefined })).status, 200);
  });
});
