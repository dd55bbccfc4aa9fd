/** The scenario's patterns: each kind takes what it says, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../clients/client.ts';
import { kebab } from '../../clients/client.ts';
import { filled, mismatch } from '../../clients/matching.ts';
import { textOf } from '../../clients/recorded-errors.ts';

const now = new Date();

const CASES: readonly { pattern: Json; takes: readonly unknown[]; refuses: readonly unknown[] }[] = [
  { pattern: { a: 1 }, takes: [{ a: 1, b: 2 }], refuses: [{ a: 2 }, {}, null, 'a', { b: 1 }] },
  { pattern: [{ a: 1 }, 2], takes: [[{ a: 1, b: 1 }, 2]], refuses: [[{ a: 1 }], [2, { a: 1 }], {}] },
  { pattern: { $is: 'timestamp' }, takes: [now.getTime() / 1000, now.toISOString()], refuses: [now.getTime(), 'soon', '', undefined] },
  { pattern: { $is: 'time' }, takes: [1_784_592_000, '2026-07-21T00:00:00+00:00'], refuses: [0, 'soon'] },
  { pattern: { $is: 'string' }, takes: ['x'], refuses: ['', 1, null] },
  { pattern: { $is: 'size' }, takes: [1], refuses: [0, '1'] },
  { pattern: { $matches: '^a.c$' }, takes: ['abc', 'a\nc'], refuses: ['abcd', 1, undefined] },
  { pattern: { $absent: true }, takes: [undefined, null], refuses: [0, '', {}] },
  { pattern: { $has: { a: 1 } }, takes: [[2, { a: 1 }]], refuses: [[], [2], { a: 1 }] },
  { pattern: { $each: { a: 1 } }, takes: [[{ a: 1 }]], refuses: [[], [{ a: 1 }, 2]] },
  { pattern: { $size: 2 }, takes: [[1, 2]], refuses: [[1], '12'] },
  { pattern: { $in: [1, 2] }, takes: [1, 2], refuses: [3, '1'] },
  { pattern: { $size: 1, $each: 1 }, takes: [[1]], refuses: [[2], [1, 1]] },
];

for (const { pattern, takes, refuses } of CASES) {
  test(`the pattern ${JSON.stringify(pattern)}`, () => {
    for (const value of takes) assert.equal(mismatch(pattern, value), undefined, JSON.stringify(value));
    for (const value of refuses) assert.notEqual(mismatch(pattern, value), undefined, JSON.stringify(value));
  });
}

test('variables are filled in, whole ones as what they are; one that was never saved is an error', () => {
  const variables = new Map<string, Json>([['n', 7], ['name', 'x']]);
  assert.deepEqual(filled({ a: ['${n}', 'is ${name}'], b: null }, variables), { a: [7, 'is x'], b: null });
  assert.throws(() => filled('${other}', variables), /nothing was saved as other/);
});

test('a recorded text is exact where all in it is given, else a pattern', () => {
  assert.equal(textOf('Not found: <id> (<n>)', { id: 'x', n: '1' }), 'Not found: x (1)');
  const open = textOf('Not found: <id> (<n>)', { id: '${id}' }) as Json;
  assert.equal(mismatch(filled(open, new Map([['id', 'a.b']])), 'Not found: a.b (anything)'), undefined);
  assert.notEqual(mismatch(filled(open, new Map([['id', 'a.b']])), 'Not found: other (anything)'), undefined);
});

test('commands are named as botocore names them', () => {
  assert.deepEqual(['ListObjectsV2', 'GetMicrovm', 'CreateMicrovmAuthToken'].map(kebab), ['list-objects-v2', 'get-microvm', 'create-microvm-auth-token']);
});
