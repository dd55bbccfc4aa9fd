/** Links of Signature V2, each signed here anew: Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)". */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { linkSignature, linkStringToSign } from '../../../src/lib/sigv2.ts';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const SESSION = { accessKeyId: 'ASIALULLTEST00000000', secretAccessKey: 'another secret', sessionToken: 'a+token/with=signs' };
const KEPT = '/links/some%20key%3A';
const HOUR_S = 3600;
const WEEK_S = 604_800;

interface Link {
  method: string;
  path: string;
  query: [string, string][];
  headers: Record<string, string>;
  body: string;
}

/** What a link is made from. */
interface Making {
  readonly method?: string;
  readonly path?: string;
  readonly secret?: string;
  readonly accessKeyId?: string;
  readonly expires?: string;
  readonly lifeSeconds?: number;
  /** The headers that are signed, and sent. */
  readonly headers?: Record<string, string>;
  readonly overrides?: readonly (readonly [string, string])[];
  /** In the query only, as botocore sends it. */
  readonly token?: string;
  readonly body?: string;
  /** Bucket and path, where it is not the path. */
  readonly resource?: string;
}

/** A link that is altered, and what is said to it. */
interface Alteration {
  readonly part: string;
  readonly making?: Making;
  readonly alter?: (link: Link) => void;
  readonly laterSeconds?: number;
  readonly refused: readonly [status: number, code: string, text: RegExp];
}

const MISMATCH = [403, 'SignatureDoesNotMatch', /The request signature we calculated does not match/] as const;
const ONLY_V4 = [400, 'InvalidRequest', /<Message>The authorization mechanism you have provided is not supported\. Please use AWS4-HMAC-SHA256\.</] as const;
const INCOMPLETE = [403, 'AccessDenied', /<Message>Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters</] as const;
const NO_DATE = [403, 'AccessDenied', /<Message>Invalid date \(should be seconds since epoch\): /] as const;
const TOO_FAR = [400, 'AuthorizationQueryParametersError', /<Message>Expires must be at most 604800 seconds away\.</] as const;
const TWO = [400, 'InvalidArgument', /Only one auth mechanism allowed/] as const;
const EXPIRED = [403, 'AccessDenied', /<Message>Request has expired<\/Message><Expires>\d{8}T\d{6}Z</] as const;
const BAD_TOKEN = [400, 'InvalidToken', /The provided token is malformed/] as const;

const field = (name: string, change: (value: string) => string | undefined) => (link: Link) => {
  link.query = link.query.flatMap(([key, value]): [string, string][] => {
    const changed = key === name ? change(value) : value;
    return changed === undefined ? [] : [[key, changed]];
  });
};
const add = (name: string, value: string) => (link: Link) => void link.query.push([name, value]);
const header = (name: string, value: string) => (link: Link) => void (link.headers[name] = value);
const gone = () => undefined;

const OVERRIDDEN: Making = { overrides: [['response-content-disposition', 'attachment'], ['response-content-type', 'text/plain']] };
const PUT: Making = { method: 'PUT', body: 'overwritten', headers: { 'content-type': 'a/b', 'content-md5': createHash('md5').update('overwritten').digest('base64'), 'x-amz-meta-who': 'me' } };
const BY_ROLE: Making = { accessKeyId: SESSION.accessKeyId, secret: SESSION.secretAccessKey, token: SESSION.sessionToken };

