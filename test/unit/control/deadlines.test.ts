import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Deadlines } from '../../../src/control/microvms/deadlines.ts';
import type { Deadline, Microvm } from '../../../src/domain/microvm.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { microvmRecord } from '../../fakes/records.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

const running = (id: string): Microvm =>
  microvmRecord(id, {
    microvmId: id,
    state: 'RUNNING',
    idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 100, autoResumeEnabled: true },
    maximumDurationSeconds: 28_800,
    startedAtMs: 0,
    suspendedAtMs: null,
  });

function watched(act: (id: string, deadline: Deadline) => Promise<void> = async () => undefined) {
  const clock = new SteeredClock(0);
  const acts: string[] = [];
  const deadlines = new Deadlines({
    clock,
    log: SILENT,
    act: (id, deadline) => {
      acts.push(`${clock.nowMs() / 1000}s ${deadline.action} ${id}`);
      return act(id, deadline);
    },
  });
  return { clock, acts, deadlines };
}

describe('deadlines', () => {
  test('an idle microVM is suspended when its time has come, and not before', () => {
    const { clock, acts, deadlines } = watched();
    deadlines.watch(running('m'));
    clock.advance(59_999);
    assert.deepEqual(acts, []);
    clock.advance(1);
    assert.deepEqual(acts, ['60s suspend m']);
  });

  test('bytes put it off', () => {
    const { clock, acts, deadlines } = watched();
    deadlines.watch(running('m'));
    for (let second = 20; second <= 300; second += 20) {
      clock.advance(20_000);
      deadlines.touched('m');
    }
    assert.deepEqual(acts, []);
    clock.advance(60_000);
    assert.deepEqual(acts, ['360s suspend m']);
  });

  test('a sleeper is ended after its duration, and after a suspended duration of 0 at once', () => {
    const { clock, acts, deadlines } = watched();
    deadlines.watch({ ...running('m'), state: 'SUSPENDED', suspendedAtMs: 0 });
    clock.advance(100_000);
    assert.deepEqual(acts, ['100s terminate m']);
    const policy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true };
    deadlines.watch({ ...running('n'), idlePolicy: policy, state: 'SUSPENDED', suspendedAtMs: clock.nowMs() });
    clock.advance(0);
    assert.deepEqual(acts.at(-1), '100s terminate n');
  });

  test('an end that could not be carried out is tried again, once the try has ended', async () => {
    const tried = Promise.withResolvers<void>();
    const { clock, acts, deadlines } = watched(() => tried.promise);
    deadlines.watch({ ...running('m'), idlePolicy: null, maximumDurationSeconds: 60 });
    clock.advance(70_000);
    tried.reject(new Error('no room'));
    await assert.rejects(tried.promise);
    clock.advance(5000);
    assert.deepEqual(acts, ['60s terminate m', '75s terminate m']);
  });

  test('one that refuses to sleep is idle anew, and ends when its life does', async () => {
    const { clock, acts, deadlines } = watched(async (_id, { action }) => {
      if (action === 'suspend') throw new Error('its hook refused');
    });
    deadlines.watch({ ...running('m'), maximumDurationSeconds: 150 });
    for (let second = 0; second < 300; second += 10) {
      clock.advance(10_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual(acts, ['60s suspend m', '120s suspend m', '150s terminate m']);
  });

  test('nothing happens to what has ended', () => {
    const { clock, acts, deadlines } = watched();
    deadlines.watch(running('m'));
    deadlines.watch({ ...running('m'), state: 'TERMINATED' });
    clock.advance(10_000_000);
    assert.deepEqual(acts, []);
  });
});
