/** Frames of the agent protocol (docs/agent-protocol.md, "Frames"): a header of twelve bytes, little endian, then the payload. */

export const HOST_PREAMBLE = Buffer.from('LULL-AGENT-HELLO', 'latin1');
export const AGENT_PREAMBLE = Buffer.from('LULL-AGENT-READY', 'latin1');
export const HEADER_BYTES = 12;
/** The longest DATA and OUTPUT, and of most JSON. */
export const PAYLOAD_LIMIT = 64 * 1024;
/** The longest CALL and RESULT. */
export const CALL_LIMIT = 1024 * 1024;
/** The longest WELCOME and FAULT. */
export const ANSWER_LIMIT = 4 * 1024;
/** What each direction of a stream may send before it gets more credit. */
export const INITIAL_CREDIT = 262_144;
/** Credit is given back in steps of at least this, or when nothing is waiting to be read. */
export const CREDIT_STEP = 65_536;
/** The largest credit there can be: it is a u32 on the wire. */
export const CREDIT_LIMIT = 0xffff_ffff;

export const FRAME = {
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

export type FrameName = keyof typeof FRAME;

/** What the agent may send within a session, and how long it may be. */
export const FROM_AGENT = {
  fault: ANSWER_LIMIT,
  result: CALL_LIMIT,
  event: PAYLOAD_LIMIT,
  output: PAYLOAD_LIMIT,
  open: PAYLOAD_LIMIT,
  opened: 0,
  refused: PAYLOAD_LIMIT,
  data: PAYLOAD_LIMIT,
  credit: 4,
  end: 0,
  reset: PAYLOAD_LIMIT,
} as const satisfies Partial<Record<FrameName, number>>;

export type AgentFrameName = keyof typeof FROM_AGENT;

/** By the number on the wire: what the agent may send. */
const AGENT_FRAMES: ReadonlyMap<number, AgentFrameName> = new Map(
  (Object.keys(FROM_AGENT) as AgentFrameName[]).map((name) => [FRAME[name], name]),
);

/** A header; the payload follows. */
export interface FrameHeader {
  readonly name: AgentFrameName;
  readonly id: number;
  readonly length: number;
}

/** The header of a frame that the host sends. */
export function headerOf(name: FrameName, id: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32LE(FRAME[name], 0);
  header.writeUInt32LE(id, 4);
  header.writeUInt32LE(length, 8);
  return header;
}

/** A whole frame with JSON in it. */
export function jsonFrame(name: FrameName, id: number, json: unknown): Buffer {
  const payload = Buffer.from(JSON.stringify(json));
  return Buffer.concat([headerOf(name, id, payload.length), payload]);
}

/** Reads the header of a frame of the agent at `offset`; a text is the rule that it breaks. */
export function parseHeader(bytes: Buffer, offset: number): FrameHeader | string {
  const name = AGENT_FRAMES.get(bytes.readUInt32LE(offset));
  if (name === undefined) return 'a frame of an unknown type';
  const length = bytes.readUInt32LE(offset + 8);
  if (length > FROM_AGENT[name]) return `a ${name} frame of ${length} bytes`;
  return { name, id: bytes.readUInt32LE(offset + 4), length };
}
