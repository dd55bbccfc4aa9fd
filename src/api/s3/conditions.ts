/** Conditional requests: RFC 9110, section 13; S3 User Guide, "Conditional requests". */
import type { IncomingHttpHeaders } from 'node:http';
import type { StoredObject, WriteCondition } from '../../domain/object-store.ts';
import { S3Error } from './s3-error.ts';

/** What the preconditions of a read come to; `failed` names the header that does not hold. */
export type Verdict = 'holds' | 'unchanged' | { readonly failed: string };

/** The headers of a read carry no prefix, those about the source of a copy this one. */
export const COPY_SOURCE_PREFIX = 'x-amz-copy-source-';

/** Judges the preconditions of a read in the order of RFC 9110, section 13.2.2. */
export function judge(object: StoredObject, headers: IncomingHttpHeaders, prefix: '' | typeof COPY_SOURCE_PREFIX = ''): Verdict {
  const given = (name: string) => headers[prefix + name]?.toString();
  const ifMatch = entityTags(given('if-match'));
  const ifNoneMatch = entityTags(given('if-none-match'));
  const unmodifiedSinceMs = momentOf(given('if-unmodified-since'));
  const modifiedSinceMs = momentOf(given('if-modified-since'));
  const matches = (tags: readonly string[]) => tags.includes('*') || tags.includes(object.etag);
  // HTTP's dates have no fractions.
  const modifiedMs = Math.floor(object.modifiedAtMs / 1000) * 1000;
  if (ifMatch !== undefined) {
    if (!matches(ifMatch)) return { failed: 'If-Match' };
  } else if (unmodifiedSinceMs !== undefined && modifiedMs > unmodifiedSinceMs) {
    return { failed: 'If-Unmodified-Since' };
  }
  const same = ifNoneMatch !== undefined ? matches(ifNoneMatch) : modifiedSinceMs !== undefined && modifiedMs <= modifiedSinceMs;
  return same ? 'unchanged' : 'holds';
}

/**
 * The precondition of a write.
 * @throws S3Error NotImplemented for what S3 does not have either
 */
export function writeCondition(headers: IncomingHttpHeaders): WriteCondition | undefined {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers;
  const other = ['if-modified-since', 'if-unmodified-since'].find((name) => headers[name] !== undefined);
  if (other !== undefined) throw new S3Error('NotImplemented', { detail: { Header: other } });
  if (ifNoneMatch !== undefined && (ifNoneMatch !== '*' || ifMatch !== undefined)) throw new S3Error('NotImplemented', { detail: { Header: 'If-None-Match' } });
  if (ifNoneMatch !== undefined) return 'absent';
  const [etag, ...more] = entityTags(ifMatch) ?? [];
  if (etag === '*' || more.length > 0) throw new S3Error('NotImplemented', { detail: { Header: 'If-Match' } });
  return etag === undefined ? undefined : { etag };
}

const entityTags = (list: string | undefined) => list?.split(',').map(entityTag);

/** An ETag as it is kept: without quotes. */
export const entityTag = (text: string) => text.trim().replace(/^W\//, '').replaceAll('"', '');

/** A date that cannot be read is as one that was not sent. */
function momentOf(date: string | undefined): number | undefined {
  const atMs = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(atMs) ? undefined : atMs;
}
