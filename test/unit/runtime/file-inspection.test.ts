import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outside } from '../../../src/runtime/file-inspection.ts';

test('what of a file was not hashed is told, wherever its extents begin and end', () => {
  const cases: readonly (readonly [present: [number, number][], hashed: [number, number][], rest: [number, number][]])[] = [
    [[[0, 10]], [[0, 10]], []],
    [[[0, 10]], [], [[0, 10]]],
    [[], [[0, 10]], []],
    [[[0, 10]], [[2, 3], [7, 1]], [[0, 2], [5, 2], [8, 2]]],
    [[[5, 10], [20, 5]], [[0, 7], [12, 10]], [[7, 5], [22, 3]]],
    [[[5, 10], [20, 5]], [[0, 100]], []],
  ];
  for (const [present, hashed, rest] of cases) assert.deepEqual(outside(present, hashed), rest);
});
