/** Chance that can be had again: the same seed gives the same choices. For soaks and property tests, never for secrets. */

const UINT32 = 2 ** 32;

/** Mulberry32: https://github.com/bryc/code/blob/master/jshash/PRNGs.md#mulberry32 */
export class SeededRandom {
  #state: number;

  /** @param seed whole number below 2^32 */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 up to, and without, `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / UINT32) * end);
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
