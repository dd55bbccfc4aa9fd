import assert from 'node:assert/strict';
import { test } from 'node:test';
import { positionAfter, walk } from '../../../src/api/s3/walk.ts';
import type { Position, Walked } from '../../../src/api/s3/walk.ts';

/** Three levels, some of them wide, in order. */
const KEYS = Array.from({ length: 300 }, (_, n) => [`a${n % 7}/${n}`, `b/c${n % 40}/${n}`, `d${n}`, `e${n}/`]).flat().toSorted((a, b) => (a < b ? -1 : 1));

const rolledUp = (prefix: string, delimiter: string) => {
  const shown = KEYS.filter((key) => key.startsWith(prefix)).map((key) => {
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return at < 0 ? key : key.slice(0, at + delimiter.length);
  });
  return [...new Set(shown)];
};

/** @returns what all pages show together, and how many rows were fetched for it */
async function pages(request: { prefix: string; delimiter: string; limit: number }) {
  const seen: string[] = [];
  let fetched = 0;
  let from: Position | null = positionAfter({ key: '', id: '' }, request);
  while (from !== null) {
    const page: Walked<{ key: string }> = await walk({ ...request, from }, {
      fetch: async ({ key }, limit) => {
        const rows = KEYS.filter((each) => each > key && each.startsWith(request.prefix)).slice(0, limit).map((each) => ({ key: each }));
        fetched += rows.length;
        return rows;
      },
      idOf: () => '',
    });
    assert.ok(page.items.length + page.commonPrefixes.length <= request.limit);
    seen.push(...page.items.map(({ key }) => key), ...page.commonPrefixes);
    from = page.next;
  }
  return { seen, fetched };
}

for (const limit of [1, 7, 16, 17, 100, 1000]) {
  test(`pages of ${limit}: nothing twice, nothing left out`, async () => {
    for (const [prefix, delimiter] of [['', ''], ['', '/'], ['b/', '/'], ['b/', ''], ['', 'c1'], ['none', '/'], ['d', '9']] as const) {
      const { seen } = await pages({ prefix, delimiter, limit });
      const expected = rolledUp(prefix, delimiter);
      assert.deepEqual([seen.length, new Set(seen)], [expected.length, new Set(expected)], `${prefix} by ${delimiter}`);
    }
  });
}

test('a common prefix costs a small batch, however many keys it stands for', async () => {
  const { seen, fetched } = await pages({ prefix: '', delimiter: '/', limit: 1000 });
  assert.ok(fetched < 16 * seen.length, `${fetched} rows for ${seen.length} lines`);
});
