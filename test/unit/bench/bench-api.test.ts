/** `lull bench api` in small: that it runs, and that no call asks more of a store that holds more. Timing is the benchmark's own business. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { pino } from 'pino';
import type { Terminal } from '../../../src/cli/command-line.ts';
import { benchApi, type ApiBenchResult } from '../../../src/bench/bench-api.ts';
import { CALL_NAMES } from '../../../src/bench/api-rounds.ts';
import { systemClock, systemRandom } from '../../../src/main/system-ports.ts';

/** Runs the benchmark. */
async function bench(values: Record<string, string | boolean>) {
  let printed = '';
  const terminal: Terminal = {
    env: {},
    uid: 1000,
    dataFolder: () => '/nowhere',
    out: (text) => void (printed += text.toString()),
    say: () => undefined,
    signal: new AbortController().signal,
  };
  const status = await benchApi(values, { terminal, log: pino({ level: 'silent' }), clock: systemClock, random: systemRandom });
  return { status, printed };
}

suite('the control plane over many microVMs', () => {
  test('asks the store as much as over few, for every call: statements and rows', async () => {
    const { status, printed } = await bench({ quick: true, json: true, n: '5' });
    const { figures, microvms } = JSON.parse(printed) as ApiBenchResult;
    assert.deepEqual(microvms, [100, 1000]);
    assert.deepEqual(figures.map(({ call }) => call), CALL_NAMES);
    for (const { call, statements, rows } of figures) {
      assert.ok(statements[0] > 0, call);
      // Whether the launch behind RunMicrovm is over when it is waited for is a matter of time: one look-up more or less.
      const leeway = call === 'RunMicrovm' ? 1 : 0;
      assert.ok(Math.abs(statements[1] - statements[0]) <= leeway, `statements of ${call}: ${statements.join(' and ')}`);
      assert.ok(Math.abs(rows[1] - rows[0]) <= leeway, `rows of ${call}: ${rows.join(' and ')}`);
    }
    assert.equal(status, figures.every(({ met }) => met) ? 0 : 1);
  });

  test('prints a table, and refuses a number that is none', async () => {
    const { printed } = await bench({ quick: true, n: '1' });
    for (const call of CALL_NAMES) assert.match(printed, new RegExp(`^${call} .* (met|missed)$`, 'm'));
    await assert.rejects(bench({ n: 'many' }), { name: 'UsageError', message: /^--n: / });
  });
});
