/** Frames of the agent protocol (docs/agent-protocol.md, "Frames"), and the reader that takes them from a hostile stream. */
import { LullError } from '../domain/errors.ts';

export const FRAME_TYPES = {
  hello: 1,
  welcome: 2,
  fault: 3,
  call: 4,
  result: 5,
  event: 6,
  output: 7,
  open: 8,
  opened: 9,
  refused: 10,
  data: 11,
  credit: 12,
  end: 13,
  reset: 14,
} as const;
export type FrameType = keyof typeof FRAME_TYPES;

export interface Frame {
  readonly type: FrameType;
  readonly stream: number;
  readonly payload: Buffer;
}

export const HOST_PREAMBLE = Buffer.from('LULL-AGENT-HELLO');
const AGENT_PREAMBLE = Buffer.from('LULL-AGENT-READY');
const HEADER_BYTES = 12;
const KIB = 1024;
/** The longest DATA and OUTPUT payload. */
export const MAX_DATA_BYTES = 64 * KIB;
const MAX_JSON_BYTES = 64 * KIB;
const MAX_RESULT_BYTES = 1024 * KIB;

/** What the agent may send, and how much of it; every other type is a broken rule. */
const FROM_AGENT: { readonly [type: number]: { readonly name: FrameType; readonly limit: number } | undefined } = {
  [FRAME_TYPES.welcome]: { name: 'welcome', limit: MAX_JSON_BYTES },
  [FRAME_TYPES.fault]: { name: 'fault', limit: MAX_JSON_BYTES },
  [FRAME_TYPES.result]: { name: 'result', limit: MAX_RESULT_BYTES },
  [FRAME_TYPES.event]: { name: 'event', limit: MAX_JSON_BYTES },
  [FRAME_TYPES.output]: { name: 'output', limit: MAX_DATA_BYTES },
  [FRAME_TYPES.opened]: { name: 'opened', limit: 0 },
  [FRAME_TYPES.refused]: { name: 'refused', limit: MAX_JSON_BYTES },
  [FRAME_TYPES.data]: { name: 'data', limit: MAX_DATA_BYTES },
  [FRAME_TYPES.credit]: { name: 'credit', limit: 4 },
  [FRAME_TYPES.end]: { name: 'end', limit: 0 },
  [FRAME_TYPES.reset]: { name: 'reset', limit: MAX_JSON_BYTES },
};

/** The agent broke a rule of the protocol: nothing it says can be trusted any more. */
export const brokenRule = (what: string) => new LullError('internal', `The MicroVM's agent broke its protocol: ${what}`);

/** The header of a frame. */
export function frameHeader(type: FrameType, stream: number, length: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(FRAME_TYPES[type], 0);
  header.writeUInt32LE(stream, 4);
  header.writeUInt32LE(length, 8);
  return header;
}

/**
 * Takes bytes as they come and gives out what the agent sent after its preamble. Holds at most one unfinished frame, and
 * never more of it than has arrived.
 */
export class FrameReader {
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #inSession = false;

  /** Goes back to looking for a preamble. */
  seek(): void {
    this.#inSession = false;
  }

  /** @throws LullError internal where a rule is broken */
  *feed(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    for (;;) {
      if (!this.#inSession && !this.#findPreamble()) return;
      const frame = this.#take();
      if (frame === undefined) return;
      yield frame;
    }
  }

  #findPreamble(): boolean {
    const held = this.#hold();
    const at = held.indexOf(AGENT_PREAMBLE);
    if (at >= 0) this.#keep(held.subarray(at + AGENT_PREAMBLE.length));
    else this.#keep(held.subarray(Math.max(0, held.length - AGENT_PREAMBLE.length + 1)));
    this.#inSession = at >= 0;
    return at >= 0;
  }

  #take(): Frame | undefined {
    if (this.#heldBytes < HEADER_BYTES) return undefined;
    if (this.#chunks[0]!.length < HEADER_BYTES) this.#keep(this.#hold());
    const header = this.#chunks[0]!;
    const kind = FROM_AGENT[header.readUInt8(0)];
    const length = header.readUInt32LE(8);
    if (kind === undefined || header.readUIntLE(1, 3) !== 0) throw brokenRule(`frame type ${header.readUInt8(0)}`);
    if (length > kind.limit) throw brokenRule(`${kind.name} of ${length} bytes`);
    if (this.#heldBytes < HEADER_BYTES + length) return undefined;
    const held = header.length >= HEADER_BYTES + length ? header : this.#hold();
    const stream = held.readUInt32LE(4);
    const payload = held.subarray(HEADER_BYTES, HEADER_BYTES + length);
    const rest = held.subarray(HEADER_BYTES + length);
    if (held === header) this.#replaceFirst(rest, HEADER_BYTES + length);
    else this.#keep(rest);
    return { type: kind.name, stream, payload };
  }

  /** Everything held as one buffer. */
  #hold(): Buffer {
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#heldBytes = rest.length;
  }

  #replaceFirst(rest: Buffer, taken: number): void {
    if (rest.length === 0) this.#chunks.shift();
    else this.#chunks[0] = rest;
    this.#heldBytes -= taken;
  }
}
