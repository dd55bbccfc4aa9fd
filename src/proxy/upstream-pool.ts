import type { Duplex } from 'node:stream';
import { LullError } from '../domain/errors.ts';
import type { Clock } from '../domain/ports.ts';
import type { Destinations } from './destinations.ts';
import { Http1Connection } from './http1-upstream.ts';
import { Http2Connection } from './http2-upstream.ts';
import type { ProxyLimits } from './limits.ts';
import { IDLE_MS, type UpstreamConnection } from './outbound.ts';
import { DetectingStream, secure, type HttpVersion, type Transport } from './tls-detection.ts';

/**
 * Idle connections to one port; more are closed when they become free. As many as clients that are busy at the same time, or
 * each of their requests would begin with a connection: that costs as much as the request.
 */
const MAX_IDLE = 256;
/** A second connection to a port that took one a moment ago. */
const REDIAL_MS = 2000;

const isHttp2Alone = (versions: readonly HttpVersion[]) => versions.every((version) => version === 'h2');

/** Where to connect, and how. */
export interface UpstreamTarget {
  readonly microvmId: string;
  readonly port: number;
  /** What may be spoken: where there is no TLS to agree on it, HTTP/2 only where nothing else is allowed (section 5.2). */
  readonly versions: readonly HttpVersion[];
}

/** What an idle connection may be used for again. */
const kindOf = ({ port, versions }: UpstreamTarget) => `${port} ${versions.join()}`;

/** What is known of a microVM while it is awake. */
class Known {
  /** Idle connections by port and versions. */
  readonly idle = new Map<string, Idle[]>();
  /** By port. */
  readonly transports = new Map<number, Transport>();
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
  readonly #limits: ProxyLimits;
  /** By microVM. One that was forgotten is known anew: what was busy then does not fit it. */
  readonly #known = new Map<string, Known>();
  #sweep: Disposable | undefined;
  #closed = false;

  constructor(parts: { destinations: Destinations; clock: Clock; limits: ProxyLimits }) {
    this.#destinations = parts.destinations;
    this.#clock = parts.clock;
    this.#limits = parts.limits;
  }

  /** A connection that waits for its next request, where there is one. */
  takeIdle(target: UpstreamTarget): UpstreamConnection | undefined {
    const waiting = this.#known.get(target.microvmId)?.idle.get(kindOf(target)) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      idle.stopWatching();
      if (idle.connection.isUsable) return idle.connection;
      idle.connection.destroy();
    }
    return undefined;
  }

  /** A new connection, which may have to wait for the microVM. @throws LullError as `Destinations.connect` */
  async connect(target: UpstreamTarget, signal: AbortSignal): Promise<UpstreamConnection> {
    const { microvmId, port, versions } = target;
    const kind = kindOf(target);
    const stream = await this.#destinations.connect(microvmId, port, signal);
    const known = this.#known.get(microvmId) ?? new Known();
    this.#known.set(microvmId, known);
    const onFree = (connection: UpstreamConnection) => {
      if (this.#closed || this.#known.get(microvmId) !== known) return false;
      const idles = known.idle.get(kind) ?? [];
      known.idle.set(kind, idles);
      return this.#keep(idles, connection);
    };
    const options = { onFree, limits: this.#limits };
    const transport = known.transports.get(port);
    if (transport === 'tls') {
      const socket = await secure(stream, versions).catch((error: unknown) => {
        if (this.#known.get(microvmId) === known) throw error;
      });
      // It fell asleep in the handshake: the request has not left, and what was known of the port is void.
      if (socket === undefined) return this.takeIdle(target) ?? this.connect(target, signal);
      return socket.alpnProtocol === 'h2' ? new Http2Connection(socket, { ...options, scheme: 'https' }) : new Http1Connection(socket, options);
    }
    const plain = transport === 'plain' ? stream : this.#detecting(stream, target, known);
    return isHttp2Alone(versions) ? new Http2Connection(plain, { ...options, scheme: 'http' }) : new Http1Connection(plain, options);
  }

  /** A stream that finds out, and remembers, what the port speaks. */
  #detecting(plain: Duplex, { microvmId, port, versions }: UpstreamTarget, known: Known): Duplex {
    return new DetectingStream(plain, {
      dialTls: async () => {
        // It hung up because it fell asleep, and nobody has asked for it since.
        if (this.#known.get(microvmId) !== known) throw new LullError('conflict', `The MicroVM ${microvmId} went to sleep.`);
        const stream = await this.#destinations.connect(microvmId, port, AbortSignal.timeout(REDIAL_MS));
        // What has been said once in one version is said again in it.
        return secure(stream, [isHttp2Alone(versions) ? 'h2' : 'http/1.1']);
      },
      onVerdict: (transport) => known.transports.set(port, transport),
    });
  }

  /** Ends the idle connections of a microVM, and the busy ones once they are free. */
  forget(microvmId: string): void {
    const known = this.#known.get(microvmId);
    this.#known.delete(microvmId);
    for (const idles of known?.idle.values() ?? []) idles.forEach(end);
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.[Symbol.dispose]();
    for (const microvmId of [...this.#known.keys()]) this.forget(microvmId);
  }

  #keep(idles: Idle[], connection: UpstreamConnection): boolean {
    if (idles.length >= MAX_IDLE || !connection.isUsable) return false;
    const stopWatching = connection.whenUnfit(() => {
      const at = idles.findIndex((idle) => idle.connection === connection);
      if (at >= 0) idles.splice(at, 1).forEach(end);
    });
    idles.push({ connection, sinceMs: this.#clock.nowMs(), stopWatching });
    this.#sweep ??= this.#clock.at(this.#clock.nowMs() + IDLE_MS, () => this.#endOld());
    return true;
  }

  #endOld(): void {
    this.#sweep = undefined;
    const oldMs = this.#clock.nowMs() - IDLE_MS;
    let left = 0;
    for (const { idle } of this.#known.values()) {
      for (const [kind, idles] of idle) {
        // The newest is used first, so the old ones are in front.
        while (idles[0] !== undefined && idles[0].sinceMs <= oldMs) end(idles.shift()!);
        if (idles.length === 0) idle.delete(kind);
        left += idles.length;
      }
    }
    if (left > 0) this.#sweep = this.#clock.at(this.#clock.nowMs() + IDLE_MS, () => this.#endOld());
  }
}

function end(idle: Idle): void {
  idle.stopWatching();
  idle.connection.end();
}
