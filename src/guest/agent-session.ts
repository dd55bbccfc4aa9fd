import type { Duplex } from 'node:stream';
import { AgentStream, type StreamChannel } from './agent-stream.ts';
import type { ConnectOptions } from './connect-options.ts';
import { CREDIT_LIMIT, headerOf, jsonFrame, type FrameHeader, type FrameName } from './frame.ts';
import { FrameReader } from './frame-reader.ts';
import { greet } from './greeting.ts';
import { GuestError, violation } from './guest-error.ts';
import {
  eventSchema,
  failureSchema,
  faultSchema,
  parseMessage,
  RESULT_SCHEMAS,
  resultSchema,
  type AgentEvent,
  type CallArguments,
  type CallName,
  type CallResult,
  type StreamTarget,
  type Welcome,
} from './messages.ts';
import { OutputFeed } from './output-feed.ts';
import { FIRST_AGENT_ID, ServiceStreams } from './service-streams.ts';

/** How long a call, an opening and a handshake may take where nothing else is said: freezing has 20 s in the guest. */
const WAIT_LIMIT_MS = 30_000;
/** How long the last bytes may take to leave when a session is closed. */
const CLOSE_LIMIT_MS = 1_000;
/** A guest's clock that is off by more than this is set. */
const CLOCK_TOLERANCE_NS = 100_000_000n;
/** Output that the guest may send before any was consumed. */
const OUTPUT_CREDIT = 262_144;
/** The agent's own limits, kept here so that a session is not lost over them. */
const CALLS_LIMIT = 64;
const STREAMS_LIMIT = 1024;

/** Limits of one wait. */
export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Why a session is over: `closed` by this end, `hung-up` by the other, or an error. */
export interface SessionEnd {
  readonly reason: 'closed' | 'hung-up' | 'failed';
  readonly error: GuestError | undefined;
}

/** What is asked, under which id, who keeps the answer's place, and how it is sent. */
interface Question<T> {
  readonly what: string;
  readonly id: number;
  readonly waits: Map<number, Waiting<T>>;
  readonly send: () => void;
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/**
 * The host's end of one session with the agent of a microVM (docs/agent-protocol.md). Everything that the guest says is taken
 * for hostile: what breaks a rule ends the session with a {@link GuestError}, and no buffer grows beyond the credit given.
 */
export class AgentSession implements AsyncDisposable {
  /** What the agent said of itself at the start. */
  readonly welcome: Welcome;
  /** Resolves, never rejects, when the session is over. */
  readonly closed: Promise<SessionEnd>;
  readonly #transport: Duplex;
  readonly #reader: FrameReader;
  readonly #output: OutputFeed;
  readonly #onEvent: ((event: AgentEvent) => void) | undefined;
  readonly #calls = new Map<number, Waiting<Buffer>>();
  readonly #openings = new Map<number, Waiting<AgentStream>>();
  readonly #streams = new Map<number, AgentStream>();
  readonly #channel: StreamChannel = {
    data: (id, bytes) => this.#write(headerOf('data', id, bytes.length), bytes),
    credit: (id, count) => this.#sendCredit(id, count),
    end: (id) => this.#write(headerOf('end', id, 0)),
    reset: (id, failure) => this.#write(jsonFrame('reset', id, failure)),
    whenWritable: (callback) => this.#whenWritable(callback),
    forget: (id) => void this.#streams.delete(id),
  };
  /** What the agent opened. */
  readonly #serviceStreams: ServiceStreams;
  #drained: (() => void)[] = [];
  #lastId = 0;
  #isCorked = false;
  #outputName: 'stdout' | 'stderr' = 'stdout';
  #end: SessionEnd | undefined;
  readonly #resolveClosed: (end: SessionEnd) => void;

