/** Streams that are filled until nothing moves any more. A pause on a busy machine looks the same: then a test proves less, and does not fail. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';

const TURNS_AT_REST = 2000;

/** Writes that many bytes, as fast as they are taken, and ends. @returns how many have been given so far */
export function fill(sink: Writable, size: number): () => number {
  const chunk = Buffer.alloc(256 * 1024, 'x');
  let written = 0;
  const more = () => {
    while (written < size) {
      written += chunk.length;
      if (!sink.write(chunk)) return void sink.once('drain', more);
    }
    sink.end();
  };
  more();
  return () => written;
}

/** Resolves once a count has begun and then not moved over many turns of the loop. */
export async function steady(count: () => number): Promise<void> {
  for (let last = -1; last <= 0 || count() !== last; ) {
    last = count();
    await atRest();
  }
}

/** True where a stream goes on before the event loop has nothing else to do for a while. */
export async function drained(stream: Writable): Promise<boolean> {
  return Promise.race([once(stream, 'drain').then(() => true), atRest()]);
}

/** Resolves after many turns of the loop. */
export async function atRest(): Promise<false> {
  for (let turn = 0; turn < TURNS_AT_REST; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return false;
}
