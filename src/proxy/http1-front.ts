import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { isLullError } from '../domain/errors.ts';
import type { Clock, EndpointTokens, Random } from '../domain/ports.ts';
import { Activity } from './activity.ts';
import { admit, type Admitted } from './admission.ts';
import type { Destinations } from './destinations.ts';
import { Exchange } from './exchange.ts';
import { forward, type Passage } from './forward.ts';
import { framingOf, valuesOf } from './headers.ts';
import type { ProxyLimits } from './limits.ts';
import type { Log } from '../lib/log.ts';
import { REFUSALS, RefusedError, sendRefusal } from './refusal.ts';
import { forwardUpgrade } from './upgrade.ts';
import { UpstreamPool, type UpstreamConnection } from './upstream-pool.ts';

export interface FrontOptions {
  readonly destinations: Destinations;
  readonly tokens: EndpointTokens;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly domain: string;
  readonly limits: ProxyLimits;
}

/** The authority that the request is for. Of two Hosts Node keeps the first; RFC 9112 section 3.2 wants them refused. */
const hostOf = (request: IncomingMessage): string | undefined => {
  const hosts = valuesOf(request.rawHeaders, 'host');
  if (hosts.length > 1) throw new RefusedError(REFUSALS.malformed, 'more than one Host');
  const target = /^https?:\/\/([^/?]*)/i.exec(request.url ?? '')?.[1];
  if (target !== undefined && target.toLowerCase() !== hosts[0]?.toLowerCase()) {
    throw new RefusedError(REFUSALS.malformed, 'Host and request target differ');
  }
  return hosts[0];
};

/** Takes HTTP/1.1 requests from clients: admits them, connects, and has them forwarded. */
export class Http1Front {
  readonly #options: FrontOptions;
  readonly #pool: UpstreamPool;
  readonly #activity: Activity;
  /** The exchange that a client's connection is busy with. */
  readonly #busy = new WeakMap<Duplex, ServerResponse>();

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#pool = new UpstreamPool(options.destinations, options.clock);
    this.#activity = new Activity(options.destinations, options.clock);
  }

  /** Serves one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    ignoreErrors(request, response);
    // Pipelined requests go to the application one after the other, as their answers must.
    const before = this.#busy.get(socket);
    this.#busy.set(socket, response);
    if (before !== undefined && !before.closed) {
      await new Promise<void>((resolve) => before.once('close', () => resolve()));
      if (socket.destroyed) return;
    }
    const exchange = this.#begin(request);
    // After the other listeners, which know why.
    response.once('close', () => setImmediate(() => exchange.end()));
    await this.#serve({ request, response, exchange }, (passage) => forward(passage));
  }

  /** Serves one Upgrade; never rejects. */
  async upgrade(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const { silenceMs } = this.#options.limits;
    const exchange = this.#begin(request);
    const response = new ServerResponse(request);
    const { socket } = request;
    ignoreErrors(request, response, client);
    socket.setTimeout(silenceMs, () => socket.destroy());
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    client.on('drain', () => response.emit('drain'));
    response.once('finish', () => client.end(() => client.destroy()));
    client.once('close', () => setImmediate(() => exchange.end()));
    await this.#serve({ request, response, exchange }, (passage) => forwardUpgrade(passage, client, head));
  }

  /** True while an answer has begun on a client's connection and is not complete. */
  isAnswering(client: Duplex): boolean {
    const response = this.#busy.get(client);
    return response !== undefined && response.headersSent && !response.closed;
  }

  /** Drops what is kept of a microVM between requests; to be called before it sleeps or ends. */
  forget(microvmId: string): void {
    this.#pool.forget(microvmId);
    this.#activity.forget(microvmId);
  }

  /** Ends the connections that wait for a next request. */
  close(): void {
    this.#pool.close();
  }

  #begin(request: IncomingMessage): Exchange {
    const { random, clock, log } = this.#options;
    return new Exchange({ requestId: random.uuid(), method: request.method ?? '', clock, log });
  }

  async #serve(
    parts: { request: IncomingMessage; response: ServerResponse; exchange: Exchange },
    pass: (passage: Passage) => void,
  ): Promise<void> {
    const { request, response, exchange } = parts;
    const { limits, log } = this.#options;
    try {
      const framing = framingOf(request.rawHeaders);
      if (framing === undefined) throw new RefusedError(REFUSALS.malformed, 'unknown transfer coding');
      const target = await this.#admit(request);
      exchange.target = target;
      const connection = await this.#connect(target, parts);
      if (connection === undefined) return;
      pass({ ...parts, target, framing, connection, activity: this.#activity, limits });
    } catch (error) {
      const refused = error instanceof RefusedError ? error : new RefusedError(REFUSALS.fault, 'the proxy failed', error);
      if (refused.refusal === REFUSALS.fault) log.error({ err: error, requestId: exchange.requestId }, 'the proxy failed');
      exchange.failed(refused.message, refused.cause);
      exchange.answered(refused.refusal.status);
      sendRefusal({ request, response, limits, requestId: exchange.requestId }, refused.refusal);
    }
  }

  async #admit(request: IncomingMessage): Promise<Admitted> {
    const { rawHeaders } = request;
    if (rawHeaders.length > 2 * this.#options.limits.headerCount) throw new RefusedError(REFUSALS.malformed, 'too many headers');
    const authority = hostOf(request);
    // Two of a kind contradict each other: joined, they are neither a token nor a port.
    const one = (name: string) => request.headers[name]?.toString();
    return admit({ authority, token: one('x-aws-proxy-auth'), port: one('x-aws-proxy-port') }, this.#options);
  }

  /** Connects while the request's body is left unread; undefined where the client went away meanwhile. */
  async #connect(
    target: Admitted,
    parts: { request: IncomingMessage; response: ServerResponse; exchange: Exchange },
  ): Promise<UpstreamConnection | undefined> {
    const { response, exchange } = parts;
    const { clock } = this.#options;
    const startedAtMs = clock.nowMs();
    const left = new AbortController();
    const abort = () => left.abort();
    response.once('close', abort);
    try {
      const connection = await this.#pool.acquire(target, left.signal);
      exchange.heldMs = clock.nowMs() - startedAtMs;
      if (!response.destroyed && !parts.request.socket.destroyed) return connection;
      connection.stream.destroy();
    } catch (error) {
      exchange.heldMs = clock.nowMs() - startedAtMs;
      if (!left.signal.aborted) throw unreachable(error);
    } finally {
      response.off('close', abort);
    }
    exchange.failed('the client left while its request was held');
    return undefined;
  }
}

function unreachable(error: unknown): RefusedError {
  const tooMany = isLullError(error, 'throttled') || isLullError(error, 'quota-exceeded');
  const reason = isLullError(error) ? error.message : 'the microVM cannot be reached';
  return new RefusedError(tooMany ? REFUSALS.tooMany : REFUSALS.unreachable, reason, error);
}

/** Ends and failures are seen at 'close'; an 'error' that nobody hears would end the process. */
function ignoreErrors(...streams: (IncomingMessage | ServerResponse | Duplex)[]): void {
  for (const stream of streams) stream.on('error', () => undefined);
}
