/** Every way a step of a microVM's life can fail, and what a start makes of what a crash left. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MICROVM_REQUESTS, MICROVM_STATES, type MicrovmRequest } from '../../../src/domain/microvm.ts';
import type { RuntimeStep } from '../../fakes/microvm-runtime.ts';
import { answersOf, factsOf, LEFT_BEHIND, type LeftBehind } from './left-behind.ts';
import { microvmsBed, runInput, type MicrovmsBed } from './microvms-bed.ts';

const never = new AbortController().signal;
/** The process that the fake runtime starts at a launch; a wake starts another. */
const LAUNCHED = { pid: 1, startTicks: 1, bootId: 'boot' };

describe('a launch', () => {
  for (const step of ['prepareLaunch', 'continue'] satisfies RuntimeStep[]) {
    test(`that fails in ${step} ends TERMINATED with the reason, and leaves nothing`, async () => {
      await using bed = await microvmsBed();
      bed.runtime.failing.add(step);
      const { microvmId } = await bed.microvms.useCases.run(runInput());
      await assert.rejects(bed.microvms.traffic.connect(microvmId, 8080, never), /TERMINATED/);
      const microvm = await bed.microvms.useCases.get(microvmId);
      assert.match(microvm.stateReason ?? '', new RegExp(`${step} failed`));
      assert.ok(bed.runtime.steps.includes(`destroy ${microvmId}`));
    });
  }

  test('whose /run hook answers 400 ends in the words of AWS', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { run: 'ENABLED' }, microvmImageHooks: { ready: 'ENABLED' } } });
    bed.runtime.answers.hook = 400;
    const { microvmId } = await bed.microvms.useCases.run(runInput());
    await assert.rejects(bed.microvms.traffic.connect(microvmId, 8080, never));
    assert.equal(
      (await bed.microvms.useCases.get(microvmId)).stateReason,
      'Run lifecycle hook returned HTTP status 400. Please check your hook endpoint and application logs for more details.',
    );
  });

  test('that is terminated meanwhile ends once', async () => {
    await using bed = await microvmsBed();
    const letGo = bed.runtime.hold('prepareLaunch');
    const { microvmId } = await bed.microvms.useCases.run(runInput());
    const ended = bed.microvms.useCases.terminate(microvmId);
    letGo();
    await ended;
    assert.equal(await bed.state(microvmId), 'TERMINATED');
    await bed.microvms.useCases.terminate(microvmId);
  });
});

describe('a suspend', () => {
  test('commits its intent first, and forgets connections before anything freezes', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    bed.forgotten.length = 0;
    const letGo = bed.runtime.hold('saveGeneration');
    const saving = bed.runtime.taken('saveGeneration');
    const suspended = bed.microvms.useCases.suspend(id);
    await saving;
    assert.equal(await bed.state(id), 'SUSPENDING');
    assert.deepEqual(bed.forgotten, [id]);
    letGo();
    await suspended;
    assert.equal(await bed.state(id), 'SUSPENDED');
    assert.deepEqual(bed.runtime.steps, [`saveGeneration ${id}`, `release ${id}`]);
  });

  test('that fails is undone: the microVM runs on, and its number is not used again', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    bed.runtime.failing.add('saveGeneration');
    await assert.rejects(bed.microvms.useCases.suspend(id), /could not be suspended/);
    assert.equal(await bed.state(id), 'RUNNING');
    await bed.microvms.useCases.suspend(id);
    assert.equal((await bed.microvms.useCases.get(id)).generation, 2);
  });

  test('that cannot be undone is the end, with the reason', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    bed.runtime.failing.add('saveGeneration').add('undoSuspend');
    await assert.rejects(bed.microvms.useCases.suspend(id));
    assert.equal(await bed.state(id), 'TERMINATED');
    assert.match((await bed.microvms.useCases.get(id)).stateReason ?? '', /neither be suspended nor go on: undoSuspend failed/);
  });
});

