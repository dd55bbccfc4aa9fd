/** MicroVMs that run and stand still because the disk below theirs is full or fails: tried again until they go on. */
import type { Clock, MicrovmRuntime } from '../../domain/ports.ts';
import type { Log } from '../../lib/log.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface StoppedByDiskParts {
  readonly lifecycle: Pick<Lifecycle, 'inTurn'>;
  readonly runtime: Pick<MicrovmRuntime, 'diskFault' | 'goOn'>;
  readonly clock: Clock;
  readonly log: Log;
  /** One goes on, but its agent does not answer any more. */
  readonly onLost: (microvmId: string) => void;
}

/** The hypervisor asks its disk once more each time, which costs next to nothing: whether there is room again only the disk knows. */
const TRY_EVERY_MS = 5000;

export class StoppedByDisk implements Disposable {
  readonly #parts: StoppedByDiskParts;
  readonly #ids = new Set<string>();
  #timer: Disposable | undefined;

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

  [Symbol.dispose](): void {
    this.#ids.clear();
    this.#timer?.[Symbol.dispose]();
  }

  #arm(): void {
    const { clock } = this.#parts;
    this.#timer ??= clock.at(clock.nowMs() + TRY_EVERY_MS, () => {
      void Promise.all([...this.#ids].map((microvmId) => this.#try(microvmId))).then(() => {
        this.#timer = undefined;
        if (this.#ids.size > 0) this.#arm();
      });
    });
  }

  async #try(microvmId: string): Promise<void> {
    const { lifecycle, runtime, log, onLost } = this.#parts;
    await lifecycle.inTurn(microvmId, async () => {
      // It may have ended meanwhile, or gone on with the undo of a suspend.
      if (runtime.diskFault(microvmId) === undefined) return void this.#ids.delete(microvmId);
      try {
        await runtime.goOn(microvmId);
        log.info({ microvmId }, 'a microVM goes on: its disk is there again');
      } catch (error) {
        if (runtime.diskFault(microvmId) !== undefined) return;
        log.error({ microvmId, err: error }, 'a microVM that stood still does not go on');
        onLost(microvmId);
      }
      this.#ids.delete(microvmId);
    });
  }
}
