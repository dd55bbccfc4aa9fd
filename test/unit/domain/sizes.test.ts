import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_BASELINE_MIB, microvmSize } from '../../../src/domain/sizes.ts';

const GIB = 1024 ** 3;

test('the sizes are AWS\'s: the guest sees four times the baseline (section 7.1)', () => {
  const rows = [
    [512, 2, 1, 8],
    [1024, 4, 2, 8],
    [2048, 8, 4, 8],
    [4096, 16, 8, 16],
    [8192, 32, 16, 32],
  ] as const;
  for (const [baselineMib, memoryGib, vcpus, diskGib] of rows) {
    assert.deepEqual(microvmSize(baselineMib), { baselineMib, guestMemoryMib: memoryGib * 1024, vcpus, scratchBytes: diskGib * GIB });
  }
  assert.equal(DEFAULT_BASELINE_MIB, 2048);
  for (const other of [0, 64, 513, 3072, 16_384]) assert.equal(microvmSize(other), undefined);
});