describe('a wake', () => {
  const asleep = async (bed: Awaited<ReturnType<typeof microvmsBed>>) => {
    const id = await bed.running();
    await bed.microvms.useCases.suspend(id);
    bed.runtime.steps.length = 0;
    return id;
  };

  test('by many requests at once happens once', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    await Promise.all(Array.from({ length: 50 }, () => bed.microvms.traffic.connect(id, 8080, never)));
    assert.equal(bed.runtime.steps.filter((step) => step.startsWith('prepareWake')).length, 1);
  });

  test('by a shell is as by a request; one that nobody waits for any more is hung up', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    assert.equal((await bed.microvms.traffic.openShell(id, never)).stream, bed.runtime.shell);
    assert.ok(bed.runtime.steps.includes(`prepareWake ${id}`));
    const letGo = bed.runtime.hold('openShell');
    const opening = bed.runtime.taken('openShell');
    const gone = new AbortController();
    const held = bed.microvms.traffic.openShell(id, gone.signal);
    await opening;
    assert.equal(bed.runtime.shellSignal, gone.signal);
    gone.abort(new Error('the client went away'));
    letGo();
    await assert.rejects(held, /went away/);
    assert.ok(bed.runtime.shell.destroyed);
    await bed.microvms.useCases.terminate(id);
    await assert.rejects(bed.microvms.traffic.openShell(id, never), /takes no traffic/);
  });

  test('is not waited for by a client that went away, and happens all the same', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    const letGo = bed.runtime.hold('prepareWake');
    const gone = new AbortController();
    const held = bed.microvms.traffic.connect(id, 8080, gone.signal);
    gone.abort(new Error('the client went away'));
    await assert.rejects(held, /went away/);
    letGo();
    await bed.microvms.useCases.resume(id);
    assert.equal(await bed.state(id), 'RUNNING');
  });

  test('that fails before anything ran leaves the sleeper as it was', async () => {
    await using bed = await microvmsBed();
    const id = await asleep(bed);
    bed.runtime.failing.add('prepareWake');
    await assert.rejects(bed.microvms.useCases.resume(id), /could not be woken/);
    assert.equal(await bed.state(id), 'SUSPENDED');
    await bed.microvms.useCases.resume(id);
    assert.equal(await bed.state(id), 'RUNNING');
  });

  test('that fails later goes back to sleep where the disk is untouched, and ends where it is not', async () => {
    for (const [untouched, state] of [[true, 'SUSPENDED'], [false, 'TERMINATED']] as const) {
      await using bed = await microvmsBed();
      const id = await asleep(bed);
      bed.runtime.failing.add('continue');
      bed.runtime.answers.untouched = untouched;
      await assert.rejects(bed.microvms.useCases.resume(id));
      assert.equal(await bed.state(id), state);
    }
  });

  test('whose hook refuses puts it to sleep as it is by then', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { resume: 'ENABLED' }, microvmImageHooks: { ready: 'ENABLED' } } });
    const id = await asleep(bed);
    bed.runtime.answers.hook = 500;
    await assert.rejects(bed.microvms.useCases.resume(id), /Resume lifecycle hook returned HTTP status 500/);
    assert.equal(await bed.state(id), 'SUSPENDED');
    assert.equal((await bed.microvms.useCases.get(id)).generation, 2);
  });

  test('whose hook refuses is never RUNNING', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { resume: 'ENABLED' }, microvmImageHooks: { ready: 'ENABLED' } } });
    const id = await asleep(bed);
    bed.runtime.answers.hook = 500;
    const { microvms } = bed.store;
    const apply = microvms.apply.bind(microvms);
    const states: string[] = [];
    microvms.apply = async (...args) => {
      const after = await apply(...args);
      states.push(after.state);
      return after;
    };
    await assert.rejects(bed.microvms.useCases.resume(id));
    assert.deepEqual(states, ['WAKING', 'SUSPENDING', 'SUSPENDED']);
  });

  test('whose hook refuses does not count: the sleep goes on and ends when it would have', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { resume: 'ENABLED' }, microvmImageHooks: { ready: 'ENABLED' } } });
    const id = await asleep(bed);
    bed.runtime.answers.hook = 500;
    const { suspendedAtMs } = await bed.microvms.useCases.get(id);
    for (let minute = 1; minute < 10; minute += 1) {
      bed.clock.advance(60_000);
      await assert.rejects(bed.microvms.traffic.connect(id, 8080, never), /Resume lifecycle hook/);
      assert.equal((await bed.microvms.useCases.get(id)).suspendedAtMs, suspendedAtMs);
    }
    const destroyed = bed.runtime.taken('destroy');
    bed.clock.advance(60_000);
    await destroyed;
    await bed.microvms.useCases.terminate(id);
    assert.match((await bed.microvms.useCases.get(id)).stateReason ?? '', /maximum suspended duration/);
  });

  test('by a request needs auto-resume', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running({ idlePolicy: null });
    await bed.microvms.useCases.suspend(id);
    await assert.rejects(bed.microvms.traffic.connect(id, 8080, never), /takes no traffic/);
    assert.equal(await bed.state(id), 'SUSPENDED');
  });
});

