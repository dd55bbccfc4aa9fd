/** Ranges of keys. SQLite compares text as UTF-8 bytes, which is the order that S3 lists in. */

const LAST_CODE_POINT = 0x10ffff;

/** The keys that start with a prefix, strictly after one, as bounds that an index can search by. */
export interface KeyRange {
  /** `>=` this where the range begins with the prefix itself, else `>` it. */
  readonly from: string;
  readonly inclusive: boolean;
  /** Before this; undefined where nothing can come after. */
  readonly end: string | undefined;
}

export function keyRange(prefix: string, after: string): KeyRange {
  const inclusive = Buffer.compare(Buffer.from(after), Buffer.from(prefix)) < 0;
  return { from: inclusive ? prefix : after, inclusive, end: prefixEnd(prefix) };
}

/** The first text, in code point order, after all that start with `prefix`. */
function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === LAST_CODE_POINT) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // Surrogates (U+D800 to U+DFFF) are no characters of their own.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
