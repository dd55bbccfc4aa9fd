/** Which builds run now and which wait: a few at once, the others in order of arrival, all of them bounded. */
import { LullError } from '../../domain/errors.ts';
import { tooManyBuilds } from '../../domain/refusals.ts';
import type { ImageLimits } from './context.ts';

/** One build. It tells when it has reached the builder, whose events a follower then reads. */
export type BuildTask = (signal: AbortSignal, reachedBuilder: () => void) => Promise<void>;

interface QueuedBuild {
  readonly snapshotId: string;
  readonly task: BuildTask;
  readonly reached: PromiseWithResolvers<boolean>;
  readonly abort: AbortController;
}

/** Tasks settle their own errors: one that rejects all the same goes to `onDefect`. */
export class BuildQueue {
  readonly #limits: ImageLimits;
  readonly #onDefect: (error: unknown) => void;
  readonly #stop = new AbortController();
  readonly #waiting: QueuedBuild[] = [];
  readonly #running = new Map<QueuedBuild, Promise<void>>();
  #reserved = 0;

  constructor(limits: ImageLimits, onDefect: (error: unknown) => void) {
    this.#limits = limits;
    this.#onDefect = onDefect;
  }

  /**
   * Keeps a place for a build that is about to be written to the store; disposing gives it back, queued or not.
   * @throws LullError quota-exceeded where no place is left, internal when the server stops
   */
  reserve(): Disposable {
    if (this.#stop.signal.aborted) throw new LullError('internal', 'The server is stopping.');
    const { buildsAtOnce, buildsWaiting } = this.#limits;
    const maximum = buildsAtOnce + buildsWaiting;
    if (this.#reserved + this.#waiting.length + this.#running.size >= maximum) throw tooManyBuilds(maximum);
    this.#reserved += 1;
    return {
      [Symbol.dispose]: () => {
        this.#reserved -= 1;
      },
    };
  }

  /** Queues a build, limit or not: it has been accepted. Once stopped, it is left to the next start. */
  add(snapshotId: string, task: BuildTask): void {
    if (this.#stop.signal.aborted) return;
    this.#waiting.push({ snapshotId, task, reached: Promise.withResolvers(), abort: new AbortController() });
    this.#startNext();
  }

  /** True while the build waits or runs. */
  has(snapshotId: string): boolean {
    return [...this.#waiting, ...this.#running.keys()].some((build) => build.snapshotId === snapshotId);
  }

  /** Ends a build that is no longer wanted: one that waits never begins, one that runs is aborted. Resolves when it has ended. */
  async cancel(snapshotId: string): Promise<void> {
    const place = this.#waiting.findIndex((build) => build.snapshotId === snapshotId);
    if (place !== -1) return this.#waiting.splice(place, 1)[0]?.reached.resolve(false);
    for (const [build, ended] of this.#running) {
      if (build.snapshotId !== snapshotId) continue;
      build.abort.abort();
      await ended;
    }
  }

  /** Resolves with true when the build has reached the builder, with false when it ended before; at once where it is not here. */
  async reachedBuilder(snapshotId: string, signal: AbortSignal): Promise<boolean> {
    const build = [...this.#waiting, ...this.#running.keys()].find((candidate) => candidate.snapshotId === snapshotId);
    if (build === undefined) return true;
    const aborted = Promise.withResolvers<boolean>();
    const onAbort = () => aborted.resolve(false);
    signal.addEventListener('abort', onAbort);
    try {
      return signal.aborted ? false : await Promise.race([build.reached.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Resolves when no build runs or waits. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  /** Aborts what runs and waits for its end; what waits never starts (its row says PENDING). */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const { reached } of this.#waiting.splice(0)) reached.resolve(false);
    await this.idle();
  }

  #startNext(): void {
    if (this.#stop.signal.aborted || this.#running.size >= this.#limits.buildsAtOnce) return;
    const build = this.#waiting.shift();
    if (build === undefined) return;
    this.#running.set(build, this.#run(build));
  }

  async #run(build: QueuedBuild): Promise<void> {
    try {
      await build.task(AbortSignal.any([this.#stop.signal, build.abort.signal]), () => build.reached.resolve(true));
    } catch (error) {
      this.#onDefect(error);
    } finally {
      build.reached.resolve(false);
      this.#running.delete(build);
      this.#startNext();
    }
  }
}
