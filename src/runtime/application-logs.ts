/** The logs of all microVMs of this host: one writer for each, which its readers share. What nobody writes or reads is not kept in memory. */
import type { LogExtent, LogLine } from '../domain/log-stream.ts';
import type { Clock, LogFiles, LogRange } from '../domain/ports.ts';
import { ApplicationLog, type ReadOptions } from './application-log.ts';
import type { DataLayout } from './data-layout.ts';

interface Held {
  readonly log: ApplicationLog;
  isWritten: boolean;
  readers: number;
}

export class ApplicationLogs implements LogFiles {
  readonly #layout: DataLayout;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #held = new Map<string, Held>();

  constructor(layout: DataLayout, clock: Pick<Clock, 'nowMs'>) {
    this.#layout = layout;
    this.#clock = clock;
  }

  /** The log of a microVM that may still print. */
  hold(microvmId: string): ApplicationLog {
    const held = this.#hold(microvmId);
    held.isWritten = true;
    return held.log;
  }

  /** Nothing more is printed; what was stays. */
  letGo(microvmId: string): void {
    const held = this.#held.get(microvmId);
    if (held === undefined) return;
    held.isWritten = false;
    this.#forgetUnused(microvmId, held);
  }

  /** Logs that somebody writes or reads now. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** As {@link ApplicationLog.read}. */
  async *read(microvmId: string, options: ReadOptions): AsyncGenerator<Buffer> {
    // Shared with a writer that may only come: what sleeps may be woken.
    const held = this.#hold(microvmId);
    held.readers += 1;
    try {
      yield* held.log.read(options);
    } finally {
      held.readers -= 1;
      this.#forgetUnused(microvmId, held);
    }
  }

  lines(microvmId: string, range: LogRange): AsyncIterable<readonly LogLine[]> {
    return this.#of(microvmId).lines(range);
  }

  extent(microvmId: string): Promise<LogExtent | undefined> {
    return this.#of(microvmId).extent();
  }

  remove(microvmId: string): Promise<void> {
    return this.#of(microvmId).remove();
  }

  #hold(microvmId: string): Held {
    const held = this.#held.get(microvmId) ?? { log: this.#of(microvmId), isWritten: false, readers: 0 };
    this.#held.set(microvmId, held);
    return held;
  }

  #forgetUnused(microvmId: string, { isWritten, readers }: Held): void {
    if (!isWritten && readers === 0) this.#held.delete(microvmId);
  }

  #of(microvmId: string): ApplicationLog {
    return this.#held.get(microvmId)?.log ?? new ApplicationLog(this.#layout.microvm(microvmId).log, { clock: this.#clock });
  }
}
