import type { Clock } from '../domain/ports.ts';
import type { Destinations } from './destinations.ts';
import { Http1Connection } from './http1-upstream.ts';
import { Http2Connection } from './http2-upstream.ts';
import type { ProxyLimits } from './limits.ts';
import { IDLE_MS, type UpstreamConnection } from './outbound.ts';

/** Idle connections to one port; more are closed when they become free. */
const MAX_IDLE = 32;

/** Where to connect, and how. */
export interface UpstreamTarget {
  readonly microvmId: string;
  readonly port: number;
  /** Speak HTTP/2 to an application that may not say so itself (`X-aws-proxy-force-h2`, section 5.2). */
  readonly isHttp2Forced: boolean;
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
  /** Idle connections by port and version, by microVM. A forgotten microVM gets a new inner map: what was busy then does not fit it. */
  readonly #idle = new Map<string, Map<string, Idle[]>>();
  #sweep: Disposable | undefined;
  #closed = false;

  constructor(parts: { destinations: Destinations; clock: Clock; limits: ProxyLimits }) {
    this.#destinations = parts.destinations;
    this.#clock = parts.clock;
    this.#limits = parts.limits;
  }

  /** An idle connection, or a new one, which may have to wait for the microVM. @throws LullError as `Destinations.connect` */
  async acquire(target: UpstreamTarget, signal: AbortSignal): Promise<UpstreamConnection> {
    const { microvmId, port, isHttp2Forced } = target;
    const kind = `${port} ${isHttp2Forced}`;
    const waiting = this.#idle.get(microvmId)?.get(kind) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      idle.stopWatching();
      if (idle.connection.isUsable) return idle.connection;
      idle.connection.destroy();
    }
    const stream = await this.#destinations.connect(microvmId, port, signal);
    const kinds = this.#idle.get(microvmId) ?? new Map<string, Idle[]>();
    this.#idle.set(microvmId, kinds);
    const onFree = (connection: UpstreamConnection) => {
      if (this.#closed || this.#idle.get(microvmId) !== kinds) return false;
      const idles = kinds.get(kind) ?? [];
      kinds.set(kind, idles);
      return this.#keep(idles, connection);
    };
    if (isHttp2Forced) return new Http2Connection(stream, { scheme: 'http', onFree, limits: this.#limits });
    return new Http1Connection(stream, { onFree, limits: this.#limits });
  }

  /** Ends the idle connections of a microVM, and the busy ones once they are free. */
  forget(microvmId: string): void {
    const kinds = this.#idle.get(microvmId);
    this.#idle.delete(microvmId);
    for (const idles of kinds?.values() ?? []) idles.forEach(end);
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.[Symbol.dispose]();
    for (const microvmId of [...this.#idle.keys()]) this.forget(microvmId);
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
    for (const kinds of this.#idle.values()) {
      for (const [kind, idles] of kinds) {
        // The newest is used first, so the old ones are in front.
        while (idles[0] !== undefined && idles[0].sinceMs <= oldMs) end(idles.shift()!);
        if (idles.length === 0) kinds.delete(kind);
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
