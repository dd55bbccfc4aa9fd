import { Duplex } from 'node:stream';
import { CREDIT_LIMIT, CREDIT_STEP, INITIAL_CREDIT, PAYLOAD_LIMIT } from './frame.ts';
import { GuestError } from './guest-error.ts';
import { PieceQueue } from './piece-queue.ts';

/** What a stream needs of its session. */
export interface StreamChannel {
  data(id: number, bytes: Buffer): void;
  credit(id: number, count: number): void;
  end(id: number): void;
  reset(id: number, failure: { code: string; message: string }): void;
  /** Calls back when the transport takes more. */
  whenWritable(callback: () => void): void;
  /** The stream is over; its id means nothing any more. */
  forget(id: number): void;
}

type Callback = (error?: Error | null) => void;

/** Little, since what waits to be read waits in the queue, where small pieces are put together. */
const READABLE_MARK_BYTES = 16 * 1024;

/**
 * One TCP connection or terminal inside the guest as a Duplex: half-open ends are kept, destroying it resets the connection (hangs the terminal up), and both
 * directions stand still when the other side does not read.
 */
export class AgentStream extends Duplex {
  /** Names it in calls. */
  readonly id: number;
  readonly #channel: StreamChannel;
  readonly #incoming = new PieceQueue();
  #sendCredit = INITIAL_CREDIT;
  /** What the agent may still send. */
  #window = INITIAL_CREDIT;
  #unreturned = 0;
  #isWanted = false;
  #hasEnded = false;
  #isAgentEnded = false;
  #failure: Error | undefined;
  #outgoing: Buffer[] = [];
  #written: Callback | undefined;

  constructor(id: number, channel: StreamChannel) {
    super({ allowHalfOpen: true, readableHighWaterMark: READABLE_MARK_BYTES, writableHighWaterMark: PAYLOAD_LIMIT });
    this.id = id;
    this.#channel = channel;
  }

  /** DATA. @returns the rule that it breaks, if one */
  receive(bytes: Buffer): string | undefined {
    if (this.#isAgentEnded) return 'DATA after END';
    if (bytes.length > this.#window) return 'DATA beyond the credit';
    this.#window -= bytes.length;
    this.#incoming.push(bytes);
    this.#deliver();
    return undefined;
  }

  /** END. @returns the rule that it breaks, if one */
  receiveEnd(): string | undefined {
    if (this.#isAgentEnded) return 'END twice';
    this.#isAgentEnded = true;
    this.#deliver();
    this.#forgetWhenOver();
    return undefined;
  }

  /** CREDIT. @returns the rule that it breaks, if one */
  receiveCredit(count: number): string | undefined {
    this.#sendCredit += count;
    if (this.#sendCredit > CREDIT_LIMIT) return 'too much CREDIT';
    this.#send();
    return undefined;
  }

  /** RESET: nothing more is taken or sent. What came before it is still read, and then the error. */
  receiveReset(error: Error): void {
    this.#failure = error;
    this.#channel.forget(this.id);
    this.#drop();
    // An end that the agent told of is heard before the error.
    if (this.#isAgentEnded && !this.readableEnded) this.once('end', () => this.destroy(error));
    else this.#failWhenRead();
  }

  /** The session is over: so is the stream. */
  cutOff(error: Error): void {
    this.#failure = error;
    this.destroy(error);
  }

  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    this.#failWhenRead();
    return chunk;
  }

  override _read(): void {
    this.#isWanted = true;
    this.#deliver();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#outgoing = [chunk];
    this.#written = callback;
    this.#send();
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this.#outgoing = chunks.map(({ chunk }) => chunk);
    this.#written = callback;
    this.#send();
  }

  override _final(callback: Callback): void {
    this.#hasEnded = true;
    if (this.#failure === undefined) this.#channel.end(this.id);
    this.#forgetWhenOver();
    callback();
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const isOver = this.#hasEnded && this.#isAgentEnded;
    if (!isOver && this.#failure === undefined) this.#channel.reset(this.id, { code: 'ECONNRESET', message: error?.message ?? 'closed' });
    this.#channel.forget(this.id);
    this.#incoming.clear();
    this.#outgoing = [];
    const written = this.#written;
    this.#written = undefined;
    written?.(error ?? new GuestError('ECONNRESET', 'the stream to the guest was closed'));
    callback(error);
  }

  #deliver(): void {
    while (this.#isWanted) {
      const piece = this.#incoming.shift();
      if (piece === undefined) break;
      this.#isWanted = this.push(piece);
      this.#giveBack(piece.length);
    }
    if (this.#isAgentEnded && this.#incoming.sizeBytes === 0 && !this.readableEnded) this.push(null);
  }

  #giveBack(count: number): void {
    this.#unreturned += count;
    if (this.#unreturned < CREDIT_STEP || this.#isAgentEnded || this.#failure !== undefined || this.destroyed) return;
    this.#channel.credit(this.id, this.#unreturned);
    this.#window += this.#unreturned;
    this.#unreturned = 0;
  }

  /** Sends what is to be written as far as the credit goes, then lets the next write come when the transport takes it. */
  #send(): void {
    if (this.#written === undefined) return;
    if (this.#failure !== undefined) return this.#drop();
    while (this.#sendCredit > 0) {
      const chunk = this.#outgoing[0];
      if (chunk === undefined) break;
      const size = Math.min(chunk.length, PAYLOAD_LIMIT, this.#sendCredit);
      if (size > 0) this.#channel.data(this.id, size === chunk.length ? chunk : chunk.subarray(0, size));
      this.#sendCredit -= size;
      if (size === chunk.length) this.#outgoing.shift();
      else this.#outgoing[0] = chunk.subarray(size);
    }
    if (this.#outgoing.length > 0) return;
    const written = this.#written;
    this.#written = undefined;
    this.#channel.whenWritable(() => written());
  }

  /** Nobody takes what is to be written: an error here would end the reading too. */
  #drop(): void {
    const written = this.#written;
    this.#written = undefined;
    this.#outgoing = [];
    written?.();
  }

  #failWhenRead(): void {
    const failure = this.#failure;
    const isUnread = this.#incoming.sizeBytes > 0 || this.readableLength > 0 || (this.#isAgentEnded && !this.readableEnded);
    if (failure !== undefined && !isUnread) this.destroy(failure);
  }

  #forgetWhenOver(): void {
    if (this.#hasEnded && this.#isAgentEnded) this.#channel.forget(this.id);
  }
}
