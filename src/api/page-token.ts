/** `nextToken`: opaque to clients, url-safe base64, good for the listing that gave it only (contract reference, section 1.7). */
import { createHash } from 'node:crypto';
import { MAX_PAGE_SIZE } from '../contract/microvms.ts';
import { ApiError } from '../contract/exceptions.ts';
import type { PageRequest } from '../domain/ports.ts';

/** Enough to tell listings apart, however long what they ask for is: a token must fit into a request. */
const DIGEST_BYTES = 16;

const digestOf = (listing: string) => createHash('sha256').update(listing).digest().subarray(0, DIGEST_BYTES);

/** The token for what follows `after` in `listing`; null at the end. */
export const nextToken = (listing: string, after: string | null) =>
  after === null ? null : Buffer.concat([digestOf(listing), Buffer.from(after)]).toString('base64url');

/**
 * The page that a request asks for.
 * @throws ApiError ValidationException (400 `{"message":null}`, section 1.7) where the token is not one of this listing
 */
export function pageRequest(listing: string, input: { maxResults: number | undefined; nextToken: string | undefined }): PageRequest {
  const limit = input.maxResults ?? MAX_PAGE_SIZE;
  return input.nextToken === undefined ? { limit } : { limit, after: positionOf(listing, input.nextToken) };
}

function positionOf(listing: string, token: string): string {
  const bytes = Buffer.from(token, 'base64url');
  if (!bytes.subarray(0, DIGEST_BYTES).equals(digestOf(listing))) throw new ApiError('ValidationException', null);
  return bytes.subarray(DIGEST_BYTES).toString();
}

/** One page of a short list that is all in memory. */
export function pageOf<T>(items: readonly T[], page: PageRequest): { items: readonly T[]; next: string | null } {
  const start = page.after !== undefined && /^\d{1,9}$/.test(page.after) ? Number(page.after) : 0;
  const end = start + page.limit;
  return { items: items.slice(start, end), next: end < items.length ? String(end) : null };
}
