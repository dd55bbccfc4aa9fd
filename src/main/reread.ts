/** Small files of the operator's that are renewed while the server runs. */
import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';

export interface RereadSubject<T> {
  /** Whose it is, for the log: `the API`. */
  readonly who: string;
  /** Reads it as it is now, and tries it. */
  readonly read: () => Promise<T>;
  readonly everyMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** How one kind of file is told apart and told of. */
export interface RereadKind<T> {
  readonly isSame: (one: T, other: T) => boolean;
  /** What the log says with a new one, beside the message. */
  readonly about: (value: T) => object;
  readonly renewed: string;
  readonly refused: string;
}

/**
 * What one or two files hold, looked at again from time to time. They are read, not watched: an event is lost where a link above
 * them is swapped (certbot, Kubernetes), and small files once a minute cost nothing. What cannot be used leaves the one before in
 * force, and is told once.
 */
export class Reread<T> implements Disposable {
  readonly #subject: RereadSubject<T>;
  readonly #kind: RereadKind<T>;
  readonly #listeners = new Set<(value: T) => void>();
  #current: T;
  #complaint: string | undefined;
  #timer: Disposable | undefined;
  #last: Promise<void> = Promise.resolve();
  /** The look that has not begun: it will see the files as they are then, so it is good for whoever asks meanwhile. */
  #next: Promise<void> | undefined;

  protected constructor(subject: RereadSubject<T>, kind: RereadKind<T>, current: T) {
    this.#subject = subject;
    this.#kind = kind;
    this.#current = current;
    this.#schedule();
  }

  get current(): T {
    return this.#current;
  }

  /** Calls back with each that comes into force from now on. */
  onChange(listener: (value: T) => void): void {
    this.#listeners.add(listener);
  }

  /** Looks now. Never rejects. */
  check(): Promise<void> {
    this.#next ??= this.#last.then(() => {
      this.#next = undefined;
      return this.#look();
    });
    this.#last = this.#next;
    return this.#last;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#listeners.clear();
  }

  #schedule(): void {
    const { clock, everyMs } = this.#subject;
    this.#timer = clock.at(clock.nowMs() + everyMs, () => {
      this.#schedule();
      void this.check();
    });
  }

  async #look(): Promise<void> {
    const { who, read, log } = this.#subject;
    const { isSame, about, renewed, refused } = this.#kind;
    try {
      const found = await read();
      this.#complaint = undefined;
      if (isSame(found, this.#current)) return;
      this.#current = found;
      for (const listener of this.#listeners) listener(found);
      log.info({ who, ...about(found) }, renewed);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#complaint) log.warn({ who, reason }, refused);
      this.#complaint = reason;
    }
  }
}
