import type { Clock } from '../domain/ports.ts';
import type { Admitted } from './admission.ts';
import type { Log } from '../lib/log.ts';

/** One request or stream and what is told of it: exactly one line in the log, when it is over. */
export class Exchange {
  readonly requestId: string;
  readonly method: string;
  target: Admitted | undefined;
  status: number | undefined;
  /** Bytes of bodies, without headers. */
  bytesIn = 0;
  bytesOut = 0;
  /** How long the request was held until the microVM and the application took the connection. */
  heldMs = 0;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #startedAtMs: number;
  #firstByteAtMs: number | undefined;
  #failure: { reason: string; err?: unknown } | undefined;
  #ended = false;

  constructor(start: { requestId: string; method: string; clock: Clock; log: Log }) {
    this.requestId = start.requestId;
    this.method = start.method;
    this.#clock = start.clock;
    this.#log = start.log;
    this.#startedAtMs = start.clock.nowMs();
  }

  /** The head of the answer is there, the application's or our own. */
  answered(status: number): void {
    this.status ??= status;
    this.#firstByteAtMs ??= this.#clock.nowMs();
  }

  /** Why it did not end well; the first reason is the true one. */
  failed(reason: string, error?: unknown): void {
    this.#failure ??= error === undefined ? { reason } : { reason, err: error };
  }

  /** Writes the line. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.status === undefined) this.failed('the client left');
    const { requestId, method, target, status, bytesIn, bytesOut, heldMs } = this;
    const msToFirstByte = this.#firstByteAtMs === undefined ? undefined : this.#firstByteAtMs - this.#startedAtMs;
    const line = {
      ...{ requestId, microvmId: target?.microvmId, port: target?.port, method, status },
      ...{ bytesIn, bytesOut, msToFirstByte, heldMs, ...this.#failure },
    };
    this.#log.info(line, 'request');
  }
}
