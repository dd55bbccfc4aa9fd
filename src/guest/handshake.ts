import { AGENT_PREAMBLE, ANSWER_LIMIT, FRAME, HEADER_BYTES } from './frame.ts';
import { GuestError } from './guest-error.ts';
import { faultSchema, parseMessage, welcomeSchema, type Welcome } from './messages.ts';

/** More than this before an answer is not what an earlier session left behind. */
const DISCARD_LIMIT_BYTES = 8 * 1024 * 1024;

/** What came after a HELLO, and the bytes that follow it. */
export interface Answer {
  readonly welcome: Welcome;
  readonly rest: Buffer;
}

/**
 * Finds the answer to one HELLO among whatever an earlier session left in the channel. Those bytes may be the application's
 * own, preambles and frames among them, so only the nonce counts, and a false answer never hides a true one inside it.
 */
export class AnswerSeeker {
  readonly #nonce: string;
  readonly #nonceBytes: Buffer;
  #bytes: Buffer = Buffer.alloc(0);
  #seenBytes = 0;

  constructor(nonce: string) {
    this.#nonce = nonce;
    this.#nonceBytes = Buffer.from(nonce, 'latin1');
  }

  /**
   * Takes more bytes.
   * @returns the answer once it is whole
   * @throws GuestError with the agent's code where it answered FAULT, `protocol` where no answer comes among too many bytes
   */
  push(chunk: Buffer): Answer | undefined {
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > DISCARD_LIMIT_BYTES) throw new GuestError('protocol', 'the guest sends something else than its agent would');
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let keepFrom = Math.max(0, this.#bytes.length - AGENT_PREAMBLE.length + 1);
    let at = this.#bytes.indexOf(AGENT_PREAMBLE);
    while (at >= 0) {
      const answer = this.#answerAt(at + AGENT_PREAMBLE.length);
      if (answer === 'incomplete') keepFrom = Math.min(keepFrom, at);
      else if (answer !== undefined) return answer;
      at = this.#bytes.indexOf(AGENT_PREAMBLE, at + 1);
    }
    this.#bytes = this.#bytes.subarray(keepFrom);
    return undefined;
  }

  #answerAt(start: number): Answer | 'incomplete' | undefined {
    const bytes = this.#bytes;
    if (bytes.length < start + HEADER_BYTES) return 'incomplete';
    const type = bytes.readUInt32LE(start);
    const length = bytes.readUInt32LE(start + 8);
    if (bytes.readUInt32LE(start + 4) !== 0 || length > ANSWER_LIMIT) return undefined;
    if (type !== FRAME.welcome && type !== FRAME.fault) return undefined;
    const end = start + HEADER_BYTES + length;
    if (bytes.length < end) return 'incomplete';
    const payload = bytes.subarray(start + HEADER_BYTES, end);
    if (!payload.includes(this.#nonceBytes)) return undefined;
    if (type === FRAME.welcome) {
      const welcome = parseMessage(welcomeSchema, payload);
      return welcome?.nonce === this.#nonce ? { welcome, rest: bytes.subarray(end) } : undefined;
    }
    const fault = parseMessage(faultSchema, payload);
    if (fault?.nonce !== this.#nonce) return undefined;
    const mend = fault.code === 'protocol' ? '; an image from another time is mended by `lull images rebuild`' : '';
    throw new GuestError(fault.code, `the guest's agent refused the session: ${fault.message}${mend}`);
  }
}
