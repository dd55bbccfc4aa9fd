/** Every step of a microVM's life is brought to grief, on real memory, files, sockets and a real store; the VMMs are fakes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { atMost } from '../../src/lib/at-most.ts';
import type { Kind } from './outcomes.ts';
import { bringToGrief, faultsOf, OPERATIONS, subjects, trace, type Subject } from './walk.ts';

/** Engines at once: as many as the smallest machine has processors. */
const LANES = 2;
/** Within this a start is over; the slowest one says more of what else the machine does. */
const HEALTHY_LIMIT_MS = 5000;

describe('every step brought to grief', () => {
  let lanes: readonly Subject[] = [];
  before(async () => {
    lanes = await subjects(LANES);
  });
  after(async () => {
    for (const { engine } of lanes) await engine[Symbol.asyncDispose]();
  });

  for (const operation of OPERATIONS) {
    for (const kind of ['server', 'vmm', 'errno', 'full'] as const satisfies readonly Kind[]) {
      it(`${operation.name}: ${kind}`, async (test) => {
        const steps = await trace(lanes[0]!, operation);
        const faults = faultsOf(kind, steps);
        const failures: string[] = [];
        const queue = faults.values();
        await atMost(LANES, lanes, async (lane) => {
          for (const fault of queue) {
            await bringToGrief(lane, operation, { kind, fault }).catch(async (error: Error) => {
              failures.push(error.message);
              await lane.startOver();
            });
          }
        });
        test.diagnostic(`${steps.length} steps, ${faults.length} faults`);
        assert.deepEqual(failures, []);
      });
    }
  }

  it('is healthy soon after each of them', async (test) => {
    const startMs = lanes.flatMap(({ engine }) => engine.startMs).toSorted((a, b) => a - b);
    const median = startMs[startMs.length >> 1]!;
    test.diagnostic(`${startMs.length} starts: half of them within ${Math.round(median)} ms, the slowest ${Math.round(startMs.at(-1)!)} ms`);
    assert.ok(median < HEALTHY_LIMIT_MS);
  });
});
