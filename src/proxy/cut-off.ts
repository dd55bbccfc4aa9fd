import type { Duplex } from 'node:stream';

/** Destroys a stream that has not closed by then: a peer that does not read would have it kept for nothing. */
export function cutOffAfter(stream: Duplex, limitMs: number): void {
  if (stream.destroyed) return;
  const limit = setTimeout(() => stream.destroy(), limitMs).unref();
  stream.once('close', () => clearTimeout(limit));
}
