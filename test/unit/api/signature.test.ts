import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { presign, signHeaders } from '../../../src/lib/sigv4.ts';
import type { SigningContext } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';
import { MISUSES, expected, isJson } from './misuses.ts';
import type { Form, Service, SignedRequest } from './misuses.ts';

const ARN = 'arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Amicrovm-image%3Aapp';
const PATH = `/2025-09-09/microvm-images/${ARN}/versions?maxResults=5`;
const MINUTE_MS = 60_000;
const SERVICES = ['lambda', 's3', 'sts', 'iam', 'logs', 'servicequotas'] as const;
const FORM = 'application/x-www-form-urlencoded';
const JSON_1_1 = 'application/x-amz-json-1.1';
const CONTENT_TYPE: { readonly [S in Service]: string } = { lambda: 'application/json', s3: 'application/json', sts: FORM, iam: FORM, logs: JSON_1_1, servicequotas: JSON_1_1 };
/** What names the action in the JSON 1.1 protocol. */
const TARGET: { readonly [S in Service]?: string } = { logs: 'Logs_20140328.DescribeLogGroups', servicequotas: 'ServiceQuotasV20190624.ListServiceQuotas' };

interface GoodRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly status: number;
  /** Where the status alone does not tell it from a refused one. */
  readonly answer?: RegExp;
}

/** A good request of each service in each form; a presigned one has no body. */
const GOOD: { readonly [S in Service]: { readonly [F in Form]: GoodRequest } } = {
  lambda: {
    header: { method: 'PUT', path: `/2025-09-09/microvm-images/${ARN}?b=2&a=1&a=0`, body: '{"baseImageArn":"arn:x","buildRoleArn":"arn:aws:iam::000000000000:role/b","codeArtifact":{"uri":"s3://b/k"}}', status: 200 },
    query: { method: 'GET', path: `/2025-09-09/microvm-images/${ARN}/versions?b=2&a=1&a=0`, body: '', status: 200 },
  },
  s3: {
    header: { method: 'PUT', path: '/misuse/some%20key%3A?x-id=PutObject', body: 'hello', status: 200 },
    query: { method: 'GET', path: '/misuse/kept%20key%3A?x-id=GetObject', body: '', status: 200 },
  },
  sts: {
    header: { method: 'POST', path: '/app%3A?b=2&a=1', body: 'Action=GetCallerIdentity&Version=2011-06-15', status: 200 },
    query: { method: 'GET', path: '/app%3A?Action=GetCallerIdentity&Version=2011-06-15&a=1', body: '', status: 200 },
  },
  iam: {
    header: { method: 'POST', path: '/app%3A?b=2&a=1', body: 'Action=ListRoles&Version=2010-05-08', status: 200 },
    query: { method: 'GET', path: '/app%3A?Action=ListRoles&Version=2010-05-08&PathPrefix=/&a=1', body: '', status: 200 },
  },
  logs: {
    header: { method: 'POST', path: '/app%3A?b=2&a=1', body: '{"logGroupNamePrefix":"/aws"}', status: 200 },
    query: { method: 'POST', path: '/app%3A?b=2&a=1', body: '', status: 200 },
  },
  servicequotas: {
    header: { method: 'POST', path: '/app%3A?b=2&a=1', body: '{"ServiceCode":"lambda"}', status: 200 },
    // Names no service, and is told so once it is let in.
    query: { method: 'POST', path: '/app%3A?b=2&a=1', body: '', status: 400, answer: /"__type":"IllegalArgumentException"/ },
  },
};

