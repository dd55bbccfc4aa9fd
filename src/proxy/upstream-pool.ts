import { Agent, type ClientRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../domain/ports.ts';
import type { Destinations } from './destinations.ts';

/**
 * An idle connection is given up before any common application server would close it (the shortest default is 2 s):
 * a request that meets a close on its way cannot be sent again.
 */
export const IDLE_MS = 1000;
/** How long an application may take to close its side of a connection that we have no more use for. */
const LINGER_MS = 2000;
/** Idle connections to one port; more are closed when they become free. */
const MAX_IDLE = 32;

/** One stream to an application, and the agent through which Node's HTTP client uses it, again and again. */
export class UpstreamConnection extends Agent {
  readonly stream: Duplex;
  /** False once the application has announced that it will close the connection soon. */
  reusable = true;
  readonly #onFree: (connection: UpstreamConnection) => boolean;
  #handedOut = false;

  /** @param onFree asked when an exchange has ended cleanly: true keeps the stream, false ends it */
  constructor(stream: Duplex, onFree: (connection: UpstreamConnection) => boolean) {
    super({ keepAlive: true, maxSockets: 1 });
    this.stream = stream;
    this.#onFree = onFree;
    // The HTTP client listens during an exchange; between two nobody else does.
    stream.on('error', () => undefined);
  }

  override getName(): string {
    return '';
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    const gone = this.#handedOut || this.stream.destroyed;
    this.#handedOut = true;
    callback?.(gone ? new Error('the connection to the application has ended') : null, this.stream);
  }

  /** The agent's question whether to keep a free stream. */
  override keepSocketAlive(): boolean {
    return this.reusable && this.#onFree(this);
  }

  override reuseSocket(stream: Duplex, request: ClientRequest): void {
    // Node's own takes its guard off the stream and then refers to a socket, which this need not be.
    if (!('ref' in stream)) Object.assign(stream, { ref: () => stream });
    super.reuseSocket(stream, request);
  }

  /** True while a further request may be sent. */
  get usable(): boolean {
    return !this.stream.destroyed && this.stream.writable && this.stream.readable;
  }
}

/** A connection that waits for its next request. */
interface Idle {
  readonly connection: UpstreamConnection;
  readonly sinceMs: number;
  readonly stopWatching: () => void;
}

/**
 * Connections to applications, kept for a moment between requests, by microVM and port. None outlives the microVM's being
 * awake: see {@link UpstreamPool.forget}.
 */
export class UpstreamPool {
  readonly #destinations: Destinations;
  readonly #clock: Clock;
  /** Idle connections by port, by microVM. A forgotten microVM gets a new inner map: what was busy then does not fit it. */
  readonly #idle = new Map<string, Map<number, Idle[]>>();
  #sweep: Disposable | undefined;
  #closed = false;

  constructor(destinations: Destinations, clock: Clock) {
    this.#destinations = destinations;
    this.#clock = clock;
  }

  /** An idle connection, or a new one, which may have to wait for the microVM. @throws LullError as `Destinations.connect` */
  async acquire(target: { microvmId: string; port: number }, signal: AbortSignal): Promise<UpstreamConnection> {
    const { microvmId, port } = target;
    const waiting = this.#idle.get(microvmId)?.get(port) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      idle.stopWatching();
      if (idle.connection.usable) return idle.connection;
      idle.connection.stream.destroy();
    }
    const stream = await this.#destinations.connect(microvmId, port, signal);
    const ports = this.#idle.get(microvmId) ?? new Map<number, Idle[]>();
    this.#idle.set(microvmId, ports);
    return new UpstreamConnection(stream, (connection) => {
      if (this.#closed || this.#idle.get(microvmId) !== ports) return false;
      const idles = ports.get(port) ?? [];
      ports.set(port, idles);
      return this.#keep(idles, connection);
    });
  }

  /** Ends the idle connections of a microVM, and the busy ones once they are free. */
  forget(microvmId: string): void {
    const ports = this.#idle.get(microvmId);
    this.#idle.delete(microvmId);
    for (const idles of ports?.values() ?? []) for (const idle of idles) end(idle);
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.[Symbol.dispose]();
    for (const ports of this.#idle.values()) for (const idles of ports.values()) for (const idle of idles) end(idle);
    this.#idle.clear();
  }

  #keep(idles: Idle[], connection: UpstreamConnection): boolean {
    if (idles.length >= MAX_IDLE || !connection.usable) return false;
    const { stream } = connection;
    const leave = () => {
      const at = idles.findIndex((idle) => idle.connection === connection);
      if (at >= 0) idles.splice(at, 1).forEach(end);
    };
    // An application that speaks unasked, or hangs up, has no further use.
    for (const event of UNFIT) stream.on(event, leave);
    const stopWatching = () => {
      for (const event of UNFIT) stream.off(event, leave);
    };
    idles.push({ connection, sinceMs: this.#clock.nowMs(), stopWatching });
    this.#sweep ??= this.#clock.at(this.#clock.nowMs() + IDLE_MS, () => this.#endOld());
    return true;
  }

  #endOld(): void {
    this.#sweep = undefined;
    const oldMs = this.#clock.nowMs() - IDLE_MS;
    let left = 0;
    for (const ports of this.#idle.values()) {
      for (const [port, idles] of ports) {
        // The newest is used first, so the old ones are in front.
        while (idles[0] !== undefined && idles[0].sinceMs <= oldMs) end(idles.shift()!);
        if (idles.length === 0) ports.delete(port);
        left += idles.length;
      }
    }
    if (left > 0) this.#sweep = this.#clock.at(this.#clock.nowMs() + IDLE_MS, () => this.#endOld());
  }
}

const UNFIT = ['data', 'end', 'close', 'error'] as const;

/** Hangs up as a client would: a reset would show up as an error in the application's log. */
function end(idle: Idle): void {
  idle.stopWatching();
  const { stream } = idle.connection;
  const limit = setTimeout(() => stream.destroy(), LINGER_MS).unref();
  stream.once('close', () => clearTimeout(limit));
  stream.resume().end();
}
