import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ExchangeObserver, ExchangeOutcome, ExchangeRecord, UpgradeKind } from '../proxy/exchange.ts';
import type { HttpVersion } from '../proxy/tls-detection.ts';
import type { MicrovmSeries } from './microvm-series.ts';
import type { ReadFigures } from './read-figures.ts';

/** From an answer at once to one that a busy application takes a minute for. */
const ANSWER_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** A wake takes tens of milliseconds with KVM and about a second without; a launch may take longer. */
const HOLD_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const MS_PER_SECOND = 1000;

/** `2xx`; `none` where the client left before there was an answer. */
export const statusClass = (status: number | undefined) => (status === undefined ? 'none' : `${Math.floor(status / 100)}xx`);

/** Requests to endpoints in figures, all microVMs together. Names and units are those of Prometheus (its page "Metric and label naming"). */
export class ExchangeMetrics implements ExchangeObserver {
  readonly #series: MicrovmSeries;
  readonly #bytes = { in: 0, out: 0 };
  readonly #requests: Counter<'version' | 'status'>;
  readonly #inFlight: Gauge<'version'>;
  readonly #duration: Histogram<'version'>;
  readonly #firstByte: Histogram<'version'>;
  readonly #hold: Histogram<'woke'>;
  readonly #refusals: Counter<'kind'>;
  readonly #upgrades: Counter<'protocol'>;
  readonly #upgradesOpen: Gauge<'protocol'>;

  constructor(registry: Registry, figures: ReadFigures, series: MicrovmSeries) {
    this.#series = series;
    const registers = [registry];
    const labelNames = ['version'] as const;
    const name = (rest: string) => `lull_endpoint_${rest}`;
    this.#requests = new Counter({ name: name('requests_total'), help: 'Requests that are over, by class of status', labelNames: ['version', 'status'], registers });
    this.#inFlight = new Gauge({ name: name('requests_in_flight'), help: 'Requests and upgraded connections under way', labelNames, registers });
    const answers = { labelNames, buckets: ANSWER_SECONDS, registers };
    this.#duration = new Histogram({ ...answers, name: name('request_duration_seconds'), help: 'From the head of a request to the end of its answer; without upgraded connections' });
    this.#firstByte = new Histogram({ ...answers, name: name('first_byte_seconds'), help: 'From the head of a request to the head of its answer' });
    this.#hold = new Histogram({
      ...{ name: name('hold_seconds'), help: 'How long requests waited for a microVM that was asleep (woke) and for a connection to one that was not', labelNames: ['woke'] },
      ...{ buckets: HOLD_SECONDS, registers },
    });
    this.#refusals = new Counter({ name: name('refusals_total'), help: 'Requests that the data plane answered itself, by reason', labelNames: ['kind'], registers });
    this.#upgrades = new Counter({ name: name('upgrades_total'), help: 'Connections that changed to another protocol', labelNames: ['protocol'], registers });
    this.#upgradesOpen = new Gauge({ name: name('upgrades_open'), help: 'Those that are open', labelNames: ['protocol'], registers });
    figures.counter({ name: name('received_bytes_total'), help: 'Bytes of bodies and upgraded connections from clients', read: () => [[{}, this.#bytes.in]] });
    figures.counter({ name: name('sent_bytes_total'), help: 'Bytes of bodies and upgraded connections to clients', read: () => [[{}, this.#bytes.out]] });
  }

  began(version: HttpVersion): void {
    this.#inFlight.inc({ version });
  }

  passed(bytes: number, way: { readonly direction: 'in' | 'out'; readonly microvmId: string }): void {
    this.#bytes[way.direction] += bytes;
    this.#series.passed(bytes, way);
  }

  upgraded(protocol: UpgradeKind): void {
    this.#upgrades.inc({ protocol });
    this.#upgradesOpen.inc({ protocol });
  }

  ended(record: ExchangeRecord, { refusal, upgrade, isConnected }: ExchangeOutcome): void {
    const { version, microvmId, msToFirstByte, durationMs, heldMs, woke } = record;
    const status = statusClass(record.status);
    this.#inFlight.dec({ version });
    this.#requests.inc({ version, status });
    if (refusal !== undefined) this.#refusals.inc({ kind: refusal });
    if (upgrade !== undefined) this.#upgradesOpen.dec({ protocol: upgrade });
    else this.#duration.observe({ version }, durationMs / MS_PER_SECOND);
    if (msToFirstByte !== undefined) this.#firstByte.observe({ version }, msToFirstByte / MS_PER_SECOND);
    if (microvmId === undefined) return;
    if (isConnected) this.#hold.observe({ woke: `${woke}` }, heldMs / MS_PER_SECOND);
    this.#series.answered(microvmId, status);
  }
}
