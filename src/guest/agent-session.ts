/** The host's end of one session with a microVM's agent: docs/agent-protocol.md. Everything the agent says is hostile. */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { LullError } from '../domain/errors.ts';
import { within } from '../lib/deadline.ts';
import { AgentStream, CREDIT_STEP_BYTES, INITIAL_CREDIT_BYTES, type StreamLink } from './agent-stream.ts';
import { brokenRule, frameHeader, FrameReader, HOST_PREAMBLE, type Frame, type FrameType } from './frame.ts';
import {
  CALL_RESULTS,
  eventSchema,
  parseMessage,
  problemSchema,
  resultSchema,
  welcomeSchema,
  type CallArguments,
  type CallName,
  type CallResult,
  type Welcome,
} from './messages.ts';

const PROTOCOL = { min: 1, max: 1 };
const NONCE_BYTES = 16;
const MAX_STREAMS = 1024;
const OPEN_LIMIT_MS = 10_000;
/** Beyond this the guest's clock is set again: the greeting waited longer than it should. */
const MAX_CLOCK_ERROR_MS = 100;
const SIGNAL_EXIT_BASE = 128;

/** What the agent does before anything of the application runs again. */
export interface RestoreOrders {
  /** 64 bytes for the kernel's pool. */
  readonly entropy: Buffer;
  /** Ends every TCP connection that leaves the guest. */
  readonly resetConnections: boolean;
}

export interface SessionOptions {
  /** What the agent may know, most likely first; it accepts the right one. */
  readonly secrets: readonly string[];
  readonly nextSecret: string;
  readonly restore?: RestoreOrders;
  readonly thaw?: boolean;
  /** For the greeting to be answered. */
  readonly limitMs: number;
  readonly signal?: AbortSignal;
  /** Takes the application's output; the guest is not read further before the promise resolves. */
  readonly onOutput: (stream: 'stdout' | 'stderr', bytes: Buffer) => Promise<void>;
  /** The application's first process has ended, now or before this session. */
  readonly onExit: (exitCode: number) => void;
}

interface OpenStream {
  readonly stream: AgentStream;
  readonly opened: PromiseWithResolvers<void>;
  isOpen: boolean;
}

