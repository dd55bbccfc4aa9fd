/** What bytes come from: a readable stream, or as much of one as a body needs. */
export interface Source {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'end' | 'close', listener: () => void): unknown;
  pause(): unknown;
  resume(): unknown;
  destroy(): unknown;
}

/** Where bytes go: a writable stream, or as much of one as a body needs. */
export interface Sink {
  readonly destroyed: boolean;
  readonly writableEnded: boolean;
  readonly writableNeedDrain: boolean;
  /** @returns false where it would rather have no more before 'drain' */
  write(chunk: Buffer): boolean;
  on(event: 'drain', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Told of every chunk's length. @returns resolves when more may pass; undefined for at once */
export type OnBytes = (length: number) => Promise<void> | undefined;

/**
 * Passes bytes on as they come, holding the source while the sink is full or `onBytes` has it wait. Ends nothing: what an end
 * or an error means differs by protocol.
 */
export function pump(source: Source, sink: Sink, onBytes: OnBytes): void {
  // A source may give several chunks at once, each of which is waited for.
  let holds = 0;
  const resume = () => {
    if (holds === 0 && (sink.destroyed || !sink.writableNeedDrain)) source.resume();
  };
  source.on('data', (chunk: Buffer) => {
    const held = onBytes(chunk.length);
    if (held !== undefined) {
      holds += 1;
      source.pause();
      void held.then(() => {
        holds -= 1;
        resume();
      });
    }
    // A sink that is gone takes nothing and never drains: the rest is dropped, and whoever watches the sink decides.
    if (!sink.destroyed && !sink.writableEnded && !sink.write(chunk)) source.pause();
  });
  sink.on('drain', resume);
  sink.once('close', resume);
}
