/** MicroVMs that run and stand still because the disk below theirs is full or fails: tried again until they go on. */
import type { Clock, MicrovmRuntime } from '../../domain/ports.ts';
import type { Log } from '../../lib/log.ts';

export interface StoppedByDiskParts {
  readonly runtime: Pick<MicrovmRuntime, 'diskFault' | 'goOn'>;
  readonly clock: Clock;
  readonly log: Log;
  /** One goes on, but its agent does not answer any more. */
  readonly onLost: (microvmId: string) => void;
}

/** The hypervisor asks its disk once more each time, which costs next to nothing: whether there is room again only the disk knows. */
const TRY_EVERY_MS = 5000;

export class StoppedByDisk implements AsyncDisposable {
  readonly #parts: StoppedByDiskParts;
  readonly #ids = new Set<string>();
  #timer: Disposable | undefined;
  #trying: Promise<void> = Promise.resolve();

  constructor(parts: StoppedByDiskParts) {
    this.#parts = parts;
  }

  /** How many stand still. */
  get count(): number {
    return this.#ids.size;
  }

  /** Takes note of one that has been stopped. */
  note(microvmId: string): void {
    if (this.#ids.has(microvmId)) return;
    const { runtime, log } = this.#parts;
    log.error({ microvmId, fault: runtime.diskFault(microvmId) }, 'a microVM stands still: its disk failed');
    this.#ids.add(microvmId);
    this.#arm();
  }

  /** It has ended. */
  forget(microvmId: string): void {
    this.#ids.delete(microvmId);
  }

  /** Resolves when none is being tried. */
  idle(): Promise<void> {
    return this.#trying;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ids.clear();
    this.#timer?.[Symbol.dispose]();
    await this.#trying;
  }

  #arm(): void {
    const { clock } = this.#parts;
    this.#timer ??= clock.at(clock.nowMs() + TRY_EVERY_MS, () => {
      this.#trying = Promise.all([...this.#ids].map((microvmId) => this.#try(microvmId))).then(() => {
        this.#timer = undefined;
        if (this.#ids.size > 0) this.#arm();
      });
    });
  }

  /** Not in the microVM's turn: what has that may be waiting for the guest, a hook for one. */
  async #try(microvmId: string): Promise<void> {
    const { runtime, log, onLost } = this.#parts;
    const isStopped = () => runtime.diskFault(microvmId) !== undefined;
    try {
      if (isStopped()) await runtime.goOn(microvmId);
      if (isStopped()) return;
      log.info({ microvmId }, 'a microVM goes on: its disk is there again');
    } catch (error) {
      if (isStopped()) return;
      log.error({ microvmId, err: error }, 'a microVM that stood still does not go on');
      onLost(microvmId);
    }
    this.#ids.delete(microvmId);
  }
}
