import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startChecksum } from '../../../src/api/s3/checksums.ts';
import { combineCrcs } from '../../../src/api/s3/crc-combine.ts';
import { someBytes } from './bed.ts';

const sum = (algorithm: 'CRC32' | 'CRC32C' | 'CRC64NVME', bytes: Uint8Array) => {
  const running = startChecksum(algorithm);
  running.update(Buffer.from(bytes));
  return running.digest();
};

for (const algorithm of ['CRC32', 'CRC32C', 'CRC64NVME'] as const) {
  test(`${algorithm} of pieces gives that of the whole, wherever it is cut`, () => {
    const bytes = someBytes(10_000);
    for (const cuts of [[0, 10_000], [0, 1, 10_000], [0, 5000, 10_000], [0, 0, 4096, 8192, 9999, 10_000, 10_000]]) {
      const pieces = cuts.slice(1).map((end, n) => bytes.subarray(cuts[n], end));
      const combined = combineCrcs(algorithm, pieces.map((piece) => ({ checksum: sum(algorithm, piece), size: piece.length })));
      assert.equal(combined, sum(algorithm, bytes), String(cuts));
    }
  });
}

test('ten thousand pieces of different lengths are combined at once', () => {
  const pieces = Array.from({ length: 10_000 }, (_, n) => ({ checksum: sum('CRC64NVME', Buffer.from([n])), size: 5 * 1024 ** 3 - n }));
  const startMs = performance.now();
  combineCrcs('CRC64NVME', pieces);
  // A tenth of a second where nothing else runs; with big integers it would be seven.
  assert.ok(performance.now() - startMs < 3000);
});

test('CRC64NVME has its published check value', () => {
  // NVM Command Set Specification: the check value of "123456789" is AE8B14860A799888.
  assert.equal(Buffer.from(sum('CRC64NVME', Buffer.from('123456789')), 'base64').toString('hex'), 'ae8b14860a799888');
});
