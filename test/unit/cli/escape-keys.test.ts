/** The keys that leave a shell from this side. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EscapeKeys } from '../../../src/cli/escape-keys.ts';

/** `leave` is what says so. */
const CASES: readonly [typed: readonly string[], passed: string][] = [
  [['~.'], 'leave'],
  [['ls\r', '~', '.'], 'leave'],
  [['ls\n~.'], 'leave'],
  [['ls ~.'], 'ls ~.'],
  [['~~.'], '~.'],
  [['~', '/bin/ls\r'], '~/bin/ls\r'],
  [['~\r~.'], 'leave'],
  [['\x1b[A', 'λ'], '\x1b[Aλ'],
];

for (const [typed, passed] of CASES) {
  test(`${JSON.stringify(typed)}: ${JSON.stringify(passed)}`, () => {
    const keys = new EscapeKeys();
    const seen = typed.map((chunk) => keys.pass(Buffer.from(chunk)));
    if (passed === 'leave') assert.equal(seen.at(-1), 'leave');
    else assert.equal(Buffer.concat(seen as Buffer[]).toString(), passed);
  });
}
