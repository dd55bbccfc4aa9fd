/**
 * AWS Signature Version 2 of S3 as links carry it: Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature
 * version 2)", query string request authentication. Boto3 and version 1 of the AWS CLI presign with it in us-east-1.
 */
import { createHmac } from 'node:crypto';

/** A request as far as the signature of a link covers it. */
export interface LinkParts {
  readonly method: string;
  /** Seconds since the epoch, as sent; it stands where a request that is signed by header has its date. */
  readonly expires: string;
  /** Headers by lower-case name; only Content-MD5, Content-Type and the `x-amz-…` ones count. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bucket and path as sent: `/bucket/some%20key`. */
  readonly resource: string;
  /** Parameters that replace headers of the answer, percent-decoded. */
  readonly overrides: ReadonlyMap<string, string>;
}

/** What is signed for a link. */
export function linkStringToSign({ method, expires, headers, resource, overrides }: LinkParts): string {
  const amzHeaders = sorted(headers).filter(([name]) => name.startsWith('x-amz-')).map(([name, value]) => `${name}:${value.trim()}`);
  const query = sorted(overrides).map(([name, value]) => `${name}=${value}`).join('&');
  return [
    method,
    headers.get('content-md5') ?? '',
    headers.get('content-type') ?? '',
    expires,
    ...amzHeaders,
    query === '' ? resource : `${resource}?${query}`,
  ].join('\n');
}

/** Base64 HMAC-SHA1 of a string to sign. */
export const linkSignature = (secretAccessKey: string, toSign: string) => createHmac('sha1', secretAccessKey).update(toSign).digest('base64');

const sorted = (entries: ReadonlyMap<string, string>) => [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
