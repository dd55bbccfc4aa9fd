/** What time alone does to microVMs: sleep after idleness, the end of a sleep, the end of a life (sections 3.2, 3.3). */
import { nextDeadline, type Deadline, type Microvm } from '../../domain/microvm.ts';
import type { Clock } from '../../domain/ports.ts';
import type { Log } from '../../lib/log.ts';

interface Watched {
  readonly microvm: Microvm;
  readonly timer: Disposable;
}

/** How soon an end that could not be carried out is tried again. */
const RETRY_MS = 5000;

/** One timer for each microVM that time can do something to. */
export class Deadlines implements Disposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #act: (microvmId: string, deadline: Deadline) => Promise<void>;
  readonly #watched = new Map<string, Watched>();
  readonly #lastActivityMs = new Map<string, number>();
  #isDisposed = false;

  /** @param act carries a deadline out */
  constructor(parts: { clock: Clock; log: Log; act: (microvmId: string, deadline: Deadline) => Promise<void> }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#act = parts.act;
  }

  /** Bytes have crossed the microVM's endpoint. */
  touched(microvmId: string): void {
    if (this.#watched.has(microvmId)) this.#lastActivityMs.set(microvmId, this.#clock.nowMs());
  }

  /** True where it is time for it to sleep: bytes may have crossed since that was found. */
  isIdle(microvmId: string): boolean {
    const watched = this.#watched.get(microvmId);
    const deadline = watched === undefined ? null : this.#deadline(watched.microvm);
    return deadline?.action === 'suspend' && deadline.atMs <= this.#clock.nowMs();
  }

  /** Takes note of a microVM's new state; one that has just begun to run is not idle yet. */
  watch(microvm: Microvm): void {
    const { microvmId } = microvm;
    this.#watched.get(microvmId)?.timer[Symbol.dispose]();
    if (microvm.state === 'RUNNING') this.#lastActivityMs.set(microvmId, this.#clock.nowMs());
    const deadline = this.#deadline(microvm);
    if (deadline === null) {
      this.#watched.delete(microvmId);
      this.#lastActivityMs.delete(microvmId);
    } else {
      this.#arm(microvm, deadline.atMs);
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const { timer } of this.#watched.values()) timer[Symbol.dispose]();
    this.#watched.clear();
  }

  #deadline(microvm: Microvm): Deadline | null {
    const nowMs = this.#clock.nowMs();
    return nextDeadline(microvm, { lastActivityMs: this.#lastActivityMs.get(microvm.microvmId) ?? nowMs, nowMs });
  }

  #arm(microvm: Microvm, atMs: number): void {
    if (this.#isDisposed) return;
    const timer = this.#clock.at(atMs, () => this.#fire(microvm));
    this.#watched.set(microvm.microvmId, { microvm, timer });
  }

  /** Traffic only moves a deadline back, so the timer is left alone until it fires. */
  #fire(microvm: Microvm): void {
    const deadline = this.#deadline(microvm);
    if (deadline === null) return;
    if (deadline.atMs > this.#clock.nowMs()) return this.#arm(microvm, deadline.atMs);
    // Tried again only once this try has ended: a hook that takes long must not be called again meanwhile.
    this.#act(microvm.microvmId, deadline).catch((error: unknown) => {
      this.#log.warn({ microvmId: microvm.microvmId, action: deadline.action, err: error }, 'a deadline could not be carried out yet');
      const isStillDue = this.#watched.get(microvm.microvmId)?.microvm === microvm;
      if (!isStillDue) return;
      if (deadline.action === 'terminate') return this.#arm(microvm, this.#clock.nowMs() + RETRY_MS);
      // One that may stay awake (its hook refused) is idle anew from now on: its end must get its turn.
      this.watch(microvm);
    });
  }
}