describe('a request', () => {
  const ask = (bed: MicrovmsBed, request: MicrovmRequest, microvmId: string): Promise<unknown> => {
    const { useCases } = bed.microvms;
    return request === 'token' ? useCases.createAuthToken({ microvmId, expirationMinutes: 1, ports: [] }) : useCases[request](microvmId);
  };
  const REFUSALS = {
    conflict: { kind: 'conflict', message: /^The MicroVM microvm-left is [A-Z]+\.$/ },
    ended: { kind: 'validation', message: 'The MicroVM microvm-left has been terminated and its state cannot be changed.' },
  };
  const BECOMES = { suspend: 'SUSPENDED', resume: 'RUNNING', terminate: 'TERMINATED' } as const;
  for (const state of MICROVM_STATES) {
    for (const request of ['suspend', 'resume', 'terminate', 'token'] as const) {
      const outcome = MICROVM_REQUESTS[state][request];
      test(`${request} in ${state}: ${outcome}`, async () => {
        await using bed = await microvmsBed();
        const id = await bed.left(state);
        if (outcome === 'conflict' || outcome === 'ended') await assert.rejects(ask(bed, request, id), REFUSALS[outcome]);
        else await ask(bed, request, id);
        assert.equal(await bed.state(id), outcome === 'do' && request !== 'token' ? BECOMES[request] : state);
        if (outcome !== 'do') assert.deepEqual(bed.runtime.steps, []);
      });
    }
  }

  test('that comes while something is under way waits for it', async () => {
    await using bed = await microvmsBed();
    const letGo = bed.runtime.hold('prepareLaunch');
    const { microvmId } = await bed.microvms.useCases.run(runInput());
    const asked = [bed.microvms.useCases.suspend(microvmId), bed.microvms.useCases.resume(microvmId), bed.microvms.useCases.suspend(microvmId)];
    letGo();
    await Promise.all(asked);
    assert.equal(await bed.state(microvmId), 'SUSPENDED');
    assert.equal((await bed.microvms.useCases.get(microvmId)).generation, 2);
  });
});

describe('what time and the guest do', () => {
  test('idleness puts it to sleep, and a long sleep ends it', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const released = bed.runtime.taken('release');
    bed.clock.advance(60_000);
    await released;
    await bed.microvms.useCases.suspend(id);
    assert.equal(await bed.state(id), 'SUSPENDED');
    const destroyed = bed.runtime.taken('destroy');
    bed.clock.advance(600_000);
    await destroyed;
    await bed.microvms.useCases.terminate(id);
    assert.match((await bed.microvms.useCases.get(id)).stateReason ?? '', /maximum suspended duration/);
  });

  test('the end of its application, or of its process, ends it with the reason', async () => {
    await using bed = await microvmsBed();
    const [one, two] = [await bed.running(), await bed.running()];
    bed.microvms.applicationExited(one, 3);
    bed.microvms.vmmDied(two, LAUNCHED);
    await Promise.all([bed.microvms.useCases.terminate(one), bed.microvms.useCases.terminate(two)]);
    assert.equal((await bed.microvms.useCases.get(one)).stateReason, 'Container Stopped with Exit Code: 3');
    assert.match((await bed.microvms.useCases.get(two)).stateReason ?? '', /ended unexpectedly/);
  });

  test('a late word of an earlier process means nothing', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    await bed.microvms.useCases.suspend(id);
    const woken = bed.microvms.useCases.resume(id);
    bed.microvms.vmmDied(id, LAUNCHED);
    await woken;
    await bed.microvms.traffic.connect(id, 8080, never);
    assert.equal(await bed.state(id), 'RUNNING');
  });

  test('one whose agent is lost ends with that reason', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    bed.microvms.agentLost(id);
    await bed.microvms.useCases.terminate(id);
    assert.match((await bed.microvms.useCases.get(id)).stateReason ?? '', /agent could not be reached/);
  });

  test('an idle suspend that takes long is not asked for again meanwhile', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const letGo = bed.runtime.hold('saveGeneration');
    const saving = bed.runtime.taken('saveGeneration');
    bed.clock.advance(60_000);
    await saving;
    bed.clock.advance(120_000);
    letGo();
    await bed.microvms.useCases.suspend(id);
    assert.equal(bed.runtime.steps.filter((step) => step.startsWith('saveGeneration')).length, 1);
  });
});

