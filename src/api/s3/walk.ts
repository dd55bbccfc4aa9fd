/** How S3 lists: keys in order, with those rolled up that have a delimiter after the prefix, in pages. */

/** Behind a common prefix what was fetched is thrown away: with a delimiter, batches begin small and grow while nothing is rolled up. */
const FIRST_BATCH = 16;

/** Where a listing goes on: after an item, or after all keys with a common prefix. */
export type Position = readonly ['item', key: string, id: string] | readonly ['prefix', prefix: string];

export interface WalkRequest {
  readonly prefix: string;
  readonly delimiter: string;
  readonly limit: number;
  readonly from: Position;
}

export interface Walked<T> {
  readonly items: readonly T[];
  readonly commonPrefixes: readonly string[];
  /** Null where it is complete. */
  readonly next: Position | null;
}

/** What is listed. Several items may have one key; `id` then tells them apart and orders them. */
export interface WalkSource<T> {
  /** The first items after a position. */
  readonly fetch: (after: { key: string; id: string }, limit: number) => Promise<readonly T[]>;
  readonly idOf: (item: T) => string;
}

/**
 * A key after every key of up to 1024 bytes that starts with the prefix: the last code point there is has four bytes, so 256 of
 * them fill a key.
 */
const afterAllWith = (prefix: string) => prefix + '\u{10FFFF}'.repeat(256);

/** The part of a key up to and with the first delimiter after the prefix; undefined where there is none. */
function commonPrefix(key: string, { prefix, delimiter }: Pick<WalkRequest, 'prefix' | 'delimiter'>): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** The position after a marker: a key, or a common prefix that an earlier page ended with. */
export const positionAfter = (marker: { key: string; id: string }, request: Pick<WalkRequest, 'prefix' | 'delimiter'>): Position =>
  marker.key.startsWith(request.prefix) && commonPrefix(marker.key, request) === marker.key ? ['prefix', marker.key] : ['item', marker.key, marker.id];

/** Walks the keys in order, and jumps over what a common prefix stands for. */
export async function walk<T extends { readonly key: string }>(request: WalkRequest, { fetch, idOf }: WalkSource<T>): Promise<Walked<T>> {
  const items: T[] = [];
  const commonPrefixes: string[] = [];
  if (request.limit === 0) return { items, commonPrefixes, next: null };
  let from = request.from;
  let batchSize = request.delimiter === '' ? Infinity : FIRST_BATCH;
  for (;;) {
    const room = request.limit - items.length - commonPrefixes.length;
    const wanted = Math.min(room + 1, batchSize);
    const after = from[0] === 'item' ? { key: from[1], id: from[2] } : { key: afterAllWith(from[1]), id: '' };
    const batch = await fetch(after, wanted);
    if (batch.length === 0) return { items, commonPrefixes, next: null };
    if (room === 0) return { items, commonPrefixes, next: from };
    let jumped = false;
    for (const item of batch.slice(0, room)) {
      const common = commonPrefix(item.key, request);
      if (common === undefined) {
        items.push(item);
        from = ['item', item.key, idOf(item)];
      } else {
        commonPrefixes.push(common);
        from = ['prefix', common];
        jumped = true;
        break;
      }
    }
    if (jumped) batchSize = FIRST_BATCH;
    else if (batch.length > room) return { items, commonPrefixes, next: from };
    else if (batch.length < wanted) return { items, commonPrefixes, next: null };
    else batchSize *= 2;
  }
}
