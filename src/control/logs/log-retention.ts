/** How long logs are kept, and how many: streams that have ended go when they are too old, or the oldest when all are too large. */
import type { LogStream } from '../../domain/log-stream.ts';
import type { Clock } from '../../domain/ports.ts';
import type { Log } from '../../lib/log.ts';
import type { LogCatalogue } from './log-catalogue.ts';

export interface RetentionParts {
  readonly catalogue: LogCatalogue;
  readonly clock: Clock;
  readonly log: Log;
  readonly daysKept: number;
  readonly maxBytes: number;
}

/** Age is counted in days; this is soon enough, also for what a burst of output adds. */
const SWEEP_EVERY_MS = 10 * 60_000;
const REMOVED_AT_ONCE = 50;

/** Sweeps from {@link start} on until it is disposed. */
export class LogRetention implements AsyncDisposable {
  readonly #parts: RetentionParts;
  #timer: Disposable | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  #isDisposed = false;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#isDisposed) return;
    this.#sweeping = this.sweep()
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'logs could not be swept'))
      .then(() => {
        if (!this.#isDisposed) this.#timer = this.#parts.clock.at(this.#parts.clock.nowMs() + SWEEP_EVERY_MS, () => this.start());
      });
  }

  /** One sweep. A stream that is written to stays, and is bounded by itself. */
  async sweep(): Promise<void> {
    const { catalogue } = this.#parts;
    for (let due = await this.due(); due.length > 0 && !this.#isDisposed; due = await this.due()) {
      for (const stream of due) await catalogue.remove(stream);
    }
  }

  /** What is to go, the oldest first; where that is much, the first of it. */
  async due(): Promise<readonly LogStream[]> {
    const { catalogue, clock, daysKept, maxBytes } = this.#parts;
    const { streams } = catalogue;
    await catalogue.refresh({});
    const expired = await streams.expired(clock.nowMs(), daysKept);
    if (expired.length > 0) return expired;
    let excess = (await streams.totalBytes()) - maxBytes;
    const oldest = excess > 0 ? await streams.oldestEnded(REMOVED_AT_ONCE) : [];
    return oldest.filter(({ storedBytes }) => {
      const goes = excess > 0;
      excess -= storedBytes;
      return goes;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#sweeping;
  }
}
