/** A stream, or a session of HTTP/2. */
interface Closable {
  readonly destroyed: boolean;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Destroys what has not closed by then: a peer that does not read would have it kept for nothing. */
export function cutOffAfter(closing: Closable, limitMs: number): void {
  if (closing.destroyed) return;
  const limit = setTimeout(() => closing.destroy(), limitMs).unref();
  closing.once('close', () => clearTimeout(limit));
}
