import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import type { Admitted } from './admission.ts';
import { nameOf, type Refusal, type RefusalName } from './refusal.ts';
import type { HttpVersion } from './tls-detection.ts';

/** The longest that is registered has 17 (IANA, HTTP methods); one of HTTP/2 is whatever a client says. */
const MAX_METHOD_LENGTH = 32;

/** What the bytes of an upgraded connection are; the client's own word for others may be anything. */
export type UpgradeKind = 'websocket' | 'other';

/** What is told of a request or stream: nothing that a client may have put a secret into (path, query, headers). */
export interface ExchangeRecord {
  readonly requestId: string;
  /** Of those that were admitted. */
  readonly microvmId: string | undefined;
  readonly port: number | undefined;
  readonly version: HttpVersion;
  readonly method: string;
  /** Of the answer; undefined where the client left before there was one. */
  readonly status: number | undefined;
  /** Of bodies and upgraded connections, without headers: from the client, and to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** From the head of the request to the head of the answer. */
  readonly msToFirstByte: number | undefined;
  readonly durationMs: number;
  /** How long the request was held until the microVM and the application took the connection. */
  readonly heldMs: number;
  /** It found the microVM asleep, and got through once that was awake. */
  readonly woke: boolean;
}

/** What became of one, beside its answer. */
export interface ExchangeOutcome {
  readonly refusal: RefusalName | undefined;
  readonly upgrade: UpgradeKind | undefined;
  /** It got through to the application, or to a shell. */
  readonly isConnected: boolean;
}

/** Told of every exchange as it goes. Calls are many and must cost little. */
export interface ExchangeObserver {
  began(version: HttpVersion): void;
  passed(bytes: number, way: { readonly direction: 'in' | 'out'; readonly microvmId: string }): void;
  /** It goes on as a connection of another protocol. */
  upgraded(kind: UpgradeKind): void;
  ended(record: ExchangeRecord, outcome: ExchangeOutcome): void;
}

/** Looks away. */
export const UNOBSERVED: ExchangeObserver = { began: () => undefined, passed: () => undefined, upgraded: () => undefined, ended: () => undefined };

/** An error as the log may have it: Node's parsers add the bytes that they stumbled over. */
function described(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name: type, message } = error;
  return { type, message, code: 'code' in error ? error.code : undefined, cause: error.cause === undefined ? undefined : described(error.cause) };
}

interface ExchangeStart {
  readonly requestId: string;
  readonly method: string;
  readonly version: HttpVersion;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: ExchangeObserver;
}

/** One request or stream and what is told of it: exactly one line in the log, when it is over. */
export class Exchange {
  readonly requestId: string;
  target: Admitted | undefined;
  bytesIn = 0;
  bytesOut = 0;
  heldMs = 0;
  woke = false;
  /** It has a connection to the application, or a shell. */
  isConnected = false;
  readonly #start: ExchangeStart;
  readonly #startedAtMs: number;
  #status: number | undefined;
  #firstByteAtMs: number | undefined;
  #refusal: RefusalName | undefined;
  #upgrade: UpgradeKind | undefined;
  #failure: { reason: string; err?: object } | undefined;
  #ended = false;

  constructor(start: ExchangeStart) {
    this.requestId = start.requestId;
    this.#start = start;
    this.#startedAtMs = start.clock.nowMs();
    start.observer.began(start.version);
  }

  /** The head of the application's answer is there. */
  answered(status: number): void {
    this.#status ??= status;
    this.#firstByteAtMs ??= this.#start.clock.nowMs();
  }

  /** The answer is our own. */
  refused(refusal: Refusal): void {
    this.#refusal ??= nameOf(refusal);
    this.answered(refusal.status);
  }

  /** The application agreed to change to the first of these protocols (RFC 9110, 7.8). */
  switched(protocols: string | undefined): void {
    this.answered(101);
    this.#upgrade = protocols?.toLowerCase() === 'websocket' ? 'websocket' : 'other';
    this.#start.observer.upgraded(this.#upgrade);
  }

  /** Bytes of an admitted request crossed, from the client or to it. */
  passed(bytes: number, direction: 'in' | 'out'): void {
    if (direction === 'in') this.bytesIn += bytes;
    else this.bytesOut += bytes;
    this.#start.observer.passed(bytes, { direction, microvmId: this.target!.microvmId });
  }

  /** Why it did not end well; the first reason is the true one. */
  failed(reason: string, error?: unknown): void {
    this.#failure ??= error === undefined ? { reason } : { reason, err: described(error) };
  }

  /** Writes the line. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#status === undefined) this.failed('the client left');
    const record = this.#record();
    const { isConnected } = this;
    this.#start.observer.ended(record, { refusal: this.#refusal, upgrade: this.#upgrade, isConnected });
    this.#start.log.info(this.#failure === undefined ? record : { ...record, ...this.#failure }, 'request');
  }

  #record(): ExchangeRecord {
    const { requestId, target, bytesIn, bytesOut, heldMs, woke } = this;
    const { version, clock } = this.#start;
    const method = this.#start.method.slice(0, MAX_METHOD_LENGTH);
    const since = (ms: number) => Math.max(0, ms - this.#startedAtMs);
    const msToFirstByte = this.#firstByteAtMs === undefined ? undefined : since(this.#firstByteAtMs);
    return {
      requestId,
      microvmId: target?.microvmId,
      port: target?.port,
      version,
      method,
      status: this.#status,
      bytesIn,
      bytesOut,
      msToFirstByte,
      durationMs: since(clock.nowMs()),
      heldMs,
      woke,
    };
  }
}
