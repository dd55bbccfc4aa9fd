/** Every single part of a signed request, altered, and what AWS says of it: AWS General Reference, "Troubleshoot AWS SigV4 errors"; S3 API Reference, "Error responses". */
import type { SigningContext } from '../../../src/lib/sigv4.ts';

export type Service = 'lambda' | 's3' | 'sts' | 'iam' | 'logs' | 'servicequotas';
/** Where the signature is. */
export type Form = 'header' | 'query';

/** A request as it goes over the wire. */
export interface SignedRequest {
  readonly form: Form;
  method: string;
  path: string;
  headers: (readonly [string, string])[];
  body: string;
}

/** What is said to it: for Lambda status, exception and text; for S3 status and code, where `MALFORMED` depends on the form. */
interface Verdict {
  readonly lambda: readonly [status: number, exception: string, text: RegExp];
  readonly s3: readonly [status: number, code: string];
}

/** One altered part of a request that is good otherwise. */
export interface Misuse extends Verdict {
  readonly part: string;
  /** The form that has the part, where one has not. */
  readonly only?: Form;
  /** The services that have it, where not all do. */
  readonly of?: (service: Service) => boolean;
  readonly alter?: (request: SignedRequest) => void;
  readonly sign?: (context: SigningContext) => SigningContext;
  /** How much later it is sent. */
  readonly laterMs?: number;
  /** What S3 says by query where that is something else. */
  readonly s3Query?: readonly [status: number, code: string];
}

const MINUTE_MS = 60_000;
const MALFORMED = 'MALFORMED';
const MISMATCH: Verdict = {
  lambda: [403, 'InvalidSignatureException', /does not match the signature you provided/],
  s3: [403, 'SignatureDoesNotMatch'],
};
const incomplete = (text: RegExp): Verdict => ({ lambda: [403, 'IncompleteSignatureException', text], s3: [400, MALFORMED] });
const outOfScope = (text: RegExp): Verdict => ({ lambda: [403, 'InvalidSignatureException', text], s3: [400, MALFORMED] });
const NOT_SIGNED: Verdict = { lambda: [403, 'InvalidSignatureException', /headers present in the request which were not signed/], s3: [403, 'AccessDenied'] };
const MISSING: Verdict = { lambda: [403, 'MissingAuthenticationTokenException', /^Missing Authentication Token$/], s3: [403, 'AccessDenied'] };
const TWO: Verdict = { lambda: [403, 'IncompleteSignatureException', /Only one auth mechanism/], s3: [400, 'InvalidArgument'] };

/** Changes a field of the signature in the form that the request has; undefined takes it away. */
const field = (name: 'Credential' | 'SignedHeaders' | 'Signature', change: (value: string) => string | undefined) => (request: SignedRequest) => {
  if (request.form === 'query') return queryField(`X-Amz-${name}`, change)(request);
  changeHeader(request, 'authorization', (value) => {
    const [algorithm = '', ...fields] = value.split(/,? /);
    const kept = fields.flatMap((one) => {
      if (!one.startsWith(`${name}=`)) return [one];
      const changed = change(one.slice(name.length + 1));
      return changed === undefined ? [] : [`${name}=${changed}`];
    });
    return `${algorithm} ${kept.join(', ')}`;
  });
};

const queryField = (name: string, change: (value: string) => string | undefined) => (request: SignedRequest) => {
  const [path = '', query = ''] = request.path.split('?');
  const parts = query.split('&').flatMap((part) => {
    if (!part.startsWith(`${name}=`)) return [part];
    const changed = change(decodeURIComponent(part.slice(name.length + 1)));
    return changed === undefined ? [] : [`${name}=${encodeURIComponent(changed)}`];
  });
  request.path = `${path}?${parts.join('&')}`;
};

function changeHeader(request: SignedRequest, name: string, change: (value: string) => string | undefined): void {
  request.headers = request.headers.flatMap(([key, value]) => {
    if (key !== name) return [[key, value] as const];
    const changed = change(value);
    return changed === undefined ? [] : [[key, changed] as const];
  });
}

const header = (name: string, change: (value: string) => string | undefined) => (request: SignedRequest) => changeHeader(request, name, change);
const add = (name: string, value: string) => (request: SignedRequest) => void request.headers.push([name, value]);
const path = (change: (path: string) => string) => (request: SignedRequest) => {
  const [before = '', query = ''] = request.path.split('?');
  request.path = `${change(before)}?${query}`;
};
const query = (change: (query: string) => string) => (request: SignedRequest) => {
  const [before = '', after = ''] = request.path.split('?');
  request.path = `${before}?${change(after)}`;
};
const date = (change: (value: string) => string | undefined) => (request: SignedRequest) =>
  request.form === 'query' ? queryField('X-Amz-Date', change)(request) : changeHeader(request, 'x-amz-date', change);
