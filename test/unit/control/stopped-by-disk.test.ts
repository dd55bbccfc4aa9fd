import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { STATE_REASONS } from '../../../src/domain/microvm.ts';
import { microvmsBed, type MicrovmsBed } from './microvms-bed.ts';

const EVERY_MS = 5000;

/** Tries once more, and waits for what comes of it. */
async function tryAgain(bed: MicrovmsBed): Promise<void> {
  const taken = bed.runtime.taken('goOn');
  bed.clock.advance(EVERY_MS);
  await taken;
  await bed.microvms.stoppedByDisk.idle();
}

async function stopped(bed: MicrovmsBed): Promise<string> {
  const id = await bed.running();
  bed.runtime.diskFaults.set(id, 'failed');
  bed.microvms.stoppedByDisk.note(id);
  return id;
}

/** One that is being suspended, whose hook is called and does not answer before it is released. */
async function heldInItsHook(bed: MicrovmsBed): Promise<{ id: string; suspending: Promise<void>; release: () => void }> {
  const id = await bed.running();
  const release = bed.runtime.hold('callHook');
  const called = bed.runtime.taken('callHook');
  const suspending = bed.microvms.useCases.suspend(id);
  await called;
  return { id, suspending, release };
}

describe('a microVM whose disk fails', () => {
  it('stays RUNNING and says so, is tried again until it goes on, and then says nothing more', async () => {
    await using bed = await microvmsBed();
    const { useCases, stoppedByDisk } = bed.microvms;
    const id = await stopped(bed);
    stoppedByDisk.note(id);
    assert.equal(stoppedByDisk.count, 1);
    const { state, stateReason } = await useCases.get(id);
    assert.deepEqual([state, stateReason], ['RUNNING', STATE_REASONS.diskStopped.failed]);
    bed.runtime.failing.add('goOn');
    await tryAgain(bed);
    assert.equal(stoppedByDisk.count, 1);
    await tryAgain(bed);
    assert.equal(stoppedByDisk.count, 0);
    assert.equal((await useCases.get(id)).stateReason, null);
    assert.equal(bed.runtime.steps.filter((step) => step === `goOn ${id}`).length, 2);
  });

  it('is not suspended: neither its hook nor its agent could answer', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { suspend: 'ENABLED', terminate: 'ENABLED' } } });
    const id = await stopped(bed);
    await assert.rejects(bed.microvms.useCases.suspend(id), { kind: 'insufficient-capacity', message: STATE_REASONS.diskStopped.failed });
    assert.equal(await bed.state(id), 'RUNNING');
    assert.equal(bed.microvms.traffic.isAsleep(id), false);
    await bed.microvms.useCases.terminate(id);
    assert.deepEqual([bed.runtime.hooks, bed.microvms.stoppedByDisk.count], [[], 0]);
  });

  it('is not ended by the hook that it was stopped in', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { suspend: 'ENABLED' } } });
    const { id, suspending, release } = await heldInItsHook(bed);
    bed.runtime.diskFaults.set(id, 'full');
    bed.runtime.stops += 1;
    bed.microvms.stoppedByDisk.note(id);
    // It goes on, too late for its hook.
    bed.runtime.diskFaults.delete(id);
    bed.runtime.answers.hook = 'timeout';
    release();
    await assert.rejects(suspending, /timed out/);
    assert.equal(await bed.state(id), 'RUNNING');
  });

  it('goes on while a hook waits for it', async () => {
    await using bed = await microvmsBed({ hooks: { port: 9000, microvmHooks: { suspend: 'ENABLED' } } });
    const { id, suspending, release } = await heldInItsHook(bed);
    bed.runtime.diskFaults.set(id, 'full');
    bed.microvms.stoppedByDisk.note(id);
    await tryAgain(bed);
    assert.equal(bed.microvms.stoppedByDisk.count, 0);
    release();
    await suspending;
    assert.equal(await bed.state(id), 'SUSPENDED');
  });

  it('ends where its agent does not answer when it goes on', async () => {
    await using bed = await microvmsBed();
    const id = await stopped(bed);
    bed.runtime.failing.add('goOn');
    const taken = bed.runtime.taken('goOn');
    bed.clock.advance(EVERY_MS - 1);
    bed.runtime.diskFaults.set(id, 'full');
    const cleared = taken.then(() => bed.runtime.diskFaults.delete(id));
    bed.clock.advance(1);
    await cleared;
    await bed.microvms.stoppedByDisk.idle();
    await bed.microvms.idle();
    assert.equal((await bed.microvms.useCases.get(id)).stateReason, STATE_REASONS.agentLost);
    assert.equal(bed.microvms.stoppedByDisk.count, 0);
  });
});
