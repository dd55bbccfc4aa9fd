/** Requests that wait for a microVM to run. Each is an entry here and nothing else, and leaves nothing behind when it is given up. */
import { LullError } from '../../domain/errors.ts';
import type { Clock } from '../../domain/ports.ts';

/** What may wait. AWS's figures are not known (section 3.4). */
export interface HoldLimits {
  readonly perMicrovm: number;
  readonly inAll: number;
  readonly longestMs: number;
}

export const HOLD_LIMITS: HoldLimits = {
  /** As many streams as the channel to a microVM carries at once (docs/agent-protocol.md). */
  perMicrovm: 1024,
  inAll: 4096,
  /** Longer than the longest hook (section 4), and than clients wait. */
  longestMs: 5 * 60_000,
};

export class Holds {
  readonly #clock: Clock;
  readonly #limits: HoldLimits;
  readonly #waiting = new Map<string, Set<PromiseWithResolvers<void>>>();
  #count = 0;

  constructor(clock: Clock, limits: HoldLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** True while somebody waits for this microVM. */
  has(microvmId: string): boolean {
    return this.#waiting.has(microvmId);
  }

  /**
   * Waits for {@link release}.
   * @throws LullError throttled where too many wait; internal after the longest wait; the reason of the release or of the signal
   */
  async wait(microvmId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { perMicrovm, inAll, longestMs } = this.#limits;
    const waiting = this.#waiting.get(microvmId) ?? new Set();
    if (waiting.size >= perMicrovm) throw new LullError('throttled', `${perMicrovm} requests wait for the MicroVM ${microvmId} already.`);
    if (this.#count >= inAll) throw new LullError('throttled', `${inAll} requests wait for MicroVMs already.`);
    const turn = Promise.withResolvers<void>();
    const give = () => turn.reject(signal.reason);
    const late = () => turn.reject(new LullError('internal', `The MicroVM ${microvmId} did not run within ${longestMs / 1000} seconds.`));
    signal.addEventListener('abort', give, { once: true });
    using _limit = this.#clock.at(this.#clock.nowMs() + longestMs, late);
    this.#waiting.set(microvmId, waiting.add(turn));
    this.#count += 1;
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener('abort', give);
      this.#count -= 1;
      waiting.delete(turn);
      if (waiting.size === 0 && this.#waiting.get(microvmId) === waiting) this.#waiting.delete(microvmId);
    }
  }

  /** Lets all who wait for a microVM go on: to it, or where a reason is given to their end with that. */
  release(microvmId: string, failure?: unknown): void {
    const waiting = this.#waiting.get(microvmId);
    this.#waiting.delete(microvmId);
    for (const turn of waiting ?? []) {
      if (failure === undefined) turn.resolve();
      else turn.reject(failure);
    }
  }
}
