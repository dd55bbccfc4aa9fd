/**
 * How long the event loop of this thread keeps others waiting. A timer is late for two reasons: this thread was busy, or it was
 * ready and the kernel ran somebody else. Only the first is the program's; the second is known to the nanosecond from
 * /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst), whatever else the machine does.
 */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const TICK_MS = 5;
const NS_IN_MS = 1e6;
const MIB = 1024 ** 2;
/** Reading it for every tick would be work of its own. */
const TICKS_BETWEEN_MEMORY = 20;

/** One tick: when (milliseconds since the epoch), how late for our own reasons, and how late altogether; milliseconds. */
export type LagSample = readonly [atMs: number, ownMs: number, lateMs: number];

export interface LagReport {
  readonly samples: readonly LagSample[];
  /** Of `monitorEventLoopDelay`, which cannot tell whose fault it was; milliseconds. */
  readonly histogramP99Ms: number;
  /** Most memory in use at once, and at the start. */
  readonly peakMib: number;
  readonly firstMib: number;
}

/** Measures from its making on, on the main thread. */
export class LoopLag implements Disposable {
  readonly #samples: LagSample[] = [];
  readonly #histogram: ReturnType<typeof monitorEventLoopDelay>;
  readonly #firstMib = residentMib();
  #peakMib = this.#firstMib;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #waitedMs = waitedMs();

  constructor() {
    this.#histogram = monitorEventLoopDelay({ resolution: TICK_MS });
    this.#histogram.enable();
    this.#next();
  }

  report(): LagReport {
    const histogramP99Ms = this.#histogram.percentile(99) / NS_IN_MS - TICK_MS;
    return { samples: this.#samples, histogramP99Ms, peakMib: this.#peakMib, firstMib: this.#firstMib };
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#histogram.disable();
  }

  #next(): void {
    this.#dueMs = performance.now() + TICK_MS;
    this.#timer = setTimeout(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  #tick(): void {
    const nowMs = performance.now();
    const waited = waitedMs();
    const lateMs = Math.max(0, nowMs - this.#dueMs);
    this.#samples.push([performance.timeOrigin + nowMs, Math.max(0, lateMs - (waited - this.#waitedMs)), lateMs]);
    this.#waitedMs = waited;
    if (this.#samples.length % TICKS_BETWEEN_MEMORY === 0) this.#peakMib = Math.max(this.#peakMib, residentMib());
    this.#next();
  }
}

/** Of the samples of a time: the 99th percentile and the worst, our own; and what the clock alone would say. */
export function lagOf({ samples }: Pick<LagReport, 'samples'>, [fromMs, toMs]: readonly [number, number] = [0, Infinity]) {
  const within = samples.filter(([atMs]) => atMs >= fromMs && atMs <= toMs);
  const sorted = (column: 1 | 2) => within.map((sample) => sample[column]).toSorted((a, b) => a - b);
  const at = (values: readonly number[], share: number) => values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;
  const own = sorted(1);
  return { samples: within.length, p99Ms: at(own, 0.99), maxMs: at(own, 1), clockP99Ms: at(sorted(2), 0.99) };
}

/** A line for the test's output. */
export const lagText = ({ samples, p99Ms, maxMs, clockP99Ms }: ReturnType<typeof lagOf>) =>
  `event loop, ${samples} ticks: p99 ${p99Ms.toFixed(1)} ms, worst ${maxMs.toFixed(1)} ms of its own; p99 ${clockP99Ms.toFixed(1)} ms by the clock`;

/** How long the main thread has been ready without a processor. */
const waitedMs = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[1]) / NS_IN_MS;

const residentMib = () => process.memoryUsage.rss() / MIB;
