/** A client that does next to nothing: where two cores are all there is, what it saves is left for the server that is measured. */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

const HEAD_END = '\r\n\r\n';
/** Written at once while a body goes up. */
const PIECE = Buffer.alloc(256 * 1024);

/** One request after the other over one stream, by the bytes alone: each answer is 200 and states its length. */
export class LeanClient {
  readonly #stream: Duplex;
  /** Called when the whole answer is there. */
  #onAnswer: (() => void) | undefined;
  #onFailure: ((error: Error) => void) | undefined;
  /** Of the answer's body; undefined while its head is not complete. */
  #bytesLeft: number | undefined;
  #head = '';

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', (error) => this.#onFailure?.(error));
    stream.once('close', () => this.#onFailure?.(new Error('the connection was closed')));
  }

  /** Sends a request and calls back when its whole answer is there; `onFailure` where it will not come. */
  ask(request: Buffer, onAnswer: () => void, onFailure: (error: Error) => void): void {
    this.#onAnswer = onAnswer;
    this.#onFailure = onFailure;
    this.#stream.write(request);
  }

  /** One request with a body of so many bytes, its whole answer. */
  async send(head: Buffer, bodyBytes = 0): Promise<void> {
    const answered = Promise.withResolvers<void>();
    this.ask(head, answered.resolve, answered.reject);
    for (let left = bodyBytes; left > 0; left -= PIECE.length) {
      if (!this.#stream.write(left < PIECE.length ? PIECE.subarray(0, left) : PIECE)) {
        await Promise.race([once(this.#stream, 'drain'), answered.promise]);
      }
    }
    await answered.promise;
  }

  destroy(): void {
    this.#onFailure = undefined;
    this.#stream.destroy();
  }

  #take(chunk: Buffer): void {
    let body = chunk.length;
    if (this.#bytesLeft === undefined) {
      const before = this.#head.length;
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf(HEAD_END);
      if (end < 0) return;
      const length = /^HTTP\/1\.1 200 .*\r\ncontent-length: (\d+)/is.exec(this.#head.slice(0, end))?.[1];
      if (length === undefined) return this.#fail(this.#head);
      this.#head = '';
      this.#bytesLeft = Number(length);
      body -= end + HEAD_END.length - before;
    }
    this.#bytesLeft -= body;
    if (this.#bytesLeft > 0) return;
    this.#bytesLeft = undefined;
    this.#onAnswer?.();
  }

  #fail(head: string): void {
    this.#stream.destroy(new Error(`an answer that is not 200 with a length: ${head.slice(0, 200)}`));
  }
}
