import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atMost } from '../../../src/lib/at-most.ts';

test('does all of it, never more than so much at once', async () => {
  let [running, most] = [0, 0];
  const done: number[] = [];
  await atMost(3, Array.from({ length: 10 }, (_, index) => index), async (item) => {
    most = Math.max(most, (running += 1));
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    done.push(item);
  });
  assert.equal(most, 3);
  assert.deepEqual(done.toSorted((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await atMost(3, [], () => assert.fail('there is nothing to do'));
});

test('rejects with the first error, and begins nothing after it in that lane', async () => {
  const begun: number[] = [];
  const work = atMost(1, [1, 2, 3], async (item) => {
    begun.push(item);
    if (item === 2) throw new Error('enough');
  });
  await assert.rejects(work, /enough/);
  assert.deepEqual(begun, [1, 2]);
});
