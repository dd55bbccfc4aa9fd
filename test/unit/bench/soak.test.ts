import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { compareCycles, judgeCycles, type CycleFigure } from '../../../src/bench/soak-cycles.ts';
import { checksumsAt } from '../../../src/bench/soak-state.ts';
import { SeededRandom } from '../../../src/lib/seeded-random.ts';

const APP = join(import.meta.dirname, '../../../examples/soak-app');

const cycle = (ms: number, bytes: number): CycleFigure => ({ resumeMs: ms, suspendMs: ms, bytesWritten: bytes, diskBytes: bytes });

suite('soak', () => {
  test('what has to be held is what the application makes of the same step', () => {
    const program = 'import zlib, app\npages = b"".join(app.page_of(3, 17, n) for n in range(app.MEMORY_PAGES))\nprint(zlib.crc32(pages), zlib.crc32(pages[: app.FILE_PAGES * app.PAGE]))';
    const { stdout, stderr } = spawnSync('python3', ['-B', '-c', program], { cwd: APP, encoding: 'utf8' });
    const { memory, file } = checksumsAt({ key: 3, step: 17 });
    assert.equal(stdout.trim(), `${memory} ${file}`, stderr);
  });

  test('another step, and another microVM, has other checksums', () => {
    const sums = [{ key: 1, step: 1 }, { key: 1, step: 2 }, { key: 2, step: 1 }].map((step) => checksumsAt(step).memory);
    assert.equal(new Set(sums).size, 3);
  });

  test('bytes are compared with the same microVM around its tenth cycle, times with a young one beside the last', () => {
    const old = Array.from({ length: 1000 }, (_, at) => cycle(at < 990 ? 100 : 240, at < 900 ? 1000 : 1201));
    const young = Array.from({ length: 14 }, (_, at) => cycle(at < 5 ? 999 : 200, 1000));
    assert.deepEqual(compareCycles({ old, young }).resumeMs, { tenth: 100, young: 200, last: 240 });
    assert.deepEqual(judgeCycles({ old, young, serverBytes: [1, 1] }).map(({ met }) => met), [false, false, true, true]);
  });

  test('one cycle that was slow decides nothing', () => {
    const old = Array.from({ length: 100 }, (_, at) => cycle(at === 99 ? 5000 : 100, 1000));
    const young = Array.from({ length: 14 }, () => cycle(100, 1000));
    assert.ok(judgeCycles({ old, young, serverBytes: [1, 1] }).every(({ met }) => met));
  });

  test('a seed makes the same choices again, all of them possible', () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 200 }, () => random.below(5));
    };
    assert.deepEqual(draw(42), draw(42));
    assert.notDeepEqual(draw(42), draw(43));
    assert.deepEqual(new Set(draw(42)), new Set([0, 1, 2, 3, 4]));
  });
});
