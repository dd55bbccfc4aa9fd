/** One stream of a session, as the host's code sees it: an ordinary Duplex with back-pressure both ways. */
import { Duplex } from 'node:stream';
import { brokenRule, MAX_DATA_BYTES } from './frame.ts';

/** What each side may send before the other gives more (docs/agent-protocol.md, "Flow control"). */
export const INITIAL_CREDIT_BYTES = 262_144;
/** Credit is given back in steps of at least this, or when nothing is held. */
export const CREDIT_STEP_BYTES = 65_536;

/** What a stream needs of its session. */
export interface StreamLink {
  data(bytes: Buffer): void;
  credit(bytes: number): void;
  end(): void;
  reset(): void;
  /** Calls back when the channel takes more; at once where it does. */
  whenWritable(callback: () => void): void;
}

type Callback = (error?: Error | null) => void;

export class AgentStream extends Duplex {
  readonly #link: StreamLink;
  #sendCredit = INITIAL_CREDIT_BYTES;
  #receiveCredit = INITIAL_CREDIT_BYTES;
  /** Arrived and not yet taken by the reader. */
  readonly #arrived: Buffer[] = [];
  #arrivedBytes = 0;
  #takenBytes = 0;
  #wanted = false;
  #peerEnded = false;
  #waitingWrite: (() => void) | undefined;

  constructor(link: StreamLink) {
    super({ allowHalfOpen: true, highWaterMark: MAX_DATA_BYTES });
    this.#link = link;
  }

  /** DATA from the agent. @throws LullError where it is more than it was allowed */
  receive(bytes: Buffer): void {
    this.#receiveCredit -= bytes.length;
    if (this.#receiveCredit < 0 || bytes.length === 0 || this.#peerEnded) throw brokenRule('data beyond its credit or its end');
    this.#arrived.push(bytes);
    this.#arrivedBytes += bytes.length;
    if (this.#wanted) this.#deliver();
  }

  /** END from the agent. */
  receiveEnd(): void {
    this.#peerEnded = true;
    if (this.#arrived.length === 0) this.push(null);
  }

  /** CREDIT from the agent. */
  receiveCredit(bytes: number): void {
    this.#sendCredit += bytes;
    const waiting = this.#waitingWrite;
    this.#waitingWrite = undefined;
    waiting?.();
  }

  /** Both directions have ended: the id is free. */
  get isOver(): boolean {
    return this.#peerEnded && this.writableFinished;
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#send(chunk, callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this.#send(chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), callback);
  }

  override _final(callback: Callback): void {
    this.#link.end();
    callback();
  }

  override _destroy(error: Error | null, callback: Callback): void {
    if (!this.isOver) this.#link.reset();
    this.#arrived.length = 0;
    this.#waitingWrite = undefined;
    callback(error);
  }

  #deliver(): void {
    while (this.#wanted && this.#arrived.length > 0) {
      const bytes = this.#arrived.shift()!;
      this.#arrivedBytes -= bytes.length;
      this.#takenBytes += bytes.length;
      this.#wanted = this.push(bytes);
    }
    if (this.#takenBytes >= CREDIT_STEP_BYTES || (this.#takenBytes > 0 && this.#arrivedBytes === 0)) this.#giveBack();
    if (this.#peerEnded && this.#arrived.length === 0) this.push(null);
  }

  #giveBack(): void {
    const bytes = this.#takenBytes;
    this.#takenBytes = 0;
    this.#receiveCredit += bytes;
    if (!this.#peerEnded) this.#link.credit(bytes);
  }

  #send(bytes: Buffer, callback: Callback): void {
    let sent = 0;
    while (sent < bytes.length && this.#sendCredit > 0) {
      const length = Math.min(bytes.length - sent, this.#sendCredit, MAX_DATA_BYTES);
      this.#link.data(bytes.subarray(sent, sent + length));
      this.#sendCredit -= length;
      sent += length;
    }
    if (sent === bytes.length) this.#link.whenWritable(() => callback());
    else this.#waitingWrite = () => this.#send(bytes.subarray(sent), callback);
  }
}