describe('a store that cannot write for a while', () => {
  test('costs no microVM: what has happened is committed when it can be', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const { microvms } = bed.store;
    const apply = microvms.apply.bind(microvms);
    let failures = 0;
    microvms.apply = async (microvmId, event, patch) => {
      if (['suspended', 'woken', 'suspendUndone'].includes(event) && (failures += 1) % 3 !== 0) throw new Error('database or disk is full');
      return apply(microvmId, event, patch);
    };
    await bed.microvms.useCases.suspend(id);
    await bed.microvms.useCases.resume(id);
    bed.runtime.failing.add('saveGeneration');
    await assert.rejects(bed.microvms.useCases.suspend(id));
    assert.equal(await bed.state(id), 'RUNNING');
    assert.equal(failures, 9);
    assert.ok(!bed.runtime.steps.some((step) => step.startsWith('destroy')));
  });
});

describe('a stop of the server', () => {
  test('leaves what it cannot wait for as it is: nothing is undone or destroyed', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const bed = await microvmsBed();
    const id = await bed.running();
    const letGo = bed.runtime.hold('saveGeneration');
    const saving = bed.runtime.taken('saveGeneration');
    void bed.microvms.useCases.suspend(id);
    await saving;
    const stopped = bed.microvms[Symbol.asyncDispose]();
    t.mock.timers.tick(30_000);
    await stopped;
    bed.runtime.failing.add('saveGeneration');
    letGo();
    // What the failure would have set off, had it not been left alone, would have its turn by now.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(bed.runtime.steps, [`saveGeneration ${id}`]);
    assert.equal(await bed.state(id), 'SUSPENDING');
    await bed.store[Symbol.asyncDispose]();
  });

  test('`lull down` launches and wakes nothing any more', async () => {
    await using bed = await microvmsBed();
    const [one, two] = [await bed.running(), await bed.running()];
    assert.equal(await bed.microvms.suspendAll(), 2);
    await assert.rejects(bed.microvms.useCases.resume(one), { kind: 'insufficient-capacity' });
    await assert.rejects(bed.microvms.traffic.connect(two, 8080, never));
    assert.deepEqual([await bed.state(one), await bed.state(two)], ['SUSPENDED', 'SUSPENDED']);
  });
});

describe('a start after a crash', () => {
  test('puts to sleep what had just refused to wake, as it is by now', async () => {
    await using bed = await microvmsBed();
    const id = await bed.left('SUSPENDING');
    await bed.store.microvms.patch(id, { suspendedAtMs: 5 });
    await bed.microvms.recover();
    const { state, suspendedAtMs, generation } = await bed.microvms.useCases.get(id);
    assert.deepEqual([state, suspendedAtMs, generation], ['SUSPENDED', 5, 2]);
    assert.deepEqual(bed.runtime.steps.slice(0, 4), ['adopt', 'undoSuspend', 'saveGeneration', 'release'].map((step) => `${step} ${id}`));
  });

  const cases: readonly LeftBehind[] = [...LEFT_BEHIND, { left: 'PENDING', alive: true, becomes: 'RUNNING' }, { left: 'TERMINATING', alive: false, becomes: 'TERMINATED' }];
  for (const found of cases) {
    const { left, becomes } = found;
    test(`makes ${becomes} of ${left} (${factsOf(found)})`, async () => {
      await using bed = await microvmsBed();
      const id = await bed.left(left);
      Object.assign(bed.runtime.answers, answersOf(found));
      await bed.microvms.recover();
      // A launch that starts over goes on behind the start.
      if (left === 'PENDING') await bed.microvms.traffic.connect(id, 8080, never);
      assert.equal(await bed.state(id), becomes);
      assert.ok(bed.runtime.steps.includes('sweep'));
    });
  }
});
