import type { Readable, Writable } from 'node:stream';

/**
 * Passes bytes on as they come, holding the source while the sink is full. Ends nothing: what an end or an error means
 * differs by protocol.
 * @param onBytes told of every chunk's length
 */
export function pump(source: Readable, sink: Writable, onBytes: (length: number) => void): void {
  source.on('data', (chunk: Buffer) => {
    onBytes(chunk.length);
    // A sink that is gone takes nothing and never drains: the rest is dropped, and whoever watches the sink decides.
    if (!sink.destroyed && !sink.writableEnded && !sink.write(chunk)) source.pause();
  });
  sink.on('drain', () => source.resume());
  sink.once('close', () => source.resume());
}