interface Waiting {
  readonly settle: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class AgentSession {
  readonly #channel: Duplex;
  readonly #options: SessionOptions;
  readonly #reader = new FrameReader();
  readonly #calls = new Map<number, Waiting>();
  readonly #streams = new Map<number, OpenStream>();
  readonly #closed = Promise.withResolvers<Error>();
  #nextId = 1;
  #end: Error | undefined;
  #greeting: { nonce: string; answer: PromiseWithResolvers<Welcome> } | undefined;
  #outputCredit = INITIAL_CREDIT_BYTES;
  #outputTaken = 0;

  private constructor(channel: Duplex, options: SessionOptions) {
    this.#channel = channel;
    this.#options = options;
    channel.on('data', (chunk: Buffer) => this.#receive(chunk));
    channel.on('error', (error) => this.#fail(error));
    channel.on('close', () => this.#fail(new LullError('internal', "The connection to the MicroVM's agent was closed.")));
    channel.on('end', () => channel.destroy());
  }

  /**
   * Greets the agent and waits for its answer.
   * @throws LullError internal, or DeadlineError, where it does not answer in time, knows none of the secrets, or breaks the protocol
   */
  static async connect(channel: Duplex, options: SessionOptions): Promise<AgentSession> {
    const session = new AgentSession(channel, options);
    try {
      const welcome = await within("the agent's greeting", options.limitMs, session.#greet());
      await session.#correctClock(welcome);
      const { application } = welcome;
      if (application.state === 'exited') options.onExit(application.exitCode ?? SIGNAL_EXIT_BASE + (application.signal ?? 0));
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Resolves with the reason when the session has ended. */
  get closed(): Promise<Error> {
    return this.#closed.promise;
  }

  /** @throws LullError internal with the agent's own words where it refuses; DeadlineError after `limitMs` */
  async call<C extends CallName>(name: C, args: CallArguments[C], { limitMs }: { limitMs: number }): Promise<CallResult<C>> {
    this.#requireOpen();
    const id = this.#nextId++;
    const answer = Promise.withResolvers<Buffer>();
    this.#calls.set(id, { settle: answer.resolve, reject: answer.reject });
    this.#sendJson('call', id, { op: name, ...args });
    try {
      const result = parseMessage(name, resultSchema, await within(`the agent's ${name}`, limitMs, answer.promise));
      if ('error' in result) throw new LullError('internal', `The MicroVM's agent could not ${name}: ${result.error.message} (${result.error.code})`);
      const parsed = CALL_RESULTS[name].safeParse(result.ok);
      if (!parsed.success) throw this.#fail(brokenRule(`answer to ${name}`));
      return parsed.data as CallResult<C>;
    } finally {
      this.#calls.delete(id);
    }
  }

  /** A stream to 127.0.0.1:`port` in the guest. @throws LullError internal where nothing listens there */
  async openTcp(port: number): Promise<Duplex> {
    this.#requireOpen();
    if (this.#streams.size >= MAX_STREAMS) throw new LullError('throttled', 'Too many connections to the MicroVM are open.');
    const id = this.#nextId++;
    const stream = new AgentStream(this.#link(id));
    const opened = Promise.withResolvers<void>();
    this.#streams.set(id, { stream, opened, isOpen: false });
    stream.once('close', () => this.#streams.delete(id));
    this.#sendJson('open', id, { to: 'tcp', port });
    try {
      await within(`connection to port ${port}`, OPEN_LIMIT_MS, opened.promise);
      return stream;
    } catch (error) {
      stream.destroy();
      throw error;
    }
  }

  /** Hangs up; streams end with an error. */
  close(): void {
    this.#fail(new LullError('internal', "The connection to the MicroVM's agent was closed."));
  }

  async #greet(): Promise<Welcome> {
    this.#options.signal?.addEventListener('abort', () => this.close(), { once: true });
    let refused: unknown;
    for (const secret of new Set(this.#options.secrets)) {
      const nonce = randomBytes(NONCE_BYTES).toString('hex');
      const answer = Promise.withResolvers<Welcome>();
      this.#greeting = { nonce, answer };
      this.#reader.seek();
      this.#channel.write(HOST_PREAMBLE);
      this.#sendJson('hello', 0, this.#hello(nonce, secret));
      try {
        return await answer.promise;
      } catch (error) {
        if (this.#end !== undefined) throw error;
        refused = error;
      }
    }
    throw refused instanceof Error ? refused : new LullError('internal', 'No secret of the MicroVM is known.');
  }

  #hello(nonce: string, secret: string): object {
    const { nextSecret, restore, thaw } = this.#options;
    return {
      protocol: PROTOCOL,
      nonce,
      secret,
      nextSecret,
      outputCredit: INITIAL_CREDIT_BYTES,
      ...(restore === undefined
        ? {}
        : { restore: { realtimeNs: nowNs(), entropy: restore.entropy.toString('base64'), resetConnections: restore.resetConnections } }),
      ...(thaw === undefined ? {} : { thaw }),
    };
  }

  async #correctClock(welcome: Welcome): Promise<void> {
    const errorMs = Math.abs(Number(BigInt(nowNs()) - BigInt(welcome.realtimeNs)) / 1e6);
    if (this.#options.restore === undefined || errorMs <= MAX_CLOCK_ERROR_MS) return;
    await this.call('clock', { realtimeNs: nowNs() }, { limitMs: this.#options.limitMs });
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.feed(chunk)) {
        if (this.#end !== undefined) return;
        this.#handle(frame);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : brokenRule(String(error)));
    }
  }

  #handle({ type: kind, stream, payload }: Frame): void {
    if (kind === 'welcome') return this.#welcome(payload);
    if (kind === 'fault') return this.#fault(payload);
    if (this.#greeting !== undefined) throw brokenRule(`${kind} before its welcome`);
    switch (kind) {
      case 'result':
        return this.#calls.get(this.#known(stream))?.settle(payload);
      case 'event':
        return this.#event(payload);
      case 'output':
        return this.#output(payload);
      case 'opened':
        return this.#opened(stream);
      case 'refused':
        return this.#refused(stream, payload);
      case 'data':
        return this.#open(stream)?.stream.receive(payload);
      case 'credit':
        if (payload.length !== 4) throw brokenRule('credit of a wrong length');
        return this.#open(stream)?.stream.receiveCredit(payload.readUInt32LE());
      case 'end':
        return this.#open(stream)?.stream.receiveEnd();
      case 'reset':
        return this.#reset(stream, payload);
      case 'hello':
      case 'call':
      case 'open':
        throw brokenRule(`${kind} from the agent`);
    }
    kind satisfies never;
  }

  #welcome(payload: Buffer): void {
    const greeting = this.#greeting;
    if (greeting === undefined) throw brokenRule('a second welcome');
    const welcome = parseMessage('welcome', welcomeSchema, payload);
    // One with another nonce answers a greeting of long ago.
    if (welcome.nonce !== greeting.nonce) return this.#reader.seek();
    if (welcome.protocol < PROTOCOL.min || welcome.protocol > PROTOCOL.max) throw brokenRule(`protocol ${welcome.protocol}`);
    this.#greeting = undefined;
    greeting.answer.resolve(welcome);
  }

  #fault(payload: Buffer): void {
    const { code, message } = parseMessage('fault', problemSchema, payload);
    const error = new LullError('internal', `The MicroVM's agent ended the session: ${message} (${code})`);
    if (code === 'secret' && this.#greeting !== undefined) this.#greeting.answer.reject(error);
    else this.#fail(error);
  }

  #event(payload: Buffer): void {
    const { exitCode, signal } = parseMessage('event', eventSchema, payload);
    this.#options.onExit(signal === null || signal === undefined ? exitCode : SIGNAL_EXIT_BASE + signal);
  }

  #output(payload: Buffer): void {
    const bytes = payload.subarray(1);
    const which = payload[0] === 1 ? 'stdout' : payload[0] === 2 ? 'stderr' : undefined;
    this.#outputCredit -= bytes.length;
    if (which === undefined || this.#outputCredit < 0) throw brokenRule('output beyond its credit');
    this.#options.onOutput(which, bytes).then(
      () => this.#outputDone(bytes.length),
      (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
  }

  #outputDone(bytes: number): void {
    this.#outputTaken += bytes;
    const nothingHeld = this.#outputCredit + this.#outputTaken === INITIAL_CREDIT_BYTES;
    if (this.#end !== undefined || (this.#outputTaken < CREDIT_STEP_BYTES && !nothingHeld)) return;
    this.#sendCredit(0, this.#outputTaken);
    this.#outputCredit += this.#outputTaken;
    this.#outputTaken = 0;
  }

  #opened(id: number): void {
    const open = this.#streams.get(this.#known(id));
    if (open?.isOpen === true) throw brokenRule('opened twice');
    if (open !== undefined) open.isOpen = true;
    open?.opened.resolve();
  }

  #refused(id: number, payload: Buffer): void {
    const { code, message } = parseMessage('refused', problemSchema, payload);
    const open = this.#streams.get(this.#known(id));
    if (open?.isOpen === true) throw brokenRule('refused after opened');
    this.#streams.delete(id);
    open?.opened.reject(new LullError('internal', `The MicroVM refused the connection: ${message} (${code})`));
  }

  #reset(id: number, payload: Buffer): void {
    const { code, message } = parseMessage('reset', problemSchema, payload);
    const open = this.#open(id);
    this.#streams.delete(id);
    open?.stream.destroy(Object.assign(new Error(message), { code }));
  }

  /** The stream of that id; undefined where it has gone and the frame has crossed its end. */
  #open(id: number): OpenStream | undefined {
    const open = this.#streams.get(this.#known(id));
    if (open !== undefined && !open.isOpen) throw brokenRule('a frame for a stream that is not open');
    return open;
  }

  #known(id: number): number {
    if (id === 0 || id >= this.#nextId) throw brokenRule(`stream ${id}`);
    return id;
  }

  #link(id: number): StreamLink {
    return {
      data: (bytes) => this.#send('data', id, bytes),
      credit: (bytes) => this.#streams.has(id) && this.#sendCredit(id, bytes),
      end: () => this.#send('end', id),
      reset: () => this.#forget(id),
      whenWritable: (callback) => (this.#channel.writableNeedDrain ? void this.#channel.once('drain', callback) : callback()),
    };
  }

  #forget(id: number): void {
    if (!this.#streams.delete(id) || this.#end !== undefined) return;
    this.#sendJson('reset', id, { code: 'ECONNRESET', message: 'closed by the host' });
  }

  #sendCredit(id: number, bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    this.#send('credit', id, payload);
  }

  #sendJson(type: FrameType, id: number, message: object): void {
    this.#send(type, id, Buffer.from(JSON.stringify(message)));
  }

  #send(type: FrameType, id: number, payload?: Buffer): void {
    if (this.#end !== undefined) return;
    this.#channel.cork();
    this.#channel.write(frameHeader(type, id, payload?.length ?? 0));
    if (payload !== undefined && payload.length > 0) this.#channel.write(payload);
    this.#channel.uncork();
  }

  #requireOpen(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  /** Ends the session once; everybody who waits on it learns why. */
  #fail(error: Error): Error {
    if (this.#end !== undefined) return this.#end;
    this.#end = error;
    this.#channel.destroy();
    this.#greeting?.answer.reject(error);
    for (const { reject } of this.#calls.values()) reject(error);
    for (const { stream, opened } of this.#streams.values()) {
      opened.promise.catch(() => undefined);
      opened.reject(error);
      stream.destroy(error);
    }
    this.#streams.clear();
    this.#closed.resolve(error);
    return error;
  }
}

/** The wall clock in nanoseconds since the epoch. */
const nowNs = () => `${BigInt(Date.now()) * 1_000_000n}`;
