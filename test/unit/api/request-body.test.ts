import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonMembers } from '../../../src/api/request-body.ts';
import { ApiError } from '../../../src/contract/exceptions.ts';

const members = (text: string) => jsonMembers(Buffer.from(text));
const refused = (error: unknown) => error instanceof ApiError && error.exception === 'SerializationException';

test('nesting is counted outside of strings', () => {
  const brackets = '["[{\\"{\\\\'.repeat(2000);
  assert.deepEqual(members(JSON.stringify({ [brackets]: brackets })), { [brackets]: brackets });
  const nested = (depth: number) => `{"\\"":"\\\\","a":${'['.repeat(depth - 1)}"]]"${']'.repeat(depth - 1)}}`;
  assert.equal(Object.keys(members(nested(1000))).length, 2);
  assert.throws(() => members(nested(1001)), refused);
});

test('a body that is no JSON takes no longer than its length', () => {
  const startedMs = performance.now();
  for (const text of ['\\"'.repeat(100_000), `{"a":"${'\\"'.repeat(100_000)}`, '['.repeat(1_000_000)]) assert.throws(() => members(text), refused);
  // Quadratic in the length it would be half a minute.
  assert.ok(performance.now() - startedMs < 2000);
});
