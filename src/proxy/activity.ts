import type { Clock } from '../domain/ports.ts';
import type { Destinations } from './destinations.ts';

/** Idle limits are a minute and more (section 3.3); finer than this would only cost. */
const THROTTLE_MS = 250;
/** Forgetting who was told only costs one call too many. */
const MAX_REMEMBERED = 4096;

/** Tells the destinations that bytes cross an endpoint, not more often than makes sense. */
export class Activity {
  readonly #destinations: Destinations;
  readonly #clock: Clock;
  readonly #toldAtMs = new Map<string, number>();

  constructor(destinations: Destinations, clock: Clock) {
    this.#destinations = destinations;
    this.#clock = clock;
  }

  /** Bytes crossed the endpoint of this microVM, in either direction. */
  mark(microvmId: string): void {
    const nowMs = this.#clock.nowMs();
    const sinceMs = nowMs - (this.#toldAtMs.get(microvmId) ?? -Infinity);
    // A clock that was set back would otherwise silence it.
    if (sinceMs >= 0 && sinceMs < THROTTLE_MS) return;
    if (this.#toldAtMs.size >= MAX_REMEMBERED) this.#toldAtMs.clear();
    this.#toldAtMs.set(microvmId, nowMs);
    this.#destinations.touched(microvmId);
  }

  forget(microvmId: string): void {
    this.#toldAtMs.delete(microvmId);
  }
}
