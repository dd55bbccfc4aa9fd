/** The reconciler: what is committed and what is there are brought together, at the start and every minute. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Reconciler } from '../../../src/control/reconciler.ts';
import { SILENT, type Log } from '../../../src/lib/log.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';
import { answersOf, factsOf, LEFT_BEHIND } from './left-behind.ts';
import { microvmsBed } from './microvms-bed.ts';

const MINUTE_MS = 60_000;

suite('the reconciler', () => {
  test('runs at the start and every minute, and never twice at once', async () => {
    const clock = new SteeredClock(1_000);
    let runs = 0;
    await using reconciler = new Reconciler({ clock, log: SILENT, reconciliations: [async () => new Map([[`${(runs += 1)}`, ['remains']]])] });
    reconciler.start();
    await reconciler.idle();
    clock.advance(MINUTE_MS - 1);
    assert.equal(runs, 1);
    clock.advance(1);
    await reconciler.idle();
    assert.equal(runs, 2);
    assert.deepEqual(reconciler.figures, { runs: 2, mended: 2, lastRunAtMs: 1_000 + MINUTE_MS });
  });

  test('goes on to the next kind where one cannot be looked through, and says in one line what it did', async () => {
    const lines: [object, string][] = [];
    const log: Log = { ...SILENT, warn: (...line) => lines.push(line) };
    const broken = () => Promise.reject(new Error('the disk'));
    await using reconciler = new Reconciler({ clock: new SteeredClock(0), log, reconciliations: [broken, async () => new Map([['a', ['gen-2', 'process']]])] });
    await reconciler.run();
    assert.deepEqual(lines, [[{ mended: { a: ['gen-2', 'process'] } }, 'brought into order what was not']]);
  });
});

suite('reconciling microVMs', () => {
  for (const found of LEFT_BEHIND) {
    const { left, becomes } = found;
    test(`nobody works on ${left}: ${becomes} (${factsOf(found)})`, async () => {
      await using bed = await microvmsBed();
      const id = await bed.left(left);
      Object.assign(bed.runtime.answers, answersOf(found));
      await bed.microvms.reconcile();
      await bed.microvms.idle();
      assert.equal(await bed.state(id), becomes);
    });
  }

  test('removes what is there of one that has ended, or never was', async () => {
    await using bed = await microvmsBed();
    const ended = await bed.left('TERMINATED');
    bed.runtime.found.add(ended).add('microvm-nobodys');
    assert.deepEqual(await bed.microvms.reconcile(), new Map([[ended, ['remains']], ['microvm-nobodys', ['remains']]]));
    assert.deepEqual(bed.runtime.steps, [`destroy ${ended}`, 'destroy microvm-nobodys']);
  });

  test('leaves alone what somebody works on', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const release = bed.runtime.hold('saveGeneration');
    const taken = bed.runtime.taken('saveGeneration');
    const suspending = bed.microvms.useCases.suspend(id);
    await taken;
    assert.deepEqual(await bed.microvms.reconcile(), new Map());
    release();
    await suspending;
    assert.equal(await bed.state(id), 'SUSPENDED');
  });

  test('tries again a minute later what fails', async () => {
    await using bed = await microvmsBed();
    const id = await bed.left('TERMINATING');
    bed.runtime.failing.add('destroy');
    assert.deepEqual(await bed.microvms.reconcile(), new Map());
    assert.equal(await bed.state(id), 'TERMINATING');
    assert.deepEqual(await bed.microvms.reconcile(), new Map([[id, ['TERMINATING']]]));
    assert.equal(await bed.state(id), 'TERMINATED');
  });
});
