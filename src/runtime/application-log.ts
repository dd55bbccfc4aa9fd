/** The application's output on disk: bounded, append only, and followed by those who watch. */
import { EventEmitter, on } from 'node:events';
import { createReadStream } from 'node:fs';
import { appendFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** When a file has grown to this it becomes the older half and a new one begins: at most two are kept. */
const ROTATE_BYTES = 8 * 1024 * 1024;

/** One microVM's log. */
export class ApplicationLog {
  readonly #path: string;
  readonly #news = new EventEmitter<{ chunk: [Buffer] }>().setMaxListeners(0);
  #sizeBytes: number | undefined;
  #tail: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** Adds output; resolves when it is in the file, so that the guest is not read faster than the disk takes it. */
  append(chunk: Buffer): Promise<void> {
    const written = this.#tail.then(() => this.#write(chunk));
    this.#tail = written.catch(() => undefined);
    return written;
  }

  /** What is kept, oldest first, then what comes until `signal`. */
  async *read(options: { follow: boolean; signal: AbortSignal }): AsyncGenerator<Buffer> {
    await this.#tail;
    const live = options.follow ? on(this.#news, 'chunk', { signal: options.signal }) : undefined;
    for (const path of [older(this.#path), this.#path]) yield* contentsOf(path);
    if (live === undefined) return;
    try {
      for await (const [chunk] of live) yield chunk as Buffer;
    } catch (error) {
      if (!options.signal.aborted) throw error;
    }
  }

  async #write(chunk: Buffer): Promise<void> {
    if (this.#sizeBytes === undefined) {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      this.#sizeBytes = await stat(this.#path).then(({ size }) => size, () => 0);
    }
    if (this.#sizeBytes >= ROTATE_BYTES) {
      await rename(this.#path, older(this.#path));
      this.#sizeBytes = 0;
    }
    await appendFile(this.#path, chunk, { mode: 0o600 });
    this.#sizeBytes += chunk.length;
    this.#news.emit('chunk', chunk);
  }
}

const older = (path: string) => `${path}.1`;

async function* contentsOf(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path)) yield chunk as Buffer;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
