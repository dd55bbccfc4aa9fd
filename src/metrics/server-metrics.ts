/** What Lull tells Prometheus: text format 0.0.4, in a registry of its own. */
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client';
import type { MicrovmOperation } from '../control/microvms/lifecycle.ts';
import type { DiskFigures } from '../domain/disk.ts';
import type { ImageBuilder, MicrovmRepository, StepTimes } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import { ExchangeMetrics } from './exchange-metrics.ts';
import { MicrovmSeries } from './microvm-series.ts';
import { ReadFigures } from './read-figures.ts';

const MIB = 1024 ** 2;
/** From a launch with KVM to one of a large image without. */
const OPERATION_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** From a copied file to an image whose packages are compiled. */
const BUILD_SECONDS = [5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800];

export interface ServerMetricsParts {
  /** Labels of `lull_build_info`. */
  readonly about: Readonly<Record<'version' | 'driver' | 'accelerator', string>>;
  readonly microvms: Pick<MicrovmRepository, 'countByState' | 'allocatedMib'>;
  readonly memoryQuotaMib: number;
  /** The disks of folders, by the name that their series get. */
  readonly disks: Readonly<Record<string, () => Promise<DiskFigures>>>;
  /** How many microVMs stand still because of theirs. */
  readonly stoppedByDisk: () => number;
  readonly availableMib: () => number;
  /** When each listener's certificate ends, in milliseconds since the epoch. */
  readonly certificates: () => Readonly<Record<string, number>>;
  /** Open connections of clients to the endpoints. */
  readonly connections: () => number;
  /** How many microVMs may have series of their own; 0 for none. */
  readonly maxSeries: number;
  readonly log: Log;
}

export class ServerMetrics {
  /** For the data plane. */
  readonly exchanges: ExchangeMetrics;
  readonly #registry = new Registry();
  readonly #series: MicrovmSeries;
  readonly #operations: Counter<'operation' | 'outcome'>;
  readonly #operationSeconds: Histogram<'operation'>;
  readonly #builds: Counter<'outcome'>;
  readonly #buildSeconds: Histogram;
  /** Scrapes that come at the same time share one reading. */
  #reading: Promise<string> | undefined;

  constructor(parts: ServerMetricsParts) {
    const registers = [this.#registry];
    const figures = new ReadFigures(this.#registry, parts.log);
    this.#series = new MicrovmSeries(figures, parts.maxSeries);
    this.exchanges = new ExchangeMetrics(this.#registry, figures, this.#series);
    this.#operations = new Counter({
      ...{ name: 'lull_microvm_operations_total', help: 'Launches, suspends and wakes that are over' },
      ...{ labelNames: ['operation', 'outcome'], registers },
    });
    this.#operationSeconds = new Histogram({
      ...{ name: 'lull_microvm_operation_duration_seconds', help: 'Of those that went well, without hooks and without waiting for their turn' },
      ...{ labelNames: ['operation'], buckets: OPERATION_SECONDS, registers },
    });
    this.#builds = new Counter({ name: 'lull_image_builds_total', help: 'Builds of images that are over', labelNames: ['outcome'], registers });
    this.#buildSeconds = new Histogram({ name: 'lull_image_build_duration_seconds', help: 'Of builds that went well, from their start', buckets: BUILD_SECONDS, registers });
    addServerFigures(figures, parts);
    collectDefaultMetrics({ register: this.#registry });
  }

  /** A launch, suspend or wake is over. @param steps how long each step took; undefined where it failed */
  operationEnded(operation: MicrovmOperation, steps: StepTimes | undefined): void {
    this.#operations.inc({ operation, outcome: steps === undefined ? 'failure' : 'success' });
    if (steps !== undefined) this.#operationSeconds.observe({ operation }, steps.reduce((sum, { ms }) => sum + ms, 0) / 1000);
  }

  microvmEnded(microvmId: string): void {
    this.#series.forget(microvmId);
  }

  /** The same builder, its builds counted. */
  counted(builder: ImageBuilder): ImageBuilder {
    return {
      ...builder,
      build: async (request, signal) => {
        const startMs = performance.now();
        try {
          const sizes = await builder.build(request, signal);
          this.#builds.inc({ outcome: 'success' });
          this.#buildSeconds.observe((performance.now() - startMs) / 1000);
          return sizes;
        } catch (error) {
          this.#builds.inc({ outcome: signal.aborted ? 'aborted' : 'failure' });
          throw error;
        }
      },
    };
  }

  /** All series, as text. */
  text(): Promise<string> {
    this.#reading ??= this.#registry.metrics().finally(() => (this.#reading = undefined));
    return this.#reading;
  }
}

/** What is the server's and the host's, and no event's. */
function addServerFigures(figures: ReadFigures, parts: ServerMetricsParts): void {
  const { about, microvms, memoryQuotaMib, disks, stoppedByDisk, availableMib, certificates, connections } = parts;
  figures.gauge({ name: 'lull_build_info', help: 'Always 1; what runs is in the labels', labelNames: ['version', 'driver', 'accelerator'], read: () => [[about, 1]] });
  figures.gauge({
    ...{ name: 'lull_microvms', help: 'MicroVMs that have not ended, by state', labelNames: ['state'] },
    read: async () => Object.entries(await microvms.countByState()).map(([state, count]) => [{ state }, count]),
  });
  figures.gauge({
    ...{ name: 'lull_memory_allocated_bytes', help: 'Memory of microVMs that counts against the quota' },
    read: async () => [[{}, (await microvms.allocatedMib()) * MIB]],
  });
  figures.gauge({ name: 'lull_memory_quota_bytes', help: 'The quota', read: () => [[{}, memoryQuotaMib * MIB]] });
  figures.gauge({ name: 'lull_host_memory_available_bytes', help: 'What the host has left for microVMs', read: () => [[{}, availableMib() * MIB]] });
  const ofDisks = (figure: keyof DiskFigures) => async () =>
    await Promise.all(Object.entries(disks).map(async ([folder, read]) => [{ folder }, (await read())[figure]] as const));
  const labelNames = ['folder'];
  figures.gauge({ name: 'lull_disk_available_bytes', help: 'Free on the disk of a folder', labelNames, read: ofDisks('availableBytes') });
  figures.gauge({ name: 'lull_disk_reserved_bytes', help: 'Promised to what is under way, of what is free', labelNames, read: ofDisks('reservedBytes') });
  figures.gauge({ name: 'lull_disk_size_bytes', help: 'Size of the disk of a folder', labelNames, read: ofDisks('sizeBytes') });
  figures.gauge({ name: 'lull_microvms_stopped_by_disk', help: 'MicroVMs that stand still because their disk is full or fails', read: () => [[{}, stoppedByDisk()]] });
  figures.gauge({
    ...{ name: 'lull_certificate_expiry_timestamp_seconds', help: 'When the certificate of a listener ends', labelNames: ['listener'] },
    read: () => Object.entries(certificates()).map(([listener, atMs]) => [{ listener }, atMs / 1000]),
  });
  figures.gauge({ name: 'lull_endpoint_connections', help: 'Open connections of clients to endpoints', read: () => [[{}, connections()]] });
}
