/** `lull soak` in small, from its command line to its verdict: the long runs are for whoever starts them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { within } from '../../src/lib/deadline.ts';
import { cannotServe } from './lull-server.ts';
import { LullProcess } from './server-process.ts';

const LIMIT_MS = 240_000;
const CYCLES = 6;

const cyclesAnswer = z.object({
  old: z.array(z.object({ bytesWritten: z.int(), diskBytes: z.int(), suspendMs: z.number(), resumeMs: z.number() })),
  young: z.array(z.unknown()),
  targets: z.array(z.object({ target: z.string(), measured: z.number(), limit: z.number(), met: z.boolean() })),
});
const manyAnswer = z.object({ seed: z.int(), microvms: z.int(), checks: z.int(), samples: z.record(z.string(), z.array(z.number())) });

/** Runs a soak to its end. @returns its exit status, what it printed, and what it told meanwhile */
async function soak<T>(words: readonly string[], answer: z.ZodType<T>): Promise<{ status: number | null; printed: T; told: string[] }> {
  const process = new LullProcess(['soak', ...words, '--json']);
  const { exitCode } = await within(`lull soak ${words.join(' ')}`, LIMIT_MS, process.ended).finally(() => process.kill('SIGTERM'));
  const [told, printed] = [true, false].map((isTold) => process.lines.filter((line) => line.startsWith('lull: ') === isTold)) as [string[], string[]];
  assert.ok(printed.length > 0, process.lastWords());
  return { status: exitCode, printed: answer.parse(JSON.parse(printed.join('\n'))), told };
}

describe('lull soak', { skip: await cannotServe() }, () => {
  it('cycles: a microVM that sleeps again and again stays whole, and its sleep costs no more', async () => {
    const { status, printed } = await soak(['cycles', '--n', `${CYCLES}`], cyclesAnswer);
    const { old, young, targets } = printed;
    assert.deepEqual([old.length, young.length], [CYCLES, CYCLES / 2]);
    // 16 MiB changed each time: less cannot have been written, and a chain would have grown by as much.
    for (const { bytesWritten } of old) assert.ok(bytesWritten > 16 * 1024 ** 2);
    // Times of so few cycles say nothing beside other tests; that the exit status is the verdict on them does.
    const bytes = targets.filter(({ target }) => target.endsWith('last by tenth'));
    assert.deepEqual(bytes.map(({ met }) => met), [true, true], JSON.stringify(targets));
    assert.equal(status, targets.every(({ met }) => met) ? 0 : 1);
  });

  it('many: microVMs that are suspended and woken at random by several clients keep their own state each', async () => {
    const { status, printed, told } = await soak(['many', '--microvms', '4', '--clients', '2', '--minutes', '0.1', '--seed', '7'], manyAnswer);
    assert.equal(status, 0);
    assert.equal(printed.microvms, 4);
    // Each is looked at once more at the end, whatever the clients came to.
    assert.ok(printed.checks > 4, `${printed.checks} checks`);
    assert.ok(printed.samples['suspend']!.length >= 8);
    assert.ok(told.includes('lull: --seed 7'));
  });

  it('says what is wrong with its options', async () => {
    const process = new LullProcess(['soak', 'some']);
    assert.equal((await process.ended).exitCode, 2);
    assert.match(process.lastWords(), /There is no soak some; there are: cycles, many\./);
  });
});
