/** The runtime hooks and what their failures do: contract reference, sections 3.1 and 4. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HookOutcome } from '../../../src/domain/hooks.ts';
import { microvmsBed, runInput, type MicrovmsBed } from './microvms-bed.ts';

const ENABLED = 'ENABLED' as const;
const HOOKS = {
  port: 9000,
  microvmHooks: { run: ENABLED, suspend: ENABLED, resume: ENABLED, terminate: ENABLED, suspendTimeoutInSeconds: 60 },
  microvmImageHooks: { ready: ENABLED },
};
const PATH = '/aws/lambda-microvms/runtime/v1';
const never = new AbortController().signal;

const called = (bed: MicrovmsBed) => bed.runtime.hooks.map(({ path }) => path.replace(`${PATH}/`, ''));

/** One that runs, with no hook called yet as far as the test knows. */
async function running(bed: MicrovmsBed): Promise<string> {
  const id = await bed.running();
  bed.runtime.hooks.length = 0;
  return id;
}

describe('hooks', () => {
  test('each has its body and its time, which is AWS\'s times the scale', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await bed.running({ runHookPayload: 'for the hook' });
    await bed.microvms.useCases.suspend(id);
    await bed.microvms.useCases.resume(id);
    await bed.microvms.useCases.terminate(id);
    assert.deepEqual(bed.runtime.hooks, [
      { path: `${PATH}/run`, timeoutMs: 10_000, body: JSON.stringify({ microvmId: id, runHookPayload: 'for the hook' }) },
      { path: `${PATH}/suspend`, timeoutMs: 600_000 },
      { path: `${PATH}/resume`, timeoutMs: 10_000 },
      { path: `${PATH}/terminate`, timeoutMs: 10_000 },
    ]);
  });

  test('are still those of its version when that is deleted', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await running(bed);
    const { snapshotId } = await bed.microvms.useCases.get(id);
    await bed.store.images.addVersion({ ...(await bed.store.images.version('app', '1.0'))!, version: '2.0', snapshotId: 'other' }, 'UPDATED');
    assert.equal(await bed.store.images.markVersionDeleting('app', '1.0', 1), 'deleting');
    await bed.store.images.retireVersion(snapshotId, 2);
    await bed.microvms.useCases.suspend(id);
    assert.deepEqual(called(bed), ['suspend']);
    assert.deepEqual(bed.ended, []);
    await bed.microvms.useCases.terminate(id);
    assert.deepEqual(bed.ended, [snapshotId]);
  });

  const CHECK = 'Please check your hook endpoint and application logs for more details.';
  const outcomes: readonly [HookOutcome, string][] = [
    [400, `returned HTTP status 400. ${CHECK}`],
    ['timeout', `timed out after PT1M. ${CHECK}`],
    ['refused', `could not be reached. ${CHECK}`],
  ];
  for (const [outcome, words] of outcomes) {
    test(`a suspend hook that fails ends its microVM: ${words}`, async () => {
      await using bed = await microvmsBed({ hooks: HOOKS });
      const id = await running(bed);
      bed.runtime.answers.hook = outcome;
      await bed.microvms.useCases.suspend(id);
      const { state, stateReason, terminatedAtMs } = await bed.microvms.useCases.get(id);
      assert.deepEqual([state, stateReason, terminatedAtMs], ['TERMINATED', `Suspend lifecycle hook ${words}`, bed.clock.nowMs()]);
      assert.deepEqual(called(bed), ['suspend']);
      assert.deepEqual(bed.runtime.steps, [`callHook ${id}`, `destroy ${id}`]);
    });
  }

  test('a suspend hook that fails lets its microVM run on where the operator wants that, and the caller hears of it', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS, onSuspendHookFailure: 'keepRunning' });
    const id = await running(bed);
    bed.runtime.answers.hook = 500;
    await assert.rejects(bed.microvms.useCases.suspend(id), { kind: 'validation', message: /^Suspend lifecycle hook returned HTTP status 500\./ });
    assert.equal(await bed.state(id), 'RUNNING');
    await bed.microvms.traffic.connect(id, 8080, never);
  });

  test('a suspend hook that fails when idleness calls it does the same', async () => {
    for (const [onSuspendHookFailure, state] of [['terminate', 'TERMINATED'], ['keepRunning', 'RUNNING']] as const) {
      await using bed = await microvmsBed({ hooks: HOOKS, onSuspendHookFailure });
      const id = await running(bed);
      bed.runtime.answers.hook = 400;
      const asked = bed.runtime.taken('callHook');
      bed.clock.advance(60_000);
      await asked;
      // Its turn comes when that of the hook is over.
      await bed.microvms.useCases.resume(id).catch(() => undefined);
      assert.equal(await bed.state(id), state);
    }
  });

  test('one that refuses to sleep ends at its maximum duration all the same', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS, onSuspendHookFailure: 'keepRunning' });
    const { microvmId } = await bed.microvms.useCases.run(runInput({ maximumDurationSeconds: 100 }));
    await bed.microvms.traffic.connect(microvmId, 8080, never);
    bed.runtime.answers.hook = 400;
    const asked = bed.runtime.taken('callHook');
    bed.clock.advance(60_000);
    await asked;
    await bed.microvms.useCases.resume(microvmId);
    const ended = bed.runtime.taken('destroy');
    bed.clock.advance(40_000);
    await ended;
    await bed.microvms.useCases.terminate(microvmId);
    assert.equal((await bed.microvms.useCases.get(microvmId)).stateReason, 'The MicroVM reached its maximum duration.');
  });

  test('`lull down` ends none whose suspend hook fails: it runs on', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await running(bed);
    bed.runtime.answers.hook = 400;
    assert.equal(await bed.microvms.suspendAll(), 0);
    assert.equal(await bed.state(id), 'RUNNING');
  });

  test('a run hook that takes too long ends its microVM, in AWS\'s figure', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    bed.runtime.answers.hook = 'timeout';
    const { microvmId } = await bed.microvms.useCases.run(runInput());
    await assert.rejects(bed.microvms.traffic.connect(microvmId, 8080, never));
    assert.equal((await bed.microvms.useCases.get(microvmId)).stateReason, `Run lifecycle hook timed out after PT1S. ${CHECK}`);
  });

  test('the terminate hook is called while no traffic passes any more, and its answer does not matter', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await running(bed);
    const letGo = bed.runtime.hold('callHook');
    const asked = bed.runtime.taken('callHook');
    const ended = bed.microvms.useCases.terminate(id);
    await asked;
    assert.equal(await bed.state(id), 'TERMINATING');
    await assert.rejects(bed.microvms.traffic.connect(id, 8080, never), /takes no traffic/);
    bed.runtime.answers.hook = 'timeout';
    letGo();
    await ended;
    assert.deepEqual([await bed.state(id), (await bed.microvms.useCases.get(id)).stateReason], ['TERMINATED', 'Success.']);
  });

  test('the terminate hook is not called of a sleeper, of an application that has ended, or of a lost agent', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const [asleep, exited, lost] = [await bed.running(), await bed.running(), await bed.running()];
    await bed.microvms.useCases.suspend(asleep);
    bed.runtime.hooks.length = 0;
    bed.microvms.applicationExited(exited, 0);
    bed.microvms.agentLost(lost);
    for (const id of [asleep, exited, lost]) await bed.microvms.useCases.terminate(id);
    assert.deepEqual(called(bed), []);
    assert.equal((await bed.microvms.useCases.get(exited)).stateReason, 'Container Stopped with Exit Code: 0');
  });
});

