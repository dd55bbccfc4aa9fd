import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { percentile, Samples } from '../../../src/bench/samples.ts';

suite('samples', () => {
  test('percentiles are measured values, the middle of an even number excepted', () => {
    const twenty = Array.from({ length: 20 }, (_, index) => 20 - index);
    assert.equal(percentile(twenty, 50), 10.5);
    assert.equal(percentile(twenty, 95), 19);
    assert.equal(percentile([3, 1, 2], 50), 2);
    assert.equal(percentile([3, 1, 2], 95), 3);
    assert.equal(percentile([7], 50), 7);
    assert.throws(() => percentile([], 50), /no values/);
  });

  test('keep every value under its name, and compare by medians', () => {
    const samples = new Samples();
    for (const [raw, launch] of [[100, 150], [110, 130], [1000, 140]] as const) {
      samples.add('raw', raw);
      samples.add('launch', launch);
    }
    assert.deepEqual(samples.summary('raw'), { n: 3, p50: 110, p95: 1000 });
    assert.equal(samples.ratio('launch', 'raw'), 140 / 110);
    assert.deepEqual(samples.names(), ['raw', 'launch']);
    assert.deepEqual(JSON.parse(JSON.stringify(samples)), { raw: [100, 110, 1000], launch: [150, 130, 140] });
    assert.throws(() => samples.summary('wake'), /nothing was measured as wake/);
  });
});
