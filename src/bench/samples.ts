/** Figures measured again and again under one name each, and what is said of them. */

/** What a table shows of one series. */
export interface Summary {
  readonly n: number;
  readonly p50: number;
  readonly p95: number;
}

/** Series by name, in the order in which they were first added to. */
export class Samples {
  readonly #series = new Map<string, number[]>();

  add(name: string, value: number): void {
    const series = this.#series.get(name) ?? [];
    series.push(value);
    this.#series.set(name, series);
  }

  /** @throws Error where nothing was measured under that name */
  summary(name: string): Summary {
    const series = this.#series.get(name);
    if (series === undefined) throw new Error(`nothing was measured as ${name}`);
    return { n: series.length, p50: percentile(series, 50), p95: percentile(series, 95) };
  }

  /** p50 of one series by p50 of another. */
  ratio(name: string, reference: string): number {
    return this.summary(name).p50 / this.summary(reference).p50;
  }

  names(): readonly string[] {
    return [...this.#series.keys()];
  }

  /** Everything, as measured. */
  toJSON(): Readonly<Record<string, readonly number[]>> {
    return Object.fromEntries(this.#series);
  }
}

const WHOLE = 100;

/** The smallest value that at least `percent` of the values do not exceed (nearest rank); for 50, the middle of an even number. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) throw new Error('no values');
  const half = sorted.length / 2;
  if (percent === WHOLE / 2 && Number.isInteger(half)) return (sorted[half - 1]! + sorted[half]!) / 2;
  return sorted[Math.max(0, Math.ceil((percent / WHOLE) * sorted.length) - 1)]!;
}
