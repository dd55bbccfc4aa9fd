/** `nextToken`: opaque to clients, url-safe base64, good for the listing that gave it only (contract reference, section 1.7). */
import { z } from 'zod';
import { MAX_PAGE_SIZE } from '../contract/microvms.ts';
import { ApiError } from '../contract/exceptions.ts';
import type { PageRequest } from '../domain/ports.ts';

const position = z.tuple([z.string(), z.string()]);

/** The token for what follows `after` in `listing`; null at the end. */
export const nextToken = (listing: string, after: string | null) =>
  after === null ? null : Buffer.from(JSON.stringify([listing, after])).toString('base64url');

/**
 * The page that a request asks for.
 * @throws ApiError ValidationException (400 `{"message":null}`, section 1.7) where the token is not one of this listing
 */
export function pageRequest(listing: string, input: { maxResults: number | undefined; nextToken: string | undefined }): PageRequest {
  const limit = input.maxResults ?? MAX_PAGE_SIZE;
  return input.nextToken === undefined ? { limit } : { limit, after: positionOf(listing, input.nextToken) };
}

const invalid = (cause: unknown) => new ApiError('ValidationException', null, { cause });

function positionOf(listing: string, token: string): string {
  let parsed;
  try {
    parsed = position.safeParse(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch (error) {
    throw invalid(error);
  }
  if (!parsed.success || parsed.data[0] !== listing) throw invalid(parsed.error);
  return parsed.data[1];
}

/** One page of a short list that is all in memory. */
export function pageOf<T>(items: readonly T[], page: PageRequest): { items: readonly T[]; next: string | null } {
  const start = page.after !== undefined && /^\d{1,9}$/.test(page.after) ? Number(page.after) : 0;
  const end = start + page.limit;
  return { items: items.slice(start, end), next: end < items.length ? String(end) : null };
}
