/** The system's clock, which a test moves on. */
import type { Clock } from '../../src/domain/ports.ts';
import { systemClock } from '../../src/main/system-ports.ts';

export class MovedClock implements Clock {
  #movedMs = 0;
  readonly #waiting = new Set<() => void>();

  nowMs(): number {
    return systemClock.nowMs() + this.#movedMs;
  }

  at(atMs: number, callback: () => void): Disposable {
    const look = () => {
      if (this.nowMs() < atMs || !this.#waiting.delete(look)) return;
      timer[Symbol.dispose]();
      callback();
    };
    this.#waiting.add(look);
    const timer = systemClock.at(atMs - this.#movedMs, look);
    return {
      [Symbol.dispose]: () => {
        this.#waiting.delete(look);
        timer[Symbol.dispose]();
      },
    };
  }

  /** Calls back what is due by then. */
  moveOn(byMs: number): void {
    this.#movedMs += byMs;
    for (const look of this.#waiting) look();
  }
}