  private constructor(transport: Duplex, welcome: Welcome, options: ConnectOptions) {
    this.#transport = transport;
    this.welcome = welcome;
    this.#onEvent = options.onEvent;
    this.#reader = new FrameReader({
      frame: (header, payload) => this.#frame(header, payload),
      piece: (header, bytes, isFirst) => this.#piece(header, bytes, isFirst),
    });
    this.#output = new OutputFeed(options.onOutput ?? (() => undefined), {
      credit: OUTPUT_CREDIT,
      giveBack: (count) => this.#sendCredit(0, count),
      failed: (cause) => this.#fail(new GuestError('output', 'what takes the application\'s output failed', { cause })),
    });
    this.#serviceStreams = new ServiceStreams(options.services ?? new Map(), {
      ...this.#channel,
      opened: (id) => this.#write(headerOf('opened', id, 0)),
      refused: (id, failure) => this.#write(jsonFrame('refused', id, failure)),
    });
    const closed = Promise.withResolvers<SessionEnd>();
    this.closed = closed.promise;
    this.#resolveClosed = closed.resolve;
  }

  /**
   * Greets the agent over a channel that was just opened and nobody else reads.
   * @returns once the agent has acted on `restore`, `nextSecret` and `thaw`, and its clock is right
   * @throws GuestError `secret`, `protocol`, `ETIMEDOUT`, `ABORT_ERR`, `hung-up`; the channel is destroyed then
   */
  static async connect(transport: Duplex, options: ConnectOptions): Promise<AgentSession> {
    const timeoutMs = options.timeoutMs ?? WAIT_LIMIT_MS;
    try {
      const greeting = await greet(transport, { ...options, timeoutMs, outputCredit: OUTPUT_CREDIT });
      const session = new AgentSession(transport, greeting.welcome, options);
      session.#attach(greeting.rest);
      await session.#mendClock(options, timeoutMs);
      return session;
    } catch (error) {
      transport.destroy();
      throw error;
    }
  }

  /**
   * One operation of the agent.
   * @throws GuestError with the agent's code, or `ETIMEDOUT`, `ABORT_ERR`, or why the session is over
   */
  async call<O extends CallName>(op: O, args: CallArguments[O], options: WaitOptions = {}): Promise<CallResult<O>> {
    if (this.#calls.size >= CALLS_LIMIT) throw new GuestError('busy', 'too many calls to the guest at once');
    const id = this.#takeId();
    const send = (): void => this.#write(jsonFrame('call', id, { op, ...args }));
    const payload = await this.#wait({ what: `the guest's ${op}`, id, waits: this.#calls, send }, options);
    const parsed = parseResult(op, payload);
    if (parsed instanceof GuestError && parsed.code === 'protocol') this.#fail(parsed);
    if (parsed instanceof GuestError) throw parsed;
    return parsed;
  }

  /**
   * A byte stream to 127.0.0.1:`port` in the guest.
   * @throws GuestError with the agent's code (`ECONNREFUSED`, …), or as {@link call}
   */
  openTcp(port: number, options: WaitOptions = {}): Promise<Duplex> {
    return this.open({ to: 'tcp', port }, options);
  }

  /** A byte stream to something in the guest. @throws GuestError as {@link openTcp} */
  async open(target: StreamTarget, options: WaitOptions = {}): Promise<AgentStream> {
    if (this.#streams.size + this.#openings.size >= STREAMS_LIMIT) throw new GuestError('EMFILE', 'too many streams to the guest at once');
    const id = this.#takeId();
    const send = (): void => this.#write(jsonFrame('open', id, target));
    const what = target.to === 'tcp' ? `a connection to port ${target.port} of the guest` : 'a shell in the guest';
    try {
      return await this.#wait({ what, id, waits: this.#openings, send }, options);
    } catch (error) {
      // Where the guest has not refused it may still open it.
      if (this.#end === undefined && isGivenUp(error)) this.#channel.reset(id, { code: 'ECANCELED', message: 'given up' });
      throw error;
    }
  }

  /** Hangs up. Streams that are open are destroyed. */
  async close(): Promise<void> {
    if (this.#end === undefined) {
      this.#finish({ reason: 'closed', error: undefined });
      const timer = setTimeout(() => this.#transport.destroy(), CLOSE_LIMIT_MS);
      await new Promise<void>((resolve) => {
        this.#transport.once('close', resolve);
        this.#transport.end(() => this.#transport.destroy());
      });
      clearTimeout(timer);
    }
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #attach(rest: Buffer): void {
    const transport = this.#transport;
    transport.on('data', (chunk: Buffer) => this.#receive(chunk));
    transport.on('drain', () => this.#drain());
    transport.on('error', (cause) => this.#finish({ reason: 'hung-up', error: new GuestError('hung-up', 'the channel to the guest broke', { cause }) }));
    const hungUp = (): void => this.#finish({ reason: 'hung-up', error: new GuestError('hung-up', 'the guest\'s end of the channel closed') });
    transport.on('end', hungUp);
    transport.on('close', hungUp);
    if (transport.destroyed) hungUp();
    this.#receive(rest);
    transport.resume();
  }

  async #mendClock(options: ConnectOptions, timeoutMs: number): Promise<void> {
    const now = (): bigint => BigInt(options.clock.nowMs()) * 1_000_000n;
    const difference = now() - this.welcome.realtimeNs;
    if (difference <= CLOCK_TOLERANCE_NS && difference >= -CLOCK_TOLERANCE_NS) return;
    await this.call('clock', { realtimeNs: now().toString() }, { timeoutMs, ...(options.signal === undefined ? {} : { signal: options.signal }) });
  }

  #takeId(): number {
    if (this.#end !== undefined) throw this.#end.error ?? new GuestError('closed', 'the session with the guest is closed');
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Registers, sends, and waits for the answer, with a limit. */
  async #wait<T>({ what, id, waits, send }: Question<T>, options: WaitOptions): Promise<T> {
    const { signal, timeoutMs = WAIT_LIMIT_MS } = options;
    if (signal?.aborted === true) throw new GuestError('ABORT_ERR', `${what} was given up`, { cause: signal.reason });
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const timer = setTimeout(() => reject(new GuestError('ETIMEDOUT', `${what} took longer than ${timeoutMs} ms`)), timeoutMs);
    const abort = (): void => reject(new GuestError('ABORT_ERR', `${what} was given up`, { cause: signal?.reason }));
    signal?.addEventListener('abort', abort);
    waits.set(id, { resolve, reject });
    send();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      waits.delete(id);
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#end !== undefined) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#fail(error instanceof GuestError ? error : new GuestError('internal', 'a frame of the guest could not be handled', { cause: error }));
    }
  }

  #frame(header: FrameHeader, payload: Buffer): void {
    if (this.#end !== undefined) return;
    const { id, name } = header;
    switch (name) {
      case 'fault': {
        const fault = parseMessage(faultSchema, payload);
        throw new GuestError(fault?.code ?? 'protocol', `the guest's agent ended the session: ${fault?.message ?? 'for no reason'}`);
      }
      case 'event':
        return this.#event(payload);
      case 'result':
        this.#mustBeKnown(id, name);
        return this.#calls.get(id)?.resolve(payload);
      case 'open':
        return this.#serviceStreams.open(id, payload);
      case 'opened':
        return this.#opened(id);
      case 'refused':
        this.#mustBeKnown(id, name);
        return this.#openings.get(id)?.reject(failureOf('the guest refused the connection', payload));
      case 'credit':
        if (payload.length !== 4) throw violation('CREDIT without a number');
        return this.#toStream(id, name, (stream) => stream.receiveCredit(payload.readUInt32LE(0)));
      case 'end':
        return this.#toStream(id, name, (stream) => stream.receiveEnd());
      case 'reset':
        return this.#toStream(id, name, (stream) => {
          stream.receiveReset(failureOf('the guest reset the connection', payload));
          return undefined;
        });
      case 'output':
      case 'data':
        return;
      default:
        return name satisfies never;
    }
  }

  #piece(header: FrameHeader, bytes: Buffer, isFirst: boolean): void {
    if (this.#end !== undefined) return;
    if (header.name === 'data') return this.#toStream(header.id, 'data', (stream) => stream.receive(bytes));
    let text = bytes;
    if (isFirst) {
      if (header.id !== 0 || (bytes[0] !== 1 && bytes[0] !== 2)) throw violation('OUTPUT of neither stdout nor stderr');
      this.#outputName = bytes[0] === 1 ? 'stdout' : 'stderr';
      text = bytes.subarray(1);
    }
    if (text.length > 0 && !this.#output.push(this.#outputName, text)) throw violation('OUTPUT beyond the credit');
  }

  #event(payload: Buffer): void {
    const event = parseMessage(eventSchema, payload);
    if (event === undefined) throw violation('an EVENT that cannot be read');
    this.#onEvent?.(event);
  }

  #opened(id: number): void {
    this.#mustBeKnown(id, 'opened');
    const opening = this.#openings.get(id);
    // Given up in the meantime: a RESET is on its way.
    if (opening === undefined || this.#streams.has(id)) return;
    const stream = new AgentStream(id, this.#channel);
    this.#streams.set(id, stream);
    opening.resolve(stream);
  }

  #toStream(id: number, name: FrameName, receive: (stream: AgentStream) => string | undefined): void {
    const stream = id >= FIRST_AGENT_ID ? this.#serviceStreams.find(id, name) : this.#ownStream(id, name);
    if (stream === undefined) return;
    const broken = receive(stream);
    if (broken !== undefined) throw violation(broken);
  }

  #ownStream(id: number, name: FrameName): AgentStream | undefined {
    this.#mustBeKnown(id, name);
    return this.#streams.get(id);
  }

  #mustBeKnown(id: number, name: FrameName): void {
    if (id === 0 || id > this.#lastId) throw violation(`a ${name} frame for something that was never asked for`);
  }

  #write(header: Buffer, payload?: Buffer): void {
    if (this.#end !== undefined) return;
    if (!this.#isCorked) {
      // Frames of one turn leave in one writev.
      this.#isCorked = true;
      this.#transport.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#transport.uncork();
      });
    }
    this.#transport.write(header);
    if (payload !== undefined) this.#transport.write(payload);
  }

  #sendCredit(id: number, count: number): void {
    const frame = Buffer.concat([headerOf('credit', id, 4), Buffer.alloc(4)]);
    frame.writeUInt32LE(Math.min(count, CREDIT_LIMIT), frame.length - 4);
    this.#write(frame);
  }

  #whenWritable(callback: () => void): void {
    if (this.#transport.writableNeedDrain) this.#drained.push(callback);
    else callback();
  }

  #drain(): void {
    const drained = this.#drained;
    this.#drained = [];
    for (const callback of drained) callback();
  }

  #fail(error: GuestError): void {
    if (this.#end !== undefined) return;
    if (error.code === 'protocol') this.#write(jsonFrame('fault', 0, { code: error.code, message: error.message.slice(0, 256) }));
    this.#finish({ reason: 'failed', error });
    this.#transport.end(() => this.#transport.destroy());
    setTimeout(() => this.#transport.destroy(), CLOSE_LIMIT_MS).unref();
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const error = end.error ?? new GuestError('closed', 'the session with the guest was closed');
    for (const waits of [this.#calls, this.#openings]) for (const waiting of waits.values()) waiting.reject(error);
    for (const stream of this.#streams.values()) stream.cutOff(error);
    this.#serviceStreams.end(error);
    this.#drained = [];
    if (end.reason === 'hung-up') this.#transport.destroy();
    this.#resolveClosed(end);
  }
}

function failureOf(what: string, payload: Buffer): GuestError {
  const failure = parseMessage(failureSchema, payload);
  if (failure === undefined) throw violation('a failure that cannot be read');
  return new GuestError(failure.code, failure.message === '' ? what : `${what}: ${failure.message}`);
}

function isGivenUp(error: unknown): boolean {
  return error instanceof GuestError && (error.code === 'ETIMEDOUT' || error.code === 'ABORT_ERR');
}

function parseResult<O extends CallName>(op: O, payload: Buffer): CallResult<O> | GuestError {
  const unreadable = violation(`an answer to ${op} that cannot be read`);
  const message = parseMessage(resultSchema, payload);
  if (message === undefined) return unreadable;
  if (message.error !== undefined) return new GuestError(message.error.code, `the guest could not ${op}: ${message.error.message}`);
  const parsed = RESULT_SCHEMAS[op].safeParse(message.ok);
  return parsed.success ? (parsed.data as CallResult<O>) : unreadable;
}