describe('signatures', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.call('PUT', '/misuse', { service: 's3' });
    await bed.call('PUT', '/misuse/kept%20key%3A', { service: 's3', body: 'kept' });
    await bed.store.accessKeys.insert({ accessKeyId: 'AKIAOTHER', secretAccessKey: 'other', createdAtMs: 0, description: null, session: null });
  });
  after(() => bed[Symbol.asyncDispose]());

  /** Over a bare socket, because an HTTP client would mend what is altered. */
  async function send(request: SignedRequest): Promise<{ status: number; head: string; body: string }> {
    const headers = [...request.headers, ['content-length', String(Buffer.byteLength(request.body))], ['connection', 'close']];
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const answer = await bed.raw(`${request.method} ${request.path} HTTP/1.1\r\n${lines}\r\n${request.body}`);
    const at = answer.indexOf('\r\n\r\n');
    return { status: Number(answer.split(' ')[1]), head: answer.slice(0, at).toLowerCase(), body: answer.slice(at + 4) };
  }

  function signed(service: Service, form: Form, sign: (context: SigningContext) => SigningContext = (context) => context): SignedRequest {
    const { method, path, body } = GOOD[service][form];
    const target = TARGET[service];
    const own = { 'X-Test': '1', 'X-Amz-Meta-Test': 'a  b', 'Content-Type': CONTENT_TYPE[service], ...(target !== undefined && { 'X-Amz-Target': target }) };
    const given = { method, url: new URL(bed.origin + path), headers: own };
    const context = sign(bed.context(service));
    if (form === 'header') return { form, method, path, body, headers: Object.entries(signHeaders(given, body, context)) };
    const url = presign(given, 60, context);
    const headers = Object.entries({ host: url.host, ...own }).map(([name, value]) => [name.toLowerCase(), value] as const);
    return { form, method, path: url.pathname + url.search, body, headers };
  }

  const forms = SERVICES.flatMap((service) => (['header', 'query'] as const).map((form) => [service, form] as const));
  for (const [service, form] of forms) {
    describe(`${service}, signed by ${form}`, () => {
      test('the request that is altered below is good as it stands', async () => {
        const good = signed(service, form);
        // The order of parameters is not part of a signature.
        const [path = '', query = ''] = good.path.split('?');
        for (const request of [good, { ...good, path: `${path}?${query.split('&').toReversed().join('&')}` }]) {
          const answer = await send(request);
          assert.equal(answer.status, GOOD[service][form].status, answer.body);
          assert.match(answer.body, GOOD[service][form].answer ?? /^/);
        }
      });

      for (const misuse of MISUSES.filter(({ only = form, of = () => true }) => only === form && of(service))) {
        test(`refused: ${misuse.part}`, async () => {
          const calls = bed.control.calls.length;
          const request = signed(service, form, misuse.sign);
          misuse.alter?.(request);
          bed.time.nowMs += misuse.laterMs ?? 0;
          const answer = await send(request).finally(() => (bed.time.nowMs -= misuse.laterMs ?? 0));
          const { status, code, text } = expected(misuse, service, form);
          assert.equal(answer.status, status, answer.body);
          assert.match(answer.head, new RegExp(`x-amzn-errortype: ${code.toLowerCase()}\\b`));
          assert.match(answer.head, /x-amzn-requestid: \S/);
          if (service === 'lambda') assert.match(JSON.parse(answer.body).message, text);
          else if (isJson(service)) assert.deepEqual([JSON.parse(answer.body).__type, text.test(JSON.parse(answer.body).message)], [code, true], answer.body);
          else assert.ok(answer.body.includes(`<Code>${code}</Code>`), answer.body);
          assert.equal(bed.control.calls.length, calls);
        });
      }
    });
  }

  test('what was refused has changed nothing', async () => {
    const kept = await bed.call('GET', '/misuse/kept%20key%3A', { service: 's3' });
    assert.equal(kept.text, 'kept');
  });

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
    const answer = await send({ form: 'header', method: 'GET', path: PATH, headers: Object.entries(headers), body: '' });
    assert.equal(answer.status, 403);
    assert.match(answer.body, /Credential should be scoped to correct service: 'lambda'/);
  });

  test('within fifteen minutes either way is good', async () => {
    for (const minutes of [-14.9, 14.9]) {
      const request = signed('lambda', 'header', (context) => ({ ...context, nowMs: context.nowMs + minutes * MINUTE_MS }));
      assert.equal((await send(request)).status, 200, `${minutes} min`);
    }
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
    assert.equal((await send({ form: 'header', method: 'GET', path: PATH, headers: Object.entries({ ...headers, authorization }), body: '' })).status, 200);
  });
});
