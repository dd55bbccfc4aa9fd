import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  MICROVM_EVENTS,
  MICROVM_REQUESTS,
  MICROVM_STATES,
  MICROVM_STATE_RULES,
  MICROVM_TRANSITIONS,
  nextDeadline,
  nextState,
  wireState,
  type Microvm,
  type MicrovmEvent,
  type MicrovmState,
} from '../../../src/domain/microvm.ts';
import { microvmRecord } from '../../fakes/records.ts';

const EVENTS = Object.keys(MICROVM_EVENTS) as MicrovmEvent[];

/** The whole table once more, written down as what is allowed: a change must be made twice, and thought about. */
const ALLOWED = [
  'PENDING launched RUNNING',
  'PENDING launchFailed TERMINATED',
  'PENDING terminate TERMINATING',
  'PENDING died TERMINATED',
  'RUNNING suspend SUSPENDING',
  'RUNNING terminate TERMINATING',
  'RUNNING died TERMINATED',
  'SUSPENDING suspended SUSPENDED',
  'SUSPENDING suspendUndone RUNNING',
  'SUSPENDING terminate TERMINATING',
  'SUSPENDING died TERMINATED',
  'SUSPENDED wake WAKING',
  'SUSPENDED terminate TERMINATING',
  'WAKING woken RUNNING',
  'WAKING resumeRefused SUSPENDING',
  'WAKING wakeUndone SUSPENDED',
  'WAKING wakeLost TERMINATED',
  'WAKING terminate TERMINATING',
  'WAKING died TERMINATED',
  'TERMINATING terminated TERMINATED',
];

describe('the states of a microVM', () => {
  test('every pair of state and event is allowed exactly as written', () => {
    const found = MICROVM_STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const next = nextState(state, event);
        return next === undefined ? [] : [`${state} ${event} ${next}`];
      }),
    );
    assert.deepEqual(found.toSorted(), ALLOWED.toSorted());
  });

  test('TERMINATED is final, and every other state has a way there', () => {
    assert.deepEqual(MICROVM_TRANSITIONS.TERMINATED, {});
    for (const start of MICROVM_STATES) {
      const seen = new Set([start]);
      for (const state of seen) for (const next of Object.values(MICROVM_TRANSITIONS[state])) seen.add(next);
      assert.ok(seen.has('TERMINATED'), `${start} never ends`);
    }
  });

  test('a process may exist in a state exactly where the way there has started one and none has ended it', () => {
    for (const state of MICROVM_STATES) {
      assert.equal(MICROVM_STATE_RULES[state].live, state !== 'SUSPENDED' && state !== 'TERMINATED');
    }
  });

  test('WAKING is shown as SUSPENDED, every other state as itself', () => {
    for (const state of MICROVM_STATES) assert.equal(wireState(state), state === 'WAKING' ? 'SUSPENDED' : state);
  });

  test('memory counts until the end is asked for', () => {
    const counting = MICROVM_STATES.filter((state) => MICROVM_STATE_RULES[state].countsMemory);
    assert.deepEqual(counting, ['PENDING', 'RUNNING', 'SUSPENDING', 'SUSPENDED', 'WAKING']);
  });
});

describe('what may be asked of a microVM in each state', () => {
  /** Sections 1.6, 3.1 and 13; once more, as with the states: suspend, resume, terminate, token. */
  const EXPECTED: Record<MicrovmState, string> = {
    PENDING: 'conflict conflict do do',
    RUNNING: 'do nothing do do',
    SUSPENDING: 'conflict conflict do do',
    SUSPENDED: 'nothing do do do',
    WAKING: 'conflict conflict do do',
    TERMINATING: 'ended ended do ended',
    TERMINATED: 'ended ended nothing ended',
  };
  for (const state of MICROVM_STATES) {
    test(`${state}: ${EXPECTED[state]}`, () => {
      const { suspend, resume, terminate, token } = MICROVM_REQUESTS[state];
      assert.equal([suspend, resume, terminate, token].join(' '), EXPECTED[state]);
    });
  }
});

const START = 1_000_000;
const microvm = (change: Partial<Microvm>): Microvm =>
  microvmRecord('m', {
    state: 'RUNNING',
    idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 100, autoResumeEnabled: true },
    maximumDurationSeconds: 1000,
    startedAtMs: START,
    suspendedAtMs: null,
    ...change,
  });

describe('what time alone does (contract reference, 3.2 and 3.3)', () => {
  const due = (of: Microvm, lastActivityMs: number) => nextDeadline(of, { lastActivityMs, nowMs: START });

  test('idle for the policy is asleep', () => {
    const deadline = due(microvm({}), START + 5000);
    assert.deepEqual([deadline?.atMs, deadline?.action], [START + 65_000, 'suspend']);
  });

  test('without a policy only the end of its life comes', () => {
    const deadline = due(microvm({ idlePolicy: null }), START);
    assert.deepEqual([deadline?.atMs, deadline?.action], [START + 1_000_000, 'terminate']);
  });

  test('the maximum duration wins over a later idleness, and counts sleep', () => {
    const deadline = due(microvm({}), START + 990_000);
    assert.deepEqual([deadline?.atMs, deadline?.action], [START + 1_000_000, 'terminate']);
    const asleep = microvm({ state: 'SUSPENDED', suspendedAtMs: START + 950_000 });
    assert.equal(due(asleep, 0)?.atMs, START + 1_000_000);
  });

  test('an end that is due wins over an idleness that was due before', () => {
    const times = { lastActivityMs: START, nowMs: START + 999_999 };
    assert.equal(nextDeadline(microvm({}), times)?.action, 'suspend');
    assert.equal(nextDeadline(microvm({}), { ...times, nowMs: START + 1_000_000 })?.action, 'terminate');
  });

  test('a sleep ends after its duration, and at once where that is 0', () => {
    const asleep = microvm({ state: 'SUSPENDED', suspendedAtMs: START + 10_000 });
    assert.deepEqual(due(asleep, 0)?.atMs, START + 110_000);
    const policy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true };
    assert.equal(due({ ...asleep, idlePolicy: policy }, 0)?.atMs, START + 10_000);
  });

  test('what has ended or is ending waits for nothing', () => {
    assert.equal(due(microvm({ state: 'TERMINATED' }), START), null);
    assert.equal(due(microvm({ state: 'TERMINATING' }), START), null);
  });
});
