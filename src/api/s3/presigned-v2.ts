/**
 * Links that are signed with Signature V2: what boto3's `generate_presigned_url` and `aws s3 presign` of version 1 make in us-east-1.
 * Only what they make them for is taken, GET, HEAD and PUT of an object, and nothing that the signature does not cover.
 */
import type { IncomingMessage } from 'node:http';
import { linkStringToSign } from '../../lib/sigv2.ts';
import { amzDate, queryPairs } from '../../lib/sigv4.ts';
import { AuthFailure, MAX_PRESIGNED_SECONDS, TOKEN_HEADER, receivedUrl, splitUrl } from '../authentication.ts';
import type { SignedLink } from '../authentication.ts';
import { OVERRIDES } from './object-headers.ts';
import { S3Error } from './s3-error.ts';
import type { Addressed } from './target.ts';

const KEY_ID = 'AWSAccessKeyId';
const SIGNATURE = 'Signature';
const EXPIRES = 'Expires';
const METHODS: readonly string[] = ['GET', 'HEAD', 'PUT'];

/** A link of Signature V2. Nothing of it is believed before {@link Authenticator.verifyLink}. */
export interface PresignedV2 extends SignedLink {
  /** The parameters that the operation may see: response-… overrides. */
  readonly overrides: ReadonlyMap<string, string>;
}

/**
 * Reads the link that a request is; undefined where it is none.
 * @throws AuthFailure two-mechanisms, expired, unsupported-algorithm (where only V4 can do what is asked)
 * @throws S3Error AccessDenied, AuthorizationQueryParametersError
 */
export function readPresignedV2(request: IncomingMessage, { target, query, resource }: Addressed, nowMs: number): PresignedV2 | undefined {
  if (!query.has(KEY_ID) && !query.has(SIGNATURE)) return undefined;
  const names = [...query.keys()];
  if (request.headers.authorization !== undefined || names.some((name) => name.startsWith('X-Amz-'))) throw new AuthFailure('two-mechanisms');
  const method = request.method ?? '';
  if (target.kind !== 'object' || !METHODS.includes(method)) throw new AuthFailure('unsupported-algorithm');
  const [accessKeyId = '', signature = '', expires = ''] = [KEY_ID, SIGNATURE, EXPIRES].map((name) => query.get(name));
  if (accessKeyId === '' || signature === '' || expires === '') {
    throw new S3Error('AccessDenied', { message: 'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters' });
  }
  const headers = new Map(Object.entries(request.headersDistinct).map(([name, values = []]) => [name, values.join(',')]));
  const token = query.get(TOKEN_HEADER);
  if (token !== undefined && !headers.has(TOKEN_HEADER)) headers.set(TOKEN_HEADER, token);
  requireSigned(queryPairs(splitUrl(receivedUrl(request)).query), headers);
  requireNotExpired(expires, nowMs);
  const overrides = new Map([...query].filter(([name]) => OVERRIDES.includes(name)));
  const stringToSign = linkStringToSign({ method, expires, headers, resource, overrides });
  return { accessKeyId, signature, securityToken: headers.get(TOKEN_HEADER), stringToSign, overrides };
}

/**
 * Every parameter must be covered by the signature, once: as one of its own, as an override, or as the repetition of a header that
 * is signed (botocore puts Content-Type and `x-amz-…` headers into the link too).
 */
function requireSigned(pairs: readonly (readonly [string, string])[], headers: ReadonlyMap<string, string>): void {
  const seen = new Set<string>();
  for (const [name, value] of pairs) {
    const own = name === KEY_ID || name === SIGNATURE || name === EXPIRES;
    // What is signed is not encoded: this value and two parameters would have the same signature.
    const override = OVERRIDES.includes(name) && !value.includes('&response-');
    const repeated = /^(?:content-md5|content-type|x-amz-.*)$/.test(name) && headers.get(name) === value;
    if (seen.has(name) || !(own || override || repeated)) throw new AuthFailure('unsupported-algorithm');
    seen.add(name);
  }
}

function requireNotExpired(expires: string, nowMs: number): void {
  if (!/^\d{1,12}$/.test(expires)) throw new S3Error('AccessDenied', { message: `Invalid date (should be seconds since epoch): ${expires.slice(0, 64)}` });
  const endMs = Number(expires) * 1000;
  if (endMs > nowMs + MAX_PRESIGNED_SECONDS * 1000) {
    throw new S3Error('AuthorizationQueryParametersError', { message: `Expires must be at most ${MAX_PRESIGNED_SECONDS} seconds away.` });
  }
  if (nowMs >= endMs) throw new AuthFailure('expired', amzDate(endMs));
}
