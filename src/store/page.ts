/** Pages by position: newest first, `next` is the `seq` of the last row that was given out. */
import { LullError } from '../domain/errors.ts';
import type { Page, PageRequest } from '../domain/ports.ts';

/**
 * The position that every row of a page comes before.
 * @throws LullError validation where `after` is not a position that an earlier page gave
 */
export function positionBefore({ after }: PageRequest): number {
  if (after === undefined) return Number.MAX_SAFE_INTEGER;
  const position = /^[1-9][0-9]{0,15}$/.test(after) ? Number(after) : Number.NaN;
  if (!Number.isSafeInteger(position)) throw new LullError('validation', 'The pagination token is not valid.');
  return position;
}

/** A page from up to `limit + 1` rows: the one too many only tells that there are more. */
export function pageOf<R extends { seq: number }, T>(rows: readonly R[], { limit }: PageRequest, toItem: (row: R) => T): Page<T> {
  const given = rows.slice(0, limit);
  const last = given.at(-1);
  return { items: given.map(toItem), next: rows.length > limit && last !== undefined ? String(last.seq) : null };
}
