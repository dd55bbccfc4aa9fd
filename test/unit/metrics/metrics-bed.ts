/** Metrics over figures that a test gives. */
import { SILENT } from '../../../src/lib/log.ts';
import { ServerMetrics, type ServerMetricsParts } from '../../../src/metrics/server-metrics.ts';
import { Exposition } from '../../fakes/prometheus-text.ts';

const COUNTS = { PENDING: 0, RUNNING: 2, SUSPENDING: 0, SUSPENDED: 3, WAKING: 0, TERMINATING: 0 };

export const metricsOver = (parts: Partial<ServerMetricsParts> = {}) =>
  new ServerMetrics({
    about: { version: '1.2.3', driver: 'qemu', accelerator: 'tcg' },
    microvms: { countByState: async () => COUNTS, allocatedMib: async () => 1024 },
    memoryQuotaMib: 4096,
    disks: { data: async () => ({ sizeBytes: 1000, availableBytes: 400, reservedBytes: 100 }) },
    stoppedByDisk: () => 1,
    availableMib: () => 2048,
    certificates: () => ({ endpoint: 1_800_000_000_000 }),
    connections: () => 7,
    maxSeries: 0,
    log: SILENT,
    ...parts,
  });

/** What a scraper reads. */
export const scraped = async (metrics: ServerMetrics) => new Exposition(await metrics.text());
