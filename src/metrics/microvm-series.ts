import type { ReadFigures, Sample } from './read-figures.ts';

interface Figures {
  in: number;
  out: number;
  readonly answers: Map<string, number>;
}

/** Whose last bytes may still come; the ids of others come no more. */
const MAX_ENDED = 10_000;

/**
 * Series of single microVMs, for an operator who wants them: each costs its scraper memory for as long as that keeps data,
 * so there are none by default, and never more than a maximum. The first ones with traffic have them, until they end.
 */
export class MicrovmSeries {
  readonly #maximum: number;
  readonly #figures = new Map<string, Figures>();
  readonly #ended = new Set<string>();

  /** @param maximum of microVMs; 0 for none */
  constructor(figures: ReadFigures, maximum: number) {
    this.#maximum = maximum;
    if (maximum === 0) return;
    const each = (read: (figures: Figures) => Iterable<Sample>) => () =>
      [...this.#figures].flatMap(([id, one]) => [...read(one)].map(([labels, figure]): Sample => [{ microvm_id: id, ...labels }, figure]));
    const labelNames = ['microvm_id'];
    figures.counter({
      ...{ name: 'lull_microvm_endpoint_requests_total', help: 'Requests to one microVM that are over, by class of status' },
      ...{ labelNames: [...labelNames, 'status'], read: each(({ answers }) => [...answers].map(([status, count]): Sample => [{ status }, count])) },
    });
    figures.counter({ name: 'lull_microvm_endpoint_received_bytes_total', help: 'Bytes from clients to one microVM', labelNames, read: each((one) => [[{}, one.in]]) });
    figures.counter({ name: 'lull_microvm_endpoint_sent_bytes_total', help: 'Bytes from one microVM to clients', labelNames, read: each((one) => [[{}, one.out]]) });
  }

  passed(bytes: number, { direction, microvmId }: { readonly direction: 'in' | 'out'; readonly microvmId: string }): void {
    const figures = this.#of(microvmId);
    if (figures !== undefined) figures[direction] += bytes;
  }

  answered(microvmId: string, status: string): void {
    // Bytes give a place, answers do not: those of microVMs that cannot be reached are our own.
    const answers = this.#figures.get(microvmId)?.answers;
    answers?.set(status, (answers.get(status) ?? 0) + 1);
  }

  /** It has ended: its place is another's. */
  forget(microvmId: string): void {
    this.#figures.delete(microvmId);
    if (this.#maximum === 0) return;
    if (this.#ended.size >= MAX_ENDED) this.#ended.clear();
    this.#ended.add(microvmId);
  }

  #of(microvmId: string): Figures | undefined {
    const known = this.#figures.get(microvmId);
    if (known !== undefined || this.#figures.size >= this.#maximum || this.#ended.has(microvmId)) return known;
    const figures: Figures = { in: 0, out: 0, answers: new Map() };
    this.#figures.set(microvmId, figures);
    return figures;
  }
}
