/** The three ways to delimit the body of an answer of HTTP/1.1: RFC 9112, sections 6.3 and 7.1. */
import type { Fields } from './headers.ts';
import { parseFields, SyntaxFault, TextUntil } from './http1-syntax.ts';

/** Up to 52 bits, which a number holds exactly. Extensions (7.1.1) mean nothing to anybody. */
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,13})(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
/** Of a size and its extensions. */
const CHUNK_LINE_CHARS = 1024;
const CRLF = '\r\n';

/** Reads one body, in pieces as they come. */
export interface BodyReader {
  /** All of it has been read. */
  readonly isComplete: boolean;
  readonly trailers: Fields;
  /** @returns where the bytes begin that have not been read, as a rule what comes after the body. @throws SyntaxFault */
  take(bytes: Buffer, from: number, onData: (piece: Buffer) => void): number;
}

const slice = (bytes: Buffer, from: number, to: number) => (from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));

/** A body of a stated length (6.3, rule 6). */
export class LengthBody implements BodyReader {
  readonly trailers: Fields = [];
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get isComplete(): boolean {
    return this.#left === 0;
  }

  take(bytes: Buffer, from: number, onData: (piece: Buffer) => void): number {
    const to = Math.min(bytes.length, from + this.#left);
    this.#left -= to - from;
    if (to > from) onData(slice(bytes, from, to));
    return to;
  }
}

/** A body that ends with the connection (6.3, rule 8). */
export class ClosedBody implements BodyReader {
  readonly isComplete = false;
  readonly trailers: Fields = [];

  take(bytes: Buffer, from: number, onData: (piece: Buffer) => void): number {
    if (from < bytes.length) onData(slice(bytes, from, bytes.length));
    return bytes.length;
  }
}

/** A body in chunks (7.1). */
export class ChunkedBody implements BodyReader {
  readonly #trailerChars: number;
  #part: 'size' | 'data' | 'end of data' | 'trailers' | 'over' = 'size';
  #left = 0;
  #text = new TextUntil(CRLF, CHUNK_LINE_CHARS);
  trailers: Fields = [];

  /** @param trailerChars what its trailers may have together */
  constructor(trailerChars: number) {
    this.#trailerChars = trailerChars;
  }

  get isComplete(): boolean {
    return this.#part === 'over';
  }

  take(bytes: Buffer, from: number, onData: (piece: Buffer) => void): number {
    let at = from;
    while (at < bytes.length && this.#part !== 'over') {
      if (this.#part === 'data') {
        const to = Math.min(bytes.length, at + this.#left);
        onData(slice(bytes, at, to));
        this.#left -= to - at;
        at = to;
        if (this.#left === 0) this.#expect('end of data', new TextUntil(CRLF, 0));
        continue;
      }
      const line = this.#text.take(bytes, at);
      if (line === undefined) return bytes.length;
      at = line.next;
      this.#next(line.text);
    }
    return at;
  }

  #next(text: string): void {
    switch (this.#part) {
      case 'size':
        return this.#begin(text);
      case 'end of data':
        return this.#expect('size', new TextUntil(CRLF, CHUNK_LINE_CHARS));
      case 'trailers':
        // The first end of a line is that of the last chunk's size.
        this.trailers = text === '' ? [] : parseFields(text.split(CRLF), 1);
        this.#part = 'over';
        return;
      case 'data':
      case 'over':
        return;
    }
    this.#part satisfies never;
  }

  #begin(line: string): void {
    const size = CHUNK_SIZE.exec(line)?.[1];
    if (size === undefined) throw new SyntaxFault('a chunk without a size');
    this.#left = Number.parseInt(size, 16);
    if (this.#left > 0) this.#part = 'data';
    else this.#expect('trailers', new TextUntil(CRLF + CRLF, this.#trailerChars, CRLF));
  }

  #expect(part: 'size' | 'end of data' | 'trailers', text: TextUntil): void {
    this.#part = part;
    this.#text = text;
  }
}
