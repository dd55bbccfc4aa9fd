/** Calls per second of an operation: contract reference, section 7.2. Off where nobody sets a rate. */
import type { Clock } from '../domain/ports.ts';
import type { Rates } from '../domain/quotas.ts';
import { rateExceeded } from '../domain/refusals.ts';

const SECOND_MS = 1000;

/** What one operation may still do. */
interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** One bucket of tokens for each limited operation; it holds a second's worth (section 7.2: burst equals the sustained rate). */
export class RateLimits {
  readonly #rates: Rates;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rates: Rates, clock: Pick<Clock, 'nowMs'>) {
    this.#rates = rates;
    this.#clock = clock;
  }

  /** Counts one call. @throws LullError throttled where the rate is exceeded; such a call is not counted */
  take(operation: string): void {
    const rate = this.#rates.get(operation);
    if (rate === undefined) return;
    const { perSecond, quotaCode } = rate;
    const nowMs = this.#clock.nowMs();
    const before = this.#buckets.get(operation) ?? { tokens: perSecond, filledAtMs: nowMs };
    // A wall clock that was set back fills nothing.
    const gained = (Math.max(0, nowMs - before.filledAtMs) / SECOND_MS) * perSecond;
    const bucket = { tokens: Math.min(perSecond, before.tokens + gained), filledAtMs: nowMs };
    this.#buckets.set(operation, bucket);
    if (bucket.tokens < 1) throw rateExceeded(quotaCode);
    bucket.tokens -= 1;
  }
}
