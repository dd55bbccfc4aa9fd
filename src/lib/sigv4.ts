/**
 * AWS Signature Version 4, both sides: making signatures (our own client) and the pieces with which a server checks them.
 * Source: AWS General Reference, "Create a signed AWS API request"; Amazon S3 API Reference, "Signature calculations";
 * appendix A of the contract reference for what the SDKs send.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

export const SIGV4_ALGORITHM = 'AWS4-HMAC-SHA256';
/** The end of every credential scope. */
export const SIGV4_TERMINATOR = 'aws4_request';
/** Payload hash of presigned URLs and of S3 bodies that are not signed. */
export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';
/** SHA-256 of nothing. */
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** What a signature is bound to besides the request: `20260101/us-east-1/lambda/aws4_request`. */
export interface CredentialScope {
  /** `YYYYMMDD`, UTC. */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

/** An access key. */
export interface SigningCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of a temporary key; sent and signed with every request. */
  readonly sessionToken?: string;
}

/** How often the path is percent-encoded in the canonical request: S3 once, every other service once more than it was sent. */
export type PathEncoding = 'once' | 'twice';

/** Header values by lower-case name, in the order in which they were sent. */
export type HeaderValues = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A request as far as a signature covers it. */
export interface CanonicalRequestParts {
  readonly method: string;
  /** The path as it goes over the wire, percent-encoded, without the query. */
  readonly path: string;
  /** The query as it goes over the wire, without `?`. */
  readonly query: string;
  readonly headers: HeaderValues;
  /** Lower-case names, in the order in which the signature has them (sorted, where it is a good one). */
  readonly signedHeaders: readonly string[];
  /** Hex SHA-256 of the body, or one of the literals that S3 allows. */
  readonly payloadHash: string;
  readonly pathEncoding: PathEncoding;
}

/** Hex SHA-256. */
export const sha256Hex = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');

/** Percent-encodes all but the unreserved characters, as Signature V4 asks (stricter than `encodeURIComponent`). */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * The path of the canonical request. With 'once' every way of writing the same path is the same path; with 'twice' the
 * received text itself is encoded, segment by segment (appendix A: `%3A` becomes `%253A`).
 * @throws URIError where a percent sequence is not UTF-8
 */
export function canonicalPath(path: string, encoding: PathEncoding): string {
  const segments = (path === '' ? '/' : path).split('/');
  return segments.map((segment) => uriEncode(encoding === 'once' ? decodeURIComponent(segment) : segment)).join('/');
}

/** Name and value of every query parameter, percent-decoded, in order. @throws URIError where a percent sequence is not UTF-8 */
export function queryPairs(query: string): readonly (readonly [string, string])[] {
  return query
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      const [name, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
      return [decodeURIComponent(name), decodeURIComponent(value)] as const;
    });
}