const algorithm = (change: (value: string) => string) => (request: SignedRequest) =>
  request.form === 'query' ? queryField('X-Amz-Algorithm', change)(request) : changeHeader(request, 'authorization', change);
const scope = (at: number, value: string) =>
  field('Credential', (credential) => credential.split('/').map((part, n) => (n === at ? value : part)).join('/'));
const otherHex = (digit: string) => (digit === '0' ? '1' : '0');
const gone = () => undefined;

const UNSUPPORTED = { lambda: [403, 'IncompleteSignatureException', /^Unsupported AWS 'algorithm'/], s3: [400, 'InvalidRequest'], s3Query: [400, MALFORMED] } as const;
const TOO_NEW = { lambda: [403, 'InvalidSignatureException', /^Signature not yet current: /], s3: [403, 'RequestTimeTooSkewed'], s3Query: [403, 'AccessDenied'] } as const;
const EXPIRED = [403, 'InvalidSignatureException', /^Signature expired: /] as const;
const UNKNOWN_KEY: Verdict = { lambda: [403, 'UnrecognizedClientException', /^The security token included in the request is invalid\.$/], s3: [403, 'InvalidAccessKeyId'] };
const SUPERFLUOUS_TOKEN: Verdict = { lambda: UNKNOWN_KEY.lambda, s3: [400, 'InvalidToken'] };
const NO_HOST: Verdict = { lambda: [403, 'InvalidSignatureException', /'Host' or ':authority' must be a 'SignedHeader'/], s3: [403, 'AccessDenied'] };
const DATE = /'X-Amz-Date'|X-Amz-Date/;

