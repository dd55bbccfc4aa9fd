import { isLullError } from '../domain/errors.ts';
import type { Clock, EndpointTokens, Random } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import { Activity } from './activity.ts';
import { admit, type Admitted, type Ask } from './admission.ts';
import { Allowances, type AllowanceOf } from './allowance.ts';
import type { Destinations } from './destinations.ts';
import { Exchange, UNOBSERVED, type ExchangeObserver } from './exchange.ts';
import { valueOf } from './headers.ts';
import { sendRefusal, type Inbound, type RequestHead } from './inbound.ts';
import type { ProxyLimits } from './limits.ts';
import type { UpstreamConnection } from './outbound.ts';
import { REFUSALS, RefusedError } from './refusal.ts';
import { relay, type Meter } from './relay.ts';
import { checkHandshake, Shells, type ShellVisit } from './shell.ts';
import type { HttpVersion } from './tls-detection.ts';
import { UpstreamPool } from './upstream-pool.ts';
import { ourSubprotocols } from './websocket.ts';

export interface FrontOptions {
  readonly destinations: Destinations;
  readonly tokens: EndpointTokens;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly domain: string;
  readonly limits: ProxyLimits;
  /** What the endpoints may carry; everything where left out. */
  readonly allowanceOf?: AllowanceOf;
  readonly observer?: ExchangeObserver;
}

/** Takes requests from clients, of whatever version of HTTP: admits them, connects, and has them relayed. */
export class Front {
  readonly #options: FrontOptions;
  readonly #pool: UpstreamPool;
  readonly #shells: Shells;
  readonly #activity: Activity;
  readonly #allowances: Allowances;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#pool = new UpstreamPool(options);
    this.#shells = new Shells(options);
    this.#activity = new Activity(options.destinations, options.clock);
    this.#allowances = new Allowances(options.allowanceOf ?? (() => undefined), options.clock);
  }

  /** Serves one request; never rejects. */
  async serve(inbound: Inbound): Promise<void> {
    const { log } = this.#options;
    const exchange = this.#exchange(inbound);
    // After the other listeners, which know why.
    inbound.onClose(() => setImmediate(() => exchange.end()));
    inbound.onBroken((refused) => refuse(inbound, exchange, refused));
    try {
      const head = inbound.readHead();
      if (head.fields.length > 2 * this.#options.limits.headerCount) throw new RefusedError(REFUSALS.malformed, 'too many headers');
      const target = await admit(askOf(head), this.#options);
      exchange.target = target;
      // What has closed by now closes no more, and would be counted for ever.
      if (inbound.isGone) return;
      this.#allowances.enter(target, inbound.connection);
      const visit = { inbound, exchange, meter: this.#meter(target, exchange), farewellMs: this.#options.limits.farewellMs };
      const { microvmId, port } = target;
      if (port === undefined) return await this.#serveShell(microvmId, head, visit);
      const way = { microvmId, port, versions: versionsOf(inbound, head) };
      const drop = (unused: UpstreamConnection) => unused.destroy();
      const connect = () => this.#held(microvmId, visit, { open: (signal) => this.#pool.connect(way, signal), drop });
      const connection = this.#pool.takeIdle(way) ?? (await connect());
      if (connection === undefined) return;
      exchange.isConnected = true;
      relay({ ...visit, head: addressed(head), connection, again: connect });
    } catch (error) {
      const refused = error instanceof RefusedError ? error : new RefusedError(REFUSALS.fault, 'the proxy failed', error);
      if (refused.refusal === REFUSALS.fault) log.error({ err: error, requestId: exchange.requestId }, 'the proxy failed');
      refuse(inbound, exchange, refused);
    }
  }

  /** Notes bytes that never became a request, as one. @returns the id for the answer */
  refuseBytes(method: string, refused: RefusedError): string {
    const exchange = this.#exchange({ method, version: 'http/1.1' });
    note(exchange, refused);
    exchange.end();
    return exchange.requestId;
  }

  /** Drops what is kept of a microVM between requests; to be called before it sleeps or ends. */
  forget(microvmId: string): void {
    this.#pool.forget(microvmId);
    this.#activity.forget(microvmId);
  }

  /** Ends the connections that wait for a next request, and the shells. */
  close(): void {
    this.#pool.close();
    this.#shells.close();
  }

  #exchange({ method, version }: Pick<Inbound, 'method' | 'version'>): Exchange {
    const { random, clock, log, observer = UNOBSERVED } = this.#options;
    return new Exchange({ requestId: random.uuid(), method, version, clock, log, observer });
  }

  #meter({ microvmId }: Admitted, exchange: Exchange): Meter {
    const pass = (bytes: number) => {
      this.#activity.mark(microvmId);
      return this.#allowances.pass(microvmId, bytes);
    };
    return {
      inward: (bytes) => {
        exchange.passed(bytes, 'in');
        return pass(bytes);
      },
      outward: (bytes) => {
        exchange.passed(bytes, 'out');
        return pass(bytes);
      },
    };
  }

  async #serveShell(microvmId: string, head: RequestHead, visit: ShellVisit): Promise<void> {
    checkHandshake(head);
    const shell = await this.#held(microvmId, visit, {
      open: (signal) => this.#options.destinations.openShell(microvmId, signal),
      drop: ({ stream }) => void stream.destroy(),
    });
    if (shell !== undefined) this.#shells.join(shell, visit);
  }

  /** Opens a way to the microVM while the request's body is left unread; undefined where the client went away meanwhile. */
  async #held<T>(microvmId: string, { inbound, exchange }: Omit<ShellVisit, 'meter'>, way: Way<T>): Promise<T | undefined> {
    const { clock, destinations } = this.#options;
    const wasAsleep = destinations.isAsleep(microvmId);
    const startedAtMs = clock.nowMs();
    const left = new AbortController();
    let isHeld = true;
    // An abort is dear: not for every request that ends well.
    inbound.onClose(() => isHeld && left.abort());
    try {
      const opened = await way.open(left.signal);
      exchange.woke ||= wasAsleep;
      exchange.isConnected = true;
      if (!inbound.isGone) return opened;
      way.drop(opened);
    } catch (error) {
      if (!left.signal.aborted) throw unreachable(error);
    } finally {
      isHeld = false;
      exchange.heldMs += clock.nowMs() - startedAtMs;
    }
    exchange.failed('the client left while its request was held');
    return undefined;
  }
}