/** The query of the canonical request: encoded anew, sorted by name, then value; the signature itself is left out. */
export function canonicalQuery(query: string): string {
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return queryPairs(query)
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .toSorted(([nameA, valueA], [nameB, valueB]) => compare(nameA, nameB) || compare(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

const canonicalValue = (value: string | readonly string[] | undefined) =>
  (typeof value === 'string' ? [value] : (value ?? [])).map((one) => one.trim().replace(/ +/g, ' ')).join(',');

/** The canonical request. @throws URIError where path or query hold a broken percent sequence */
export function canonicalRequest(parts: CanonicalRequestParts): string {
  const names = parts.signedHeaders;
  return [
    parts.method,
    canonicalPath(parts.path, parts.pathEncoding),
    canonicalQuery(parts.query),
    ...names.map((name) => `${name}:${canonicalValue(parts.headers[name])}`),
    '',
    names.join(';'),
    parts.payloadHash,
  ].join('\n');
}

/** `date/region/service/aws4_request`. */
export const scopeText = (scope: CredentialScope) => `${scope.date}/${scope.region}/${scope.service}/${SIGV4_TERMINATOR}`;

/** `YYYYMMDDTHHMMSSZ` of a moment in milliseconds since the epoch. */
export const amzDate = (atMs: number) => new Date(atMs).toISOString().replace(/[-:]|\.\d{3}/g, '');

/** Milliseconds since the epoch of `YYYYMMDDTHHMMSSZ`; undefined where it is no such moment. */
export function parseAmzDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const atMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  // The 30th of February is read as a day of March.
  return Number.isNaN(atMs) || amzDate(atMs) !== text ? undefined : atMs;
}

/** What is signed for a request. */
export function stringToSign(signing: { amzDate: string; scope: CredentialScope; canonicalRequest: string }): string {
  return [SIGV4_ALGORITHM, signing.amzDate, scopeText(signing.scope), sha256Hex(signing.canonicalRequest)].join('\n');
}

/** What is signed for one chunk of an `aws-chunked` body (S3: "Transferring payload in multiple chunks"). */
export function chunkStringToSign(chunk: {
  amzDate: string;
  scope: CredentialScope;
  previousSignature: string;
  dataSha256: string;
}): string {
  return [
    `${SIGV4_ALGORITHM}-PAYLOAD`,
    chunk.amzDate,
    scopeText(chunk.scope),
    chunk.previousSignature,
    EMPTY_SHA256,
    chunk.dataSha256,
  ].join('\n');
}

/** What is signed for the trailing headers of an `aws-chunked` body. */
export function trailerStringToSign(trailer: {
  amzDate: string;
  scope: CredentialScope;
  previousSignature: string;
  trailerSha256: string;
}): string {
  return [
    `${SIGV4_ALGORITHM}-TRAILER`,
    trailer.amzDate,
    scopeText(trailer.scope),
    trailer.previousSignature,
    trailer.trailerSha256,
  ].join('\n');
}

/** The key that signs within a scope. */
export function signingKey(secretAccessKey: string, scope: CredentialScope): Buffer {
  const step = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
  return step(step(step(step(`AWS4${secretAccessKey}`, scope.date), scope.region), scope.service), SIGV4_TERMINATOR);
}

/** Hex signature of a string to sign. */
export const signatureOf = (key: Buffer, toSign: string) => createHmac('sha256', key).update(toSign).digest('hex');

/** Compares two secrets in a time that tells nothing about where they differ. */
export function constantTimeEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** What {@link signHeaders} and {@link presign} sign. */
export interface SignableRequest {
  readonly method: string;
  readonly url: URL;
  /** Further headers to sign; `host` and the `x-amz-…` ones of the signature are added. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Who signs, for what, when. */
export interface SigningContext {
  readonly credentials: SigningCredentials;
  readonly region: string;
  readonly service: string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

const pathEncodingFor = (service: string): PathEncoding => (service === 's3' ? 'once' : 'twice');

const lowerCased = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

const contextScope = (context: SigningContext): CredentialScope => ({
  date: amzDate(context.nowMs).slice(0, 8),
  region: context.region,
  service: context.service,
});

/**
 * Signs a request by header.
 * @param payload the body, or a literal such as {@link UNSIGNED_PAYLOAD} as `{ hash }`
 * @returns the headers to send: the given ones, `host`, `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` where
 *   there is one, and `authorization`
 */
export function signHeaders(
  request: SignableRequest,
  payload: string | Uint8Array | { readonly hash: string },
  context: SigningContext,
): Record<string, string> {
  const payloadHash = typeof payload === 'object' && 'hash' in payload ? payload.hash : sha256Hex(payload);
  const date = amzDate(context.nowMs);
  const scope = contextScope(context);
  const { sessionToken } = context.credentials;
  const headers: Record<string, string> = {
    ...lowerCased(request.headers ?? {}),
    host: request.url.host,
    'x-amz-date': date,
    'x-amz-content-sha256': payloadHash,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  };
  const signedHeaders = Object.keys(headers).toSorted();
  const canonical = canonicalRequest({
    method: request.method,
    path: request.url.pathname,
    query: request.url.search.slice(1),
    headers,
    signedHeaders,
    payloadHash,
    pathEncoding: pathEncodingFor(context.service),
  });
  const key = signingKey(context.credentials.secretAccessKey, scope);
  const signature = signatureOf(key, stringToSign({ amzDate: date, scope, canonicalRequest: canonical }));
  const credential = `${context.credentials.accessKeyId}/${scopeText(scope)}`;
  headers['authorization'] =
    `${SIGV4_ALGORITHM} Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  return headers;
}

/**
 * Signs a request in its query, so that whoever has the URL may send it.
 * @param expiresSeconds 1 … 604 800
 */
export function presign(request: SignableRequest, expiresSeconds: number, context: SigningContext): URL {
  const scope = contextScope(context);
  const date = amzDate(context.nowMs);
  const { sessionToken } = context.credentials;
  const headers = { ...lowerCased(request.headers ?? {}), host: request.url.host };
  const signedHeaders = Object.keys(headers).toSorted();
  const added = {
    'X-Amz-Algorithm': SIGV4_ALGORITHM,
    'X-Amz-Credential': `${context.credentials.accessKeyId}/${scopeText(scope)}`,
    'X-Amz-Date': date,
    'X-Amz-Expires': String(expiresSeconds),
    'X-Amz-SignedHeaders': signedHeaders.join(';'),
    ...(sessionToken === undefined ? {} : { 'X-Amz-Security-Token': sessionToken }),
  };
  const addedText = Object.entries(added).map(([name, value]) => `${name}=${uriEncode(value)}`);
  const query = [request.url.search.slice(1), ...addedText].filter((part) => part !== '').join('&');
  const canonical = canonicalRequest({
    method: request.method,
    path: request.url.pathname,
    query,
    headers,
    signedHeaders,
    payloadHash: context.service === 's3' ? UNSIGNED_PAYLOAD : EMPTY_SHA256,
    pathEncoding: pathEncodingFor(context.service),
  });
  const key = signingKey(context.credentials.secretAccessKey, scope);
  const signature = signatureOf(key, stringToSign({ amzDate: date, scope, canonicalRequest: canonical }));
  const url = new URL(request.url);
  url.search = `?${query}&X-Amz-Signature=${signature}`;
  return url;
}
