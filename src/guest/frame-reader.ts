import { HEADER_BYTES, parseHeader, type FrameHeader } from './frame.ts';
import { GuestError } from './guest-error.ts';

/** Takes what a {@link FrameReader} finds. */
export interface FrameSink {
  /** A frame whose payload is whole: everything but DATA and OUTPUT. */
  frame(header: FrameHeader, payload: Buffer): void;
  /** A piece of the payload of DATA or OUTPUT, in order, as it came; `isFirst` for the first piece of a frame. */
  piece(header: FrameHeader, bytes: Buffer, isFirst: boolean): void;
}

const NOTHING = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames. It keeps what has come of one frame that is not DATA or OUTPUT, never more than that
 * frame's limit, and never allocates by a length that the guest only claims.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #headerBytes = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #header: FrameHeader | undefined;
  #payload: Buffer[] = [];
  #missing = 0;
  #isFirst = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws GuestError `protocol` where the bytes break a rule of frames; the reader is of no use afterwards */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#header === undefined) at = this.#readHeader(chunk, at);
      else at = this.#readPayload(this.#header, chunk, at);
    }
  }

  #readHeader(chunk: Buffer, start: number): number {
    const end = Math.min(chunk.length, start + HEADER_BYTES - this.#headerLength);
    chunk.copy(this.#headerBytes, this.#headerLength, start, end);
    this.#headerLength += end - start;
    if (this.#headerLength < HEADER_BYTES) return end;
    this.#headerLength = 0;
    const header = parseHeader(this.#headerBytes, 0);
    if (typeof header === 'string') throw new GuestError('protocol', `the guest's agent sent ${header}`);
    if (header.length === 0) {
      if (isPieced(header)) throw new GuestError('protocol', `the guest's agent sent an empty ${header.name} frame`);
      this.#sink.frame(header, NOTHING);
      return end;
    }
    this.#header = header;
    this.#missing = header.length;
    this.#isFirst = true;
    return end;
  }

  #readPayload(header: FrameHeader, chunk: Buffer, start: number): number {
    const end = Math.min(chunk.length, start + this.#missing);
    const bytes = chunk.subarray(start, end);
    this.#missing -= bytes.length;
    const isWhole = this.#missing === 0;
    if (isWhole) this.#header = undefined;
    if (isPieced(header)) {
      const isFirst = this.#isFirst;
      this.#isFirst = false;
      this.#sink.piece(header, bytes, isFirst);
    } else if (isWhole) {
      const payload = this.#payload.length === 0 ? bytes : Buffer.concat([...this.#payload, bytes]);
      this.#payload = [];
      this.#sink.frame(header, payload);
    } else {
      this.#payload.push(Buffer.from(bytes));
    }
    return end;
  }
}

function isPieced(header: FrameHeader): boolean {
  return header.name === 'data' || header.name === 'output';
}
