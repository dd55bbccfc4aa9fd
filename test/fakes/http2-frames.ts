/** Frames of HTTP/2, made by hand, well or badly (RFC 9113). */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/** RFC 9113, section 6. */
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;

/** RFC 9113, section 3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

const FRAME_HEAD_BYTES = 9;

/** One frame as it was read. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** What a frame is made of; what is left out is zero or empty. */
export interface FrameParts {
  readonly flags?: number;
  readonly stream?: number;
  readonly payload?: Buffer;
}

export function frame(type: number, { flags = 0, stream = 0, payload = Buffer.alloc(0) }: FrameParts = {}): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A number of 32 bits, as WINDOW_UPDATE, RST_STREAM and others carry it. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The payload of SETTINGS: identifier and value. */
export const settings = (pairs: readonly (readonly [number, number])[]): Buffer =>
  Buffer.concat(pairs.flatMap(([id, value]) => [Buffer.from([id >> 8, id & 0xff]), uint32(value)]));

/** An integer with a prefix of seven bits (RFC 7541, 5.1). */
function hpackInteger(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A string as it is, without Huffman coding (RFC 7541, 5.2). */
function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([hpackInteger(bytes.length), bytes]);
}

/** Fields as literals, not indexed (RFC 7541, 6.2.2). */
export const literals = (fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), hpackString(name), hpackString(value)]));

/** One field, which both ends put into their tables (RFC 7541, 6.2.1). */
export const indexed = (name: string, value: string): Buffer => Buffer.concat([Buffer.from([0x40]), hpackString(name), hpackString(value)]);

/** The newest entry of the table (RFC 7541, 6.1 and 2.3.3). */
export const NEWEST_ENTRY = Buffer.from([0x80 | 62]);

/** Whole HEADERS, of a request without a body unless `flags` says so. */
export const headers = (stream: number, fields: readonly (readonly [string, string])[], flags = END_HEADERS | END_STREAM): Buffer =>
  frame(HEADERS, { flags, stream, payload: literals(fields) });

/** One end of a connection of HTTP/2 that writes what it likes and keeps what it reads. */
export class FrameWire {
  readonly frames: Frame[] = [];
  /** The other end has hung up. */
  isClosed = false;
  readonly closed: Promise<void>;
  readonly #stream: Duplex;
  #rest: Buffer;
  #changed = Promise.withResolvers<void>();

  /** @param skipBytes of a preface that comes before the frames */
  constructor(stream: Duplex, skipBytes = 0) {
    this.#stream = stream;
    this.#rest = Buffer.alloc(0);
    let skip = skipBytes;
    stream.on('error', () => undefined);
    stream.on('data', (bytes: Buffer) => {
      const taken = Math.min(skip, bytes.length);
      skip -= taken;
      this.#read(bytes.subarray(taken));
    });
    this.closed = new Promise((resolve) => {
      for (const event of ['end', 'close']) {
        stream.once(event, () => {
          this.isClosed = true;
          this.#wake();
          resolve();
        });
      }
    });
  }

  write(...bytes: Buffer[]): void {
    if (this.#stream.writable) this.#stream.write(Buffer.concat(bytes));
  }

  /** Writes as fast as the other end reads. */
  async writeAll(bytes: Buffer): Promise<void> {
    if (this.#stream.writable && !this.#stream.write(bytes)) await Promise.race([once(this.#stream, 'drain'), this.closed]);
  }

  /** Reads nothing more: what the other end writes piles up there. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  /** The first frame that matches, of those there are or are to come; undefined where the other end hangs up before. */
  async find(matches: (candidate: Frame) => boolean): Promise<Frame | undefined> {
    for (;;) {
      const found = this.frames.find(matches);
      if (found !== undefined || this.isClosed) return found;
      await this.#changed.promise;
    }
  }

  #read(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) break;
      const payload = this.#rest.subarray(FRAME_HEAD_BYTES, end);
      this.frames.push({ type: this.#rest[3]!, flags: this.#rest[4]!, stream: this.#rest.readUInt32BE(5), payload });
      this.#rest = this.#rest.subarray(end);
    }
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