export const MISUSES: readonly Misuse[] = [
  // The method, the path, the query.
  { part: 'the method', alter: (r) => (r.method = 'DELETE'), ...MISMATCH },
  { part: 'a letter of the path', alter: path((p) => p.replace('app', 'apq').replace('misuse', 'misusf')), ...MISMATCH },
  { part: 'the case of the path', alter: path((p) => p.replace('app', 'App').replace('key', 'Key')), ...MISMATCH },
  { part: 'a slash more at the end of the path', alter: path((p) => `${p}/`), ...MISMATCH },
  { part: 'two slashes for one', alter: path((p) => p.replace(/\/(?=[^/]*$)/, '//')), ...MISMATCH },
  { part: 'an encoded character twice encoded', alter: path((p) => p.replace('%3A', '%253A')), ...MISMATCH },
  { part: 'a parameter more', alter: query((q) => `${q}&x=1`), ...MISMATCH },
  { part: 'a parameter less', alter: query((q) => q.replace(/(a=1|x-id=\w+)&?/, '')), ...MISMATCH },
  { part: 'a name in the query', alter: query((q) => q.replace('a=1', 'c=1').replace('x-id', 'x-ie')), ...MISMATCH },
  { part: 'a value in the query', alter: query((q) => q.replace('a=1', 'a=2').replace('Object', 'Objekt')), ...MISMATCH },
  { part: 'a parameter given twice', alter: query((q) => `${q}&${/(a=1|x-id=\w+)/.exec(q)![0]}`), ...MISMATCH },
  { part: 'a broken percent sequence in the query', alter: query((q) => `${q}&%zz=1`), only: 'query', ...incomplete(/not valid percent-encoding/), s3Query: [400, 'InvalidURI'] },
  // The headers.
  { part: 'the host', alter: header('host', () => 'elsewhere:1'), ...MISMATCH },
  { part: 'a signed header', alter: header('x-test', () => '2'), ...MISMATCH },
  { part: 'a signed header taken away', alter: header('x-test', gone), ...MISMATCH },
  { part: 'a signed header given twice', alter: add('x-test', '1'), ...MISMATCH },
  { part: 'a signed x-amz header', alter: header('x-amz-meta-test', () => 'ab'), ...MISMATCH },
  { part: 'the content type', alter: header('content-type', () => 'application/json;x=y'), ...MISMATCH },
  { part: 'the action', of: isJson, alter: header('x-amz-target', (v) => v.replace('List', 'Get').replace('Describe', 'Delete')), ...MISMATCH },
  { part: 'no action', of: isJson, alter: header('x-amz-target', gone), ...MISMATCH },
  { part: 'an x-amz header added', alter: add('x-amz-acl', 'public-read'), ...NOT_SIGNED },
  { part: 'the payload hash', alter: header('x-amz-content-sha256', () => '0'.repeat(64)), only: 'header', ...MISMATCH },
  { part: 'a payload hash that says unsigned', alter: header('x-amz-content-sha256', () => 'UNSIGNED-PAYLOAD'), only: 'header', ...MISMATCH },
  { part: 'a payload hash that says chunked', alter: header('x-amz-content-sha256', () => 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'), only: 'header', ...MISMATCH },
  // The body; that of a presigned S3 request is not signed.
  { part: 'the body', alter: (r) => (r.body = `${r.body.slice(0, -1)}X`), only: 'header', lambda: MISMATCH.lambda, s3: [400, 'XAmzContentSHA256Mismatch'] },
  { part: 'the body cut off', alter: (r) => (r.body = r.body.slice(0, -1)), only: 'header', lambda: MISMATCH.lambda, s3: [400, 'XAmzContentSHA256Mismatch'] },
  { part: 'the body gone on', alter: (r) => (r.body += ' '), only: 'header', lambda: MISMATCH.lambda, s3: [400, 'XAmzContentSHA256Mismatch'] },
  // The date.
  { part: 'the date within the minute', alter: date((v) => v.replace(/(\d)Z$/, (_, digit) => `${otherHex(digit)}Z`)), ...MISMATCH },
  { part: 'a nonsense date', alter: date(() => '20269999T999999Z'), ...incomplete(DATE) },
  { part: 'a date with dashes', alter: date((v) => v.replace(/^(\d{4})(\d\d)/, '$1-$2-')), ...incomplete(DATE) },
  { part: 'no date', alter: date(gone), ...incomplete(DATE) },
  { part: 'signed sixteen minutes ago', sign: (c) => ({ ...c, nowMs: c.nowMs - 16 * MINUTE_MS }), only: 'header', lambda: EXPIRED, s3: [403, 'RequestTimeTooSkewed'] },
  { part: 'signed sixteen minutes ahead', sign: (c) => ({ ...c, nowMs: c.nowMs + 16 * MINUTE_MS }), ...TOO_NEW },
  { part: 'sent when the URL has expired', laterMs: MINUTE_MS, only: 'query', lambda: EXPIRED, s3: [403, 'AccessDenied'] },
  { part: 'a longer expiry', alter: queryField('X-Amz-Expires', () => '61'), only: 'query', ...MISMATCH },
  ...['0', '-1', '604801', '1.5', 'x'].map((value): Misuse => ({ part: `an expiry of ${value}`, alter: queryField('X-Amz-Expires', () => value), only: 'query', ...incomplete(/X-Amz-Expires must be between/) })),
  { part: 'no expiry', alter: queryField('X-Amz-Expires', gone), only: 'query', ...incomplete(/X-Amz-Expires/) },
  // Who signed.
  { part: 'an unknown key id', alter: scope(0, 'AKIANOBODY'), ...UNKNOWN_KEY },
  { part: "another's key id", alter: scope(0, 'AKIAOTHER'), ...MISMATCH },
  { part: 'no key id', alter: scope(0, ''), ...incomplete(/5 slash-delimited/) },
  { part: 'a wrong secret', sign: (c) => ({ ...c, credentials: { ...c.credentials, secretAccessKey: 'no' } }), ...MISMATCH },
  { part: 'a token that was not asked for', sign: (c) => ({ ...c, credentials: { ...c.credentials, sessionToken: 'abc' } }), ...SUPERFLUOUS_TOKEN },
  { part: 'a token that is not signed', alter: add('x-amz-security-token', 'abc'), ...NOT_SIGNED },
  // The scope.
  { part: 'the scope of another day', alter: scope(1, '20200101'), ...outOfScope(/^Date in Credential scope does not match/) },
  { part: 'the scope of another region', sign: (c) => ({ ...c, region: 'eu-central-1' }), ...outOfScope(/valid region/) },
  { part: 'a scope with another terminator', alter: scope(4, 'aws5_request'), ...outOfScope(/valid terminator: 'aws4_request', not 'aws5_request'/) },
  { part: 'a scope cut short', alter: field('Credential', (v) => v.replace('/aws4_request', '')), ...incomplete(/5 slash-delimited/) },
  { part: 'a scope gone on', alter: field('Credential', (v) => `${v}/more`), ...incomplete(/5 slash-delimited/) },
  { part: 'no credential', alter: field('Credential', gone), ...incomplete(/Credential/) },
  // The list of signed headers.
  { part: 'a signed header struck off the list', alter: field('SignedHeaders', (v) => v.replace(';x-test', '')), ...MISMATCH },
  { part: 'a header added to the list', alter: field('SignedHeaders', (v) => `${v};x-zero`), ...MISMATCH },
  { part: 'the list in another order', alter: field('SignedHeaders', (v) => v.split(';').toReversed().join(';')), ...MISMATCH },
  { part: 'a header twice on the list', alter: field('SignedHeaders', (v) => `${v};x-test`), ...MISMATCH },
  { part: 'the list in capitals', alter: field('SignedHeaders', (v) => v.replace('x-test', 'X-Test')), ...MISMATCH },
  { part: 'host struck off the list', alter: field('SignedHeaders', (v) => v.replace('host;', '')), ...NO_HOST },
  { part: 'an x-amz header struck off the list', alter: field('SignedHeaders', (v) => v.replace(';x-amz-meta-test', '')), ...NOT_SIGNED },
  { part: 'no list of signed headers', alter: field('SignedHeaders', gone), ...incomplete(/SignedHeaders/) },
  // The signature and its algorithm.
  { part: 'the first digit of the signature', alter: field('Signature', (v) => otherHex(v[0]!) + v.slice(1)), ...MISMATCH },
  { part: 'the last digit of the signature', alter: field('Signature', (v) => v.slice(0, -1) + otherHex(v.at(-1)!)), ...MISMATCH },
  { part: 'the signature cut short', alter: field('Signature', (v) => v.slice(0, -1)), ...MISMATCH },
  { part: 'the signature gone on', alter: field('Signature', (v) => `${v}0`), ...MISMATCH },
  { part: 'the signature in capitals', alter: field('Signature', (v) => v.toUpperCase()), ...MISMATCH },
  { part: 'no signature', alter: field('Signature', gone), ...incomplete(/Signature/) },
  { part: 'an empty signature', alter: field('Signature', () => ''), ...incomplete(/Signature/) },
  { part: 'SigV4A', alter: algorithm((v) => v.replace('AWS4-HMAC', 'AWS4-ECDSA-P256')), ...UNSUPPORTED },
  { part: 'a weaker algorithm', alter: algorithm((v) => v.replace('SHA256', 'SHA1')), ...UNSUPPORTED },
  { part: 'another scheme', alter: algorithm(() => 'Bearer abc'), ...UNSUPPORTED },
  { part: 'a field twice', alter: header('authorization', (v) => `${v}, Signature=00`), only: 'header', ...incomplete(/not a valid key=value pair/) },
  { part: 'a field that nobody knows', alter: header('authorization', (v) => `${v}, More=1`), only: 'header', ...incomplete(/not a valid key=value pair/) },
  { part: 'a parameter of the signature twice', alter: query((q) => `${q}&X-Amz-Date=20260101T000000Z`), only: 'query', ...incomplete(/X-Amz-Date is given twice/) },
  { part: 'no signature at all', alter: strip, ...MISSING },
  { part: 'parameters of a signature beside the header', alter: query((q) => `${q}&X-Amz-Signature=00`), only: 'header', ...TWO },
  { part: 'a token in the query beside the header', alter: query((q) => `${q}&X-Amz-Security-Token=x`), only: 'header', ...TWO },
  { part: 'a header beside the parameters of a signature', alter: add('authorization', 'AWS4-HMAC-SHA256 Signature=0'), only: 'query', ...TWO },
];

function strip(request: SignedRequest): void {
  changeHeader(request, 'authorization', gone);
  query((q) => q.replaceAll(/&?X-Amz-[^&]*/g, ''))(request);
}

/** The codes of the query protocol (STS API Reference, "Common errors"). */
const QUERY_CODES: Readonly<Record<string, string>> = {
  MissingAuthenticationTokenException: 'MissingAuthenticationToken',
  IncompleteSignatureException: 'IncompleteSignature',
  InvalidSignatureException: 'SignatureDoesNotMatch',
  UnrecognizedClientException: 'InvalidClientTokenId',
};

/** True for the services of the JSON 1.1 protocol. */
export function isJson(service: Service): boolean {
  return service === 'logs' || service === 'servicequotas';
}

/** What that protocol answers to whatever a client does wrong (Smithy, "AWS JSON 1.1 protocol": the body's `__type` says what). */
const JSON_CLIENT_FAULT = 400;

/** What is said to a misuse. */
export function expected({ lambda, s3, s3Query = s3 }: Misuse, service: Service, form: Form): { status: number; code: string; text: RegExp } {
  if (service === 'sts' || service === 'iam') return { status: lambda[0], code: QUERY_CODES[lambda[1]] ?? lambda[1], text: lambda[2] };
  if (isJson(service)) return { status: JSON_CLIENT_FAULT, code: lambda[1], text: lambda[2] };
  const [status, code] = service === 'lambda' ? lambda : form === 'query' ? s3Query : s3;
  const malformed = form === 'query' ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed';
  return { status, code: code === MALFORMED ? malformed : code, text: lambda[2] };
}
