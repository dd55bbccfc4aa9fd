import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeadlineError, within } from '../../../src/lib/deadline.ts';

/** Node's timers: a delay above it becomes one millisecond. */
const LONGEST_MS = 2_147_483_647;

test('what ends in time has its own end', async () => {
  assert.equal(await within('the work', LONGEST_MS, Promise.resolve('done')), 'done');
  await assert.rejects(within('the work', LONGEST_MS, Promise.reject(new Error('its own'))), { message: 'its own' });
});

test('what does not end in time ends with the name of its step', async () => {
  const never = new Promise<never>(() => undefined);
  await assert.rejects(within('the work', 1, never), (error) => error instanceof DeadlineError && error.step === 'the work' && error.message === 'the work did not end within 1 ms');
});

test('a limit that no timer holds is refused, and the work may fail unheard', async () => {
  for (const limitMs of [LONGEST_MS + 1, Infinity, Number.NaN]) {
    const work = Promise.withResolvers<void>();
    await assert.rejects(within('the work', limitMs, work.promise), { name: 'RangeError', message: `the work cannot have a limit of ${limitMs} ms: ${LONGEST_MS} ms is the longest.` });
    work.reject(new Error('late'));
  }
});
