/** What the server and its host tell, and what the life of microVMs and images adds. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ImageBuilder } from '../../../src/domain/ports.ts';
import { microvmsBed } from '../control/microvms-bed.ts';
import { metricsOver, scraped } from './metrics-bed.ts';

suite('the metrics of the server', () => {
  test('are what it knows of microVMs, memory, disks, certificates and its process', async () => {
    const all = await scraped(metricsOver());
    const expected = {
      'lull_build_info{version="1.2.3",driver="qemu",accelerator="tcg"}': 1,
      'lull_microvms{state="RUNNING"}': 2,
      'lull_microvms{state="SUSPENDED"}': 3,
      'lull_memory_allocated_bytes': 2 ** 30,
      'lull_memory_quota_bytes': 2 ** 32,
      'lull_host_memory_available_bytes': 2 ** 31,
      'lull_certificate_expiry_timestamp_seconds{listener="endpoint"}': 1_800_000_000,
      'lull_endpoint_connections': 7,
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((series) => [series, all.figure(series)])), expected);
    const disk = ['available', 'reserved', 'size'].map((figure) => all.figure(`lull_disk_${figure}_bytes{folder="data"}`));
    assert.deepEqual([disk, all.figure('lull_microvms_stopped_by_disk')], [[400, 100, 1000], 1]);
    for (const series of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds', 'process_open_fds']) assert.ok(all.figure(series) !== undefined, series);
  });

  test('leave out what cannot be read, and say so in the log', async () => {
    const warned: object[] = [];
    const log = { debug: () => undefined, info: () => undefined, warn: (fields: object) => void warned.push(fields), error: () => undefined };
    const all = await scraped(metricsOver({ disks: { data: () => Promise.reject(new Error('no such disk')) }, log }));
    assert.equal(all.figure('lull_disk_size_bytes{folder="data"}'), undefined);
    assert.equal(all.figure('lull_memory_quota_bytes'), 2 ** 32);
    assert.deepEqual(new Set(warned.map((fields) => 'metric' in fields && fields.metric)), new Set(['lull_disk_available_bytes', 'lull_disk_reserved_bytes', 'lull_disk_size_bytes']));
  });

  test('share one reading between scrapes that come at the same time', async () => {
    let readings = 0;
    const microvms = { countByState: () => Promise.reject(new Error('closed')), allocatedMib: async () => (readings += 1) };
    const metrics = metricsOver({ microvms });
    await Promise.all([metrics.text(), metrics.text(), metrics.text()]);
    assert.equal(readings, 1);
    await metrics.text();
    assert.equal(readings, 2);
  });

  test('count launches, suspends and wakes, those that fail too', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    await bed.microvms.useCases.suspend(id);
    assert.equal(bed.microvms.traffic.isAsleep(id), true);
    bed.runtime.failing.add('prepareWake');
    await assert.rejects(bed.microvms.useCases.resume(id));
    await bed.microvms.useCases.resume(id);
    assert.equal(bed.microvms.traffic.isAsleep(id), false);
    bed.runtime.failing.add('saveGeneration');
    await assert.rejects(bed.microvms.useCases.suspend(id));
    bed.runtime.failing.add('continue');
    await assert.rejects(bed.running());
    assert.deepEqual(bed.operations, ['launch', 'suspend', 'wake failed', 'wake', 'suspend failed', 'launch failed']);
    const metrics = metricsOver();
    metrics.operationEnded('wake', [{ step: 'memory', ms: 40 }, { step: 'resume', ms: 60 }]);
    metrics.operationEnded('wake', undefined);
    const all = await scraped(metrics);
    assert.equal(all.figure('lull_microvm_operations_total{operation="wake",outcome="success"}'), 1);
    assert.equal(all.figure('lull_microvm_operations_total{operation="wake",outcome="failure"}'), 1);
    assert.equal(all.figure('lull_microvm_operation_duration_seconds_sum{operation="wake"}'), 0.1);
  });

  test('count builds by how they ended', async () => {
    const metrics = metricsOver();
    const outcomes = [async () => ({}), async () => assert.fail('it failed'), async () => assert.fail('it was given up')];
    const build = (() => outcomes.shift()!()) as unknown as ImageBuilder['build'];
    const counted = metrics.counted({ build } as ImageBuilder);
    const aborted = AbortSignal.abort();
    const ends = [new AbortController().signal, new AbortController().signal, aborted].map((signal) => counted.build({} as never, signal));
    assert.deepEqual((await Promise.allSettled(ends)).map(({ status }) => status), ['fulfilled', 'rejected', 'rejected']);
    const all = await scraped(metrics);
    for (const outcome of ['success', 'failure', 'aborted']) assert.equal(all.figure(`lull_image_builds_total{outcome="${outcome}"}`), 1, outcome);
    assert.equal(all.figure('lull_image_build_duration_seconds_count'), 1);
  });
});
