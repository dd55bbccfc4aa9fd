/**
 * Keeps the store and this host together: at the start and every minute what is committed is compared with files, processes and
 * sockets. Steps that could not be brought to an end are finished or undone, and what nobody owns goes. What it costs goes with
 * the number of things that live, not of rows that ever were.
 */
import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';

/** One kind of things: looks them through. @returns what was done, by the id of the thing */
export type Reconciliation = () => Promise<ReadonlyMap<string, readonly string[]>>;

export interface ReconcilerParts {
  readonly reconciliations: readonly Reconciliation[];
  readonly clock: Clock;
  readonly log: Log;
}

/** What the reconciler has done since the server's start. */
export interface ReconcilerFigures {
  readonly runs: number;
  /** Things that were not as they should be. */
  readonly mended: number;
  readonly lastRunAtMs: number | null;
}

const EVERY_MS = 60_000;

/** Runs from {@link start} on until it is disposed. */
export class Reconciler implements AsyncDisposable {
  readonly #parts: ReconcilerParts;
  #figures: ReconcilerFigures = { runs: 0, mended: 0, lastRunAtMs: null };
  #timer: Disposable | undefined;
  #running: Promise<void> = Promise.resolve();
  #isDisposed = false;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
  }

  get figures(): ReconcilerFigures {
    return this.#figures;
  }

  start(): void {
    if (this.#isDisposed) return;
    const { clock } = this.#parts;
    this.#running = this.run().then(() => {
      if (!this.#isDisposed) this.#timer = clock.at(clock.nowMs() + EVERY_MS, () => this.start());
    });
  }

  /** Resolves when nothing is being looked through. */
  idle(): Promise<void> {
    return this.#running;
  }

  /** Looks everything through once. Never throws: what fails is tried again a minute later. */
  async run(): Promise<void> {
    const { reconciliations, clock, log } = this.#parts;
    const done = new Map<string, readonly string[]>();
    for (const reconcile of reconciliations) {
      try {
        for (const [id, what] of await reconcile()) done.set(id, what);
      } catch (error) {
        log.error({ err: error }, 'the store and this host could not be compared');
      }
    }
    const { runs, mended } = this.#figures;
    this.#figures = { runs: runs + 1, mended: mended + done.size, lastRunAtMs: clock.nowMs() };
    if (done.size > 0) log.warn({ mended: Object.fromEntries(done) }, 'brought into order what was not');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#running;
  }
}