describe('an end while a hook is called', () => {
  const EXITED = 'Container Stopped with Exit Code: 137';
  const PROCESS = { run: { pid: 1, startTicks: 1, bootId: 'boot' }, resume: { pid: 2, startTicks: 2, bootId: 'boot' } };
  const ends: readonly [what: string, reason: string, end: (bed: MicrovmsBed, id: string, hook: 'run' | 'suspend' | 'resume') => void][] = [
    ['its application ends', EXITED, ({ microvms }, id) => microvms.applicationExited(id, 137)],
    ['its agent is lost', "The MicroVM's agent could not be reached any more.", ({ microvms }, id) => microvms.agentLost(id)],
    [
      'its process dies',
      "The virtual machine's process ended unexpectedly while the MicroVM was running.",
      ({ microvms }, id, hook) => microvms.vmmDied(id, PROCESS[hook === 'resume' ? 'resume' : 'run']),
    ],
    ['it is terminated', 'Success.', ({ microvms }, id) => void microvms.useCases.terminate(id)],
  ];

  /** Brings a microVM to where its hook is called and hangs. */
  async function hanging(bed: MicrovmsBed, hook: 'run' | 'suspend' | 'resume'): Promise<{ id: string; under: Promise<unknown> }> {
    const { useCases } = bed.microvms;
    const id = hook === 'run' ? '' : await running(bed);
    if (hook === 'resume') await useCases.suspend(id);
    const asked = bed.runtime.taken('callHook');
    bed.runtime.hold('callHook');
    if (hook === 'run') {
      const { microvmId } = await useCases.run(runInput());
      await asked;
      return { id: microvmId, under: bed.microvms.traffic.connect(microvmId, 8080, never) };
    }
    const under = useCases[hook](id);
    await asked;
    return { id, under };
  }

  for (const hook of ['run', 'suspend', 'resume'] as const) {
    for (const [what, reason, end] of ends) {
      test(`does not wait for it, and has its own reason: /${hook} hangs and ${what}`, async () => {
        await using bed = await microvmsBed({ hooks: { ...HOOKS, microvmHooks: { ...HOOKS.microvmHooks, terminate: 'DISABLED' } } });
        const { id, under } = await hanging(bed, hook);
        end(bed, id, hook);
        await assert.rejects(under);
        await bed.microvms.useCases.terminate(id);
        const { state, stateReason } = await bed.microvms.useCases.get(id);
        assert.deepEqual([state, stateReason], ['TERMINATED', reason]);
        assert.equal(bed.runtime.steps.filter((step) => step.startsWith('saveGeneration')).length, hook === 'resume' ? 1 : 0);
      });
    }
  }

  test('has the exit code also where the connection of the hook breaks a moment before', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await running(bed);
    bed.runtime.answers.hook = 'refused';
    const letGo = bed.runtime.hold('callHook');
    const asked = bed.runtime.taken('callHook');
    const suspended = bed.microvms.useCases.suspend(id);
    await asked;
    letGo();
    await new Promise((resolve) => setImmediate(resolve));
    bed.microvms.applicationExited(id, 137);
    await assert.rejects(suspended, { kind: 'conflict', message: `The MicroVM ${id} ends: ${EXITED}` });
    await bed.microvms.useCases.terminate(id);
    assert.equal((await bed.microvms.useCases.get(id)).stateReason, EXITED);
    assert.deepEqual(called(bed), ['suspend']);
  });

  test('asked for twice, it lets the terminate hook have its time; one whose application ends does not', async () => {
    await using bed = await microvmsBed({ hooks: HOOKS });
    const id = await running(bed);
    bed.runtime.hold('callHook');
    const asked = bed.runtime.taken('callHook');
    const ended = bed.microvms.useCases.terminate(id);
    await asked;
    const again = bed.microvms.useCases.terminate(id);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await bed.state(id), 'TERMINATING');
    bed.microvms.applicationExited(id, 0);
    await Promise.all([ended, again]);
    assert.deepEqual([await bed.state(id), (await bed.microvms.useCases.get(id)).stateReason], ['TERMINATED', 'Success.']);
    assert.deepEqual(called(bed), ['terminate']);
  });
});
