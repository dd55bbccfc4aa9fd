import assert from 'node:assert/strict';
import { test } from 'node:test';
import { queryInput } from '../../../src/api/query-input.ts';
import { ApiError } from '../../../src/contract/exceptions.ts';

const read = (query: string) => queryInput(new URLSearchParams(query));

test('parameters become structures and lists, in whichever order they come', () => {
  assert.deepEqual(read('Action=A&Tags.member.2.Key=b&Tags.member.1.Key=a&Tags.member.1.Value='), { action: 'A', tags: [{ key: 'a', value: '' }, { key: 'b' }] });
  const eleven = Array.from({ length: 11 }, (_, at) => `v${at}`);
  assert.deepEqual(read(eleven.map((value, at) => `List.member.${at + 1}=${value}`).toReversed().join('&')), { list: eleven });
});

for (const [title, query] of [
  ['a list with a hole', 'L.member.1=a&L.member.3=b'],
  ['a list that begins at 2', 'L.member.2=a'],
  ['a list that begins at 0', 'L.member.0=a&L.member.1=b'],
  ['a number with a zero before it', 'L.member.01=a'],
  ['a list that is too long', Array.from({ length: 1001 }, (_, at) => `L.member.${at + 1}=`).join('&')],
  ['a member given twice', 'A=1&A=2'],
  ['a member that is a structure and a value', 'A=1&A.B=2'],
  ['a structure that is too deep', 'a.b.c.d.e.f.g.h.i=1'],
] as const) {
  test(`refused: ${title}`, () => {
    assert.throws(() => read(query), (error) => error instanceof ApiError && error.exception === 'SerializationException');
  });
}
