/** The logs of all microVMs of this host: one writer for each, which its readers share. */
import type { LogExtent, LogLine } from '../domain/log-stream.ts';
import type { Clock, LogFiles, LogRange } from '../domain/ports.ts';
import { ApplicationLog } from './application-log.ts';
import type { DataLayout } from './data-layout.ts';

export class ApplicationLogs implements LogFiles {
  readonly #layout: DataLayout;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #held = new Map<string, ApplicationLog>();

  constructor(layout: DataLayout, clock: Pick<Clock, 'nowMs'>) {
    this.#layout = layout;
    this.#clock = clock;
  }

  /** The log of a microVM that may still print. */
  hold(microvmId: string): ApplicationLog {
    const log = this.#of(microvmId);
    this.#held.set(microvmId, log);
    return log;
  }

  /** Nothing more is printed; what was stays. */
  letGo(microvmId: string): void {
    this.#held.delete(microvmId);
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

  #of(microvmId: string): ApplicationLog {
    return this.#held.get(microvmId) ?? new ApplicationLog(this.#layout.microvm(microvmId).log, { clock: this.#clock });
  }
}