const ALTERATIONS: readonly Alteration[] = [
  { part: 'GET made HEAD', alter: (l) => (l.method = 'HEAD'), refused: [403, '', /^$/] },
  { part: 'GET made PUT', alter: (l) => (l.method = 'PUT'), refused: MISMATCH },
  { part: 'GET made DELETE', alter: (l) => (l.method = 'DELETE'), refused: ONLY_V4 },
  { part: 'GET made POST', alter: (l) => (l.method = 'POST'), refused: ONLY_V4 },
  { part: 'the bucket', alter: (l) => (l.path = l.path.replace('links', 'linkt')), refused: MISMATCH },
  { part: 'the key', alter: (l) => (l.path = l.path.replace('key', 'kez')), refused: MISMATCH },
  { part: 'another encoding of the key', alter: (l) => (l.path = l.path.replace('%3A', ':')), refused: MISMATCH },
  { part: 'two slashes for one', alter: (l) => (l.path = l.path.replace('links/', 'links//')), refused: MISMATCH },
  { part: 'the key left out', alter: (l) => (l.path = '/links'), refused: ONLY_V4 },
  { part: 'the bucket named by the host too', alter: header('host', 'links.localhost'), refused: MISMATCH },
  { part: 'a later end', alter: field('Expires', (v) => String(Number(v) + 1)), refused: MISMATCH },
  { part: 'a zero before the end', alter: field('Expires', (v) => `0${v}`), refused: MISMATCH },
  { part: 'an end that is no number', alter: field('Expires', (v) => `${v}.5`), refused: NO_DATE },
  { part: 'an end in the form of V4', making: { expires: '20990101T000000Z' }, refused: NO_DATE },
  { part: 'a negative end', making: { expires: '-1' }, refused: NO_DATE },
  { part: 'an end without end', making: { expires: '9'.repeat(400) }, refused: NO_DATE },
  { part: 'an end more than a week away', making: { lifeSeconds: WEEK_S + 1 }, refused: TOO_FAR },
  { part: 'sent when it has expired', laterSeconds: HOUR_S, refused: EXPIRED },
  { part: 'no end', alter: field('Expires', gone), refused: INCOMPLETE },
  { part: 'no signature', alter: field('Signature', gone), refused: INCOMPLETE },
  { part: 'an empty signature', alter: field('Signature', () => ''), refused: INCOMPLETE },
  { part: 'no key id', alter: field('AWSAccessKeyId', gone), refused: INCOMPLETE },
  { part: 'an unknown key id', alter: field('AWSAccessKeyId', () => 'AKIANOBODY'), refused: [403, 'InvalidAccessKeyId', /<AWSAccessKeyId>AKIANOBODY</] },
  { part: "another's key id", alter: field('AWSAccessKeyId', () => 'AKIAOTHER'), refused: MISMATCH },
  { part: 'a wrong secret', making: { secret: 'no' }, refused: MISMATCH },
  { part: 'the signature', alter: field('Signature', (v) => (v.startsWith('A') ? 'B' : 'A') + v.slice(1)), refused: MISMATCH },
  { part: 'the signature cut short', alter: field('Signature', (v) => v.slice(0, -1)), refused: MISMATCH },
  { part: 'the signature in hex', alter: field('Signature', (v) => Buffer.from(v, 'base64').toString('hex')), refused: MISMATCH },
  { part: 'a parameter of the signature twice', alter: (l) => add('Expires', l.query.find(([name]) => name === 'Expires')![1])(l), refused: ONLY_V4 },
  // What the signature does not cover.
  ...['x-id', 'versionId', 'partNumber', 'acl', 'uploadId', 'x-amz-checksum-mode', 'x-amz-meta-who', 'content-type', 'Response-Content-Type', 'expires'].map(
    (name): Alteration => ({ part: `the parameter ${name} added`, alter: add(name, '1'), refused: ONLY_V4 }),
  ),
  { part: 'an override added', alter: add('response-content-type', 'text/html'), refused: MISMATCH },
  { part: 'an override changed', making: OVERRIDDEN, alter: field('response-content-type', () => 'text/html'), refused: MISMATCH },
  { part: 'an override taken away', making: OVERRIDDEN, alter: field('response-content-disposition', gone), refused: MISMATCH },
  { part: 'an override twice', making: OVERRIDDEN, alter: add('response-content-type', 'text/plain'), refused: ONLY_V4 },
  {
    part: 'two overrides made one whose signature is the same',
    making: OVERRIDDEN,
    alter: (l) => {
      field('response-content-type', gone)(l);
      field('response-content-disposition', (v) => `${v}&response-content-type=text/plain`)(l);
    },
    refused: ONLY_V4,
  },
  // Headers.
  { part: 'a content type added', alter: header('content-type', 'text/html'), refused: MISMATCH },
  { part: 'an x-amz header added', alter: header('x-amz-acl', 'public-read'), refused: MISMATCH },
  { part: 'a source to copy from added', making: PUT, alter: header('x-amz-copy-source', '/links/other'), refused: MISMATCH },
  { part: 'a payload hash added', making: PUT, alter: header('x-amz-content-sha256', 'UNSIGNED-PAYLOAD'), refused: MISMATCH },
  { part: 'the content type', making: PUT, alter: header('content-type', 'a/c'), refused: MISMATCH },
  { part: 'the Content-MD5', making: PUT, alter: header('content-md5', createHash('md5').digest('base64')), refused: MISMATCH },
  { part: 'metadata', making: PUT, alter: header('x-amz-meta-who', 'you'), refused: MISMATCH },
  { part: 'a header taken away', making: PUT, alter: (l) => void delete l.headers['x-amz-meta-who'], refused: MISMATCH },
  { part: 'a content type in the link that is not the one sent', making: PUT, alter: add('content-type', 'a/c'), refused: ONLY_V4 },
  { part: 'a body that is not that of Content-MD5', making: PUT, alter: (l) => (l.body = 'overwrittem'), refused: [400, 'BadDigest', /Content-MD5/] },
  { part: 'chunks that are signed with V4', making: { ...PUT, headers: { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'x-amz-decoded-content-length': '0' } }, refused: MISMATCH },
  // Tokens.
  { part: 'a token of a key that has none', making: { token: 'abc' }, refused: BAD_TOKEN },
  { part: 'the token of a role', making: BY_ROLE, alter: field('x-amz-security-token', (v) => `${v}x`), refused: BAD_TOKEN },
  { part: 'a token with a line more', making: { ...BY_ROLE, token: `${SESSION.sessionToken}\nx-amz-x:1` }, refused: BAD_TOKEN },
  { part: 'no token of a role', making: { ...BY_ROLE, token: '' }, refused: [403, 'InvalidAccessKeyId', /ASIALULL/] },
  { part: 'a token that is not signed', making: { accessKeyId: SESSION.accessKeyId, secret: SESSION.secretAccessKey }, alter: add('x-amz-security-token', SESSION.sessionToken), refused: MISMATCH },
  { part: 'a link that is sent when its role has ended', making: { ...BY_ROLE, lifeSeconds: 3 * HOUR_S }, laterSeconds: 2 * HOUR_S, refused: [400, 'ExpiredToken', /The provided token has expired/] },
  // Two ways at once, or V2 elsewhere.
  { part: 'parameters of V4 beside it', alter: add('X-Amz-Signature', '00'), refused: TWO },
  { part: 'a signature by header beside it', alter: header('authorization', 'AWS4-HMAC-SHA256 Signature=0'), refused: TWO },
  {
    part: 'V2 in the Authorization header',
    alter: (l) => {
      l.headers['authorization'] = `AWS ${CREDENTIALS.accessKeyId}:${l.query.find(([name]) => name === 'Signature')![1]}`;
      l.query = [];
    },
    refused: ONLY_V4,
  },
  { part: 'a link to a bucket', making: { path: '/links' }, refused: ONLY_V4 },
  { part: 'a link to the list of buckets', making: { path: '/' }, refused: ONLY_V4 },
  { part: 'a link that deletes', making: { method: 'DELETE' }, refused: ONLY_V4 },
];