function refuse(inbound: Inbound, exchange: Exchange, refused: RefusedError): void {
  note(exchange, refused);
  sendRefusal(inbound, refused.refusal, exchange.requestId);
}

function note(exchange: Exchange, { message, cause, refusal }: RefusedError): void {
  exchange.failed(message, cause);
  exchange.refused(refusal);
}

/** How a way into a microVM is opened, and given up where nobody wants it any more. */
interface Way<T> {
  open(signal: AbortSignal): Promise<T>;
  drop(opened: T): void;
}

/** Headers go before subprotocols (section 5.2), which count in the handshake of a WebSocket alone. */
function askOf({ authority, fields, upgrade }: RequestHead): Ask {
  const isWebSocket = upgrade?.toLowerCase() === 'websocket';
  const offered = isWebSocket ? ourSubprotocols(fields) : undefined;
  if (offered?.isMarked === false && (offered.token ?? offered.port) !== undefined) {
    throw new RefusedError(REFUSALS.malformed, 'subprotocols without their marker');
  }
  const token = valueOf(fields, 'x-aws-proxy-auth') ?? offered?.token;
  const port = valueOf(fields, 'x-aws-proxy-port') ?? offered?.port;
  return { authority, token, port, isWebSocket };
}

/** What may be spoken to the application (sections 5.2 and 5.4); HTTP/2 has no Upgrade. */
function versionsOf({ version }: Inbound, { upgrade, fields }: RequestHead): readonly HttpVersion[] {
  const isForced = upgrade === undefined && valueOf(fields, 'x-aws-proxy-force-h2')?.toLowerCase() === 'true';
  if (isForced) return ['h2'];
  return version === 'h2' ? ['h2', 'http/1.1'] : ['http/1.1'];
}

/** What was admitted had a host name. */
const addressed = (head: RequestHead) => ({ ...head, authority: head.authority! });

function unreachable(error: unknown): RefusedError {
  const tooMany = isLullError(error, 'throttled') || isLullError(error, 'quota-exceeded');
  const reason = isLullError(error) ? error.message : 'the microVM cannot be reached';
  return new RefusedError(tooMany ? REFUSALS.tooMany : REFUSALS.unreachable, reason, error);
}
