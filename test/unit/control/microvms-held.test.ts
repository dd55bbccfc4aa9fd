/** Requests to a microVM that does not run yet: contract reference, section 3.4. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { microvmsBed, runInput, type MicrovmsBed } from './microvms-bed.ts';

const never = new AbortController().signal;
const HOOKS = { port: 9000, microvmHooks: { suspend: 'ENABLED' }, microvmImageHooks: { ready: 'ENABLED' } } as const;

const asleep = async (bed: MicrovmsBed) => {
  const id = await bed.running();
  await bed.microvms.useCases.suspend(id);
  bed.runtime.steps.length = 0;
  return id;
};
const ask = (bed: MicrovmsBed, id: string, signal = never) => bed.microvms.traffic.connect(id, 8080, signal);
const taken = (bed: MicrovmsBed, step: string) => bed.runtime.steps.filter((taken) => taken.startsWith(step)).length;
const reasons = async (asked: readonly Promise<unknown>[]) =>
  (await Promise.allSettled(asked)).map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as Error).message : 'answered'));

describe('held requests', () => {
  test('that are a thousand share one wake, also one that fails, which is tried again by requests a second later', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    bed.runtime.failing.add('prepareWake');
    const failed = await reasons(Array.from({ length: 1000 }, () => ask(bed, id)));
    assert.deepEqual(new Set(failed), new Set([`The MicroVM ${id} could not be woken: prepareWake failed, as the test wanted`]));
    await assert.rejects(ask(bed, id), /could not be woken/);
    assert.equal(taken(bed, 'prepareWake'), 1);
    bed.clock.advance(1000);
    await Promise.all(Array.from({ length: 1000 }, () => ask(bed, id)));
    assert.equal(taken(bed, 'prepareWake'), 2);
    assert.equal(taken(bed, 'dial'), 1000);
  });

  test('do not wait out the second where it is woken otherwise', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    bed.runtime.failing.add('prepareWake');
    await assert.rejects(ask(bed, id));
    await bed.microvms.useCases.resume(id);
    await bed.microvms.useCases.suspend(id);
    await ask(bed, id);
  });

  test('that are given up leave nothing: no wake that has not begun, no connection, no listener', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const letGo = bed.runtime.hold('saveGeneration');
    const saving = bed.runtime.taken('saveGeneration');
    const suspended = bed.microvms.useCases.suspend(id);
    await saving;
    const gone = new AbortController();
    const held = Array.from({ length: 10 }, () => ask(bed, id, gone.signal));
    assert.equal(getEventListeners(gone.signal, 'abort').length, 10);
    gone.abort(new Error('the client went away'));
    assert.deepEqual(new Set(await reasons(held)), new Set(['the client went away']));
    assert.equal(getEventListeners(gone.signal, 'abort').length, 0);
    letGo();
    await suspended;
    await bed.microvms.useCases.suspend(id);
    assert.equal(await bed.state(id), 'SUSPENDED');
    assert.deepEqual([taken(bed, 'prepareWake'), taken(bed, 'dial')], [0, 0]);
  });

  test('end at once where their microVM ends, with its reason', async () => {
    await using bed = await microvmsBed();
    const { microvmId } = await bed.microvms.useCases.run(runInput());
    bed.runtime.failing.add('continue');
    const launching = await reasons([ask(bed, microvmId), ask(bed, microvmId)]);
    for (const reason of launching) assert.match(reason, /is TERMINATED and takes no traffic: The MicroVM could not be launched/);
    const id = await bed.running();
    const letSave = bed.runtime.hold('saveGeneration');
    const saving = bed.runtime.taken('saveGeneration');
    const suspended = bed.microvms.useCases.suspend(id);
    await saving;
    const ended = bed.microvms.useCases.terminate(id);
    const held = [ask(bed, id), ask(bed, id)];
    const letDestroy = bed.runtime.hold('destroy');
    letSave();
    // Its process is not gone yet.
    assert.deepEqual(new Set(await reasons(held)), new Set([`The MicroVM ${id} is TERMINATING and takes no traffic: Success.`]));
    letDestroy();
    await Promise.all([suspended, ended]);
    assert.equal(taken(bed, 'prepareWake'), 0);
  });

  test('are not let in to be cut off where their microVM is terminated during its launch or wake', async () => {
    await using bed = await microvmsBed();
    const waking = await asleep(bed);
    const launch = async () => (await bed.microvms.useCases.run(runInput())).microvmId;
    for (const begin of [async () => waking, launch]) {
      const letGo = bed.runtime.hold('continue');
      const continuing = bed.runtime.taken('continue');
      const id = await begin();
      const held = [ask(bed, id), ask(bed, id)];
      await continuing;
      const ended = bed.microvms.useCases.terminate(id);
      letGo();
      assert.deepEqual(new Set(await reasons(held)), new Set([`The MicroVM ${id} is TERMINATING and takes no traffic: Success.`]));
      await ended;
    }
    assert.equal(taken(bed, 'dial'), 0);
  });

  test('are let in where an end that was asked for during the wake comes to nothing', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    const letGo = bed.runtime.hold('continue');
    const continuing = bed.runtime.taken('continue');
    const held = ask(bed, id);
    await continuing;
    const ended = assert.rejects(bed.microvms.useCases.terminate(id), /no disk/);
    const apply = bed.store.microvms.apply.bind(bed.store.microvms);
    bed.store.microvms.apply = (...given) => (given[1] === 'terminate' ? Promise.reject(new Error('no disk')) : apply(...given));
    letGo();
    await Promise.all([ended, held]);
    bed.store.microvms.apply = apply;
  });

  test('are so many for a microVM, so many in all, and for so long', async () => {
    await using bed = await microvmsBed({ holdLimits: { perMicrovm: 2, inAll: 3, longestMs: 60_000 } });
    const [one, two] = [await asleep(bed), await asleep(bed)];
    const letGo = bed.runtime.hold('prepareWake');
    const held = [ask(bed, one), ask(bed, one), ask(bed, two)];
    await assert.rejects(ask(bed, one), { kind: 'throttled', message: `2 requests wait for the MicroVM ${one} already.` });
    await assert.rejects(ask(bed, two), { kind: 'throttled', message: '3 requests wait for MicroVMs already.' });
    bed.clock.advance(60_000);
    const late = (id: string) => `The MicroVM ${id} did not run within 60 seconds.`;
    assert.deepEqual(await reasons(held), [late(one), late(one), late(two)]);
    const more = ask(bed, one);
    letGo();
    await more;
  });

  test('that meet a microVM falling asleep as they connect wait for it again', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const letDial = bed.runtime.hold('dial');
    const dialling = bed.runtime.taken('dial');
    const asked = ask(bed, id);
    await dialling;
    await bed.microvms.useCases.suspend(id);
    bed.runtime.failing.add('dial');
    letDial();
    await asked;
    assert.equal(await bed.state(id), 'RUNNING');
    assert.deepEqual([taken(bed, 'dial'), taken(bed, 'prepareWake')], [2, 1]);
  });

  test('wait from the moment when the suspend hook is called, and go on where it refuses', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS, onSuspendHookFailure: 'keepRunning' });
    const id = await bed.running();
    const letAnswer = bed.runtime.hold('callHook');
    const called = bed.runtime.taken('callHook');
    bed.runtime.answers.hook = 500;
    const refused = assert.rejects(bed.microvms.useCases.suspend(id), /Suspend lifecycle hook/);
    await called;
    assert.deepEqual(bed.forgotten, [id]);
    const asked = ask(bed, id);
    assert.equal(taken(bed, 'dial'), 0);
    // It is on its way to sleep.
    assert.equal(bed.microvms.traffic.isAsleep(id), true);
    letAnswer();
    await Promise.all([refused, asked]);
    assert.equal(await bed.state(id), 'RUNNING');
    assert.equal(bed.microvms.traffic.isAsleep(id), false);
  });
});

test('an idle suspend is called off where a request came since its time was up', async () => {
  await using bed = await microvmsBed();
  const id = await bed.running();
  bed.clock.advance(60_000);
  await ask(bed, id);
  // What was under way with it has ended once this has.
  await bed.microvms.useCases.resume(id);
  assert.equal(await bed.state(id), 'RUNNING');
  assert.equal(taken(bed, 'saveGeneration'), 0);
  const saving = bed.runtime.taken('saveGeneration');
  bed.clock.advance(60_000);
  await saving;
});