describe('links of Signature V2', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.call('PUT', '/links', { service: 's3' });
    await bed.call('PUT', KEPT, { service: 's3', body: 'kept' });
    await bed.store.accessKeys.insert({ accessKeyId: 'AKIAOTHER', secretAccessKey: 'other', createdAtMs: 0, description: null, session: null });
    const { sessionToken, ...key } = SESSION;
    const session = { roleArn: 'arn:aws:iam::000000000000:role/app', sessionName: 'Lambda-microvmsExecutor-1', sessionToken, expiresAtMs: bed.time.nowMs + 2 * HOUR_S * 1000, microvmId: 'microvm-1' };
    await bed.store.accessKeys.insert({ ...key, createdAtMs: 0, description: null, session });
  });
  after(() => bed[Symbol.asyncDispose]());

  function make(making: Making = {}): Link {
    const { method = 'GET', path = KEPT, secret = CREDENTIALS.secretAccessKey, accessKeyId = CREDENTIALS.accessKeyId, lifeSeconds = HOUR_S, overrides = [], token = '', body = '' } = making;
    const { headers = {}, expires = String(Math.floor(bed.time.nowMs / 1000) + lifeSeconds), resource = path } = making;
    const amz = Object.entries({ ...headers, ...(token === '' ? {} : { 'x-amz-security-token': token }) }).filter(([name]) => name.startsWith('x-amz-'));
    const lines = amz.map(([name, value]) => `${name}:${value}\n`).toSorted().join('');
    const query = overrides.map((pair) => pair.join('=')).join('&');
    const toSign = `${method}\n${headers['content-md5'] ?? ''}\n${headers['content-type'] ?? ''}\n${expires}\n${lines}${resource}${query === '' ? '' : `?${query}`}`;
    const signature = createHmac('sha1', secret).update(toSign).digest('base64');
    const own: [string, string][] = [['AWSAccessKeyId', accessKeyId], ['Signature', signature], ['Expires', expires]];
    return {
      method,
      path,
      query: [...overrides.map(([name, value]): [string, string] => [name, value]), ...own, ...(token === '' ? [] : [['x-amz-security-token', token] as [string, string]])],
      headers: { host: new URL(bed.origin).host, ...headers },
      body,
    };
  }

  /** Over a bare socket, because an HTTP client would mend what is altered. */
  async function send({ method, path, query, headers, body }: Link): Promise<{ status: number; head: string; body: string }> {
    const text = query.map((pair) => pair.map(encodeURIComponent).join('=')).join('&');
    const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = await bed.raw(`${method} ${path}?${text} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    const at = answer.indexOf('\r\n\r\n');
    return { status: Number(answer.split(' ')[1]), head: answer.slice(0, at).toLowerCase(), body: answer.slice(at + 4) };
  }

  test("AWS's own example", () => {
    const parts = { method: 'GET', expires: '1175139620', headers: new Map(), resource: '/johnsmith/photos/puppy.jpg', overrides: new Map() };
    assert.equal(linkSignature('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', linkStringToSign(parts)), 'NpgCjnDzrM+WFzoENXmpNDUsSn8=');
  });

  test('GET, HEAD and PUT of an object, in path style and in virtual-host style, by a key and by a role', async () => {
    const got = await send(make());
    assert.deepEqual([got.status, got.body], [200, 'kept']);
    const headed = await send(make({ method: 'HEAD', ...BY_ROLE }));
    assert.equal(headed.status, 200);
    assert.match(headed.head, /content-length: 4\b/);
    const overridden = await send(make({ ...OVERRIDDEN, ...BY_ROLE }));
    assert.match(overridden.head, /content-type: text\/plain\r\n/);
    assert.match(overridden.head, /content-disposition: attachment\r\n/);
    // A bucket by host name stands before the path in what is signed.
    const byHost = await send(make({ path: KEPT.slice('/links'.length), resource: KEPT, headers: { host: 'Links.localhost:1' } }));
    assert.deepEqual([byHost.status, byHost.body], [200, 'kept']);
    const put = make({ ...PUT, path: '/links/put' });
    // As botocore repeats them.
    for (const name of ['content-type', 'content-md5', 'x-amz-meta-who']) add(name, put.headers[name]!)(put);
    assert.equal((await send(put)).status, 200);
    const stored = await send(make({ path: '/links/put' }));
    assert.deepEqual([stored.status, stored.body], [200, 'overwritten']);
    assert.match(stored.head, /content-type: a\/b\r\n/);
    assert.match(stored.head, /x-amz-meta-who: me\r\n/);
    // What another surface would take by its form or its path alone.
    assert.equal((await send(make({ ...PUT, path: '/links/form', headers: { 'content-type': 'application/x-www-form-urlencoded' } }))).status, 200);
    assert.equal((await send(make({ path: '/2025-09-09/microvms' }))).status, 404);
  });

  test('the order of parameters and a week of life change nothing', async () => {
    const link = make({ ...OVERRIDDEN, lifeSeconds: WEEK_S });
    link.query.reverse();
    assert.equal((await send(link)).status, 200);
  });

  for (const { part, making, alter, laterSeconds = 0, refused } of ALTERATIONS) {
    test(`refused: ${part}`, async () => {
      const link = make(making);
      alter?.(link);
      bed.time.nowMs += laterSeconds * 1000;
      const answer = await send(link).finally(() => (bed.time.nowMs -= laterSeconds * 1000));
      const [status, code, text] = refused;
      assert.equal(answer.status, status, answer.body);
      if (code !== '') assert.ok(answer.body.includes(`<Code>${code}</Code>`), answer.body);
      assert.match(answer.body, text);
    });
  }

  test('no other service takes one', async () => {
    const url = new URL(`${bed.origin}/2025-09-09/microvms?AWSAccessKeyId=${CREDENTIALS.accessKeyId}&Signature=x&Expires=4000000000`);
    assert.equal((await fetch(url)).headers.get('content-type'), 'application/xml');
    const headers = signHeaders({ method: 'GET', url }, '', bed.context('lambda'));
    assert.equal((await fetch(url, { headers })).status, 200, 'beside a signature of V4 for another service they are parameters as any');
  });

  test('what was refused has changed nothing', async () => {
    assert.equal((await bed.call('GET', KEPT, { service: 's3' })).text, 'kept');
  });
});
