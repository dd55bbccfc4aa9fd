/** Figures that are kept elsewhere, and read when somebody asks. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Log } from '../lib/log.ts';

/** One sample of a family: its labels, and the figure. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, figure: number];

/** A family of series. */
export interface FiguresFamily {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  read(): Iterable<Sample> | Promise<Iterable<Sample>>;
}

/** Adds families to a registry. One that cannot be read is missing from that answer, and the log says why: the others are there. */
export class ReadFigures {
  readonly #registry: Registry;
  readonly #log: Log;

  constructor(registry: Registry, log: Log) {
    this.#registry = registry;
    this.#log = log;
  }

  /** A figure that only grows. */
  counter(family: FiguresFamily): void {
    const counter: Counter = new Counter({
      ...this.#configuration(family),
      collect: () =>
        this.#read(family, (samples) => {
          counter.reset();
          for (const [labels, figure] of samples) counter.inc(labels, figure);
        }),
    });
  }

  /** A figure that comes and goes. */
  gauge(family: FiguresFamily): void {
    const gauge: Gauge = new Gauge({
      ...this.#configuration(family),
      collect: () =>
        this.#read(family, (samples) => {
          gauge.reset();
          for (const [labels, figure] of samples) gauge.set(labels, figure);
        }),
    });
  }

  #configuration = ({ name, help, labelNames = [] }: FiguresFamily) => ({ name, help, labelNames, registers: [this.#registry] });

  async #read(family: FiguresFamily, keep: (samples: Iterable<Sample>) => void): Promise<void> {
    try {
      keep(await family.read());
    } catch (error) {
      keep([]);
      this.#log.warn({ err: error, metric: family.name }, 'a figure could not be read');
    }
  }
}
