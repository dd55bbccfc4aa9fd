/** The ten points at which most can be lost, on real virtual machines: each is brought to grief by a kill and by a failing call. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { MicrovmState } from '../../src/domain/microvm.ts';
import { isHalvable, type Fault } from '../faults/fault-port.ts';
import { OUTCOMES, type OperationName, type Outcomes } from '../faults/outcomes.ts';
import { cannotServe } from './lull-server.ts';
import { SteeredServer } from './steered-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
/** Within this a start is over; the slowest one says more of what else the machine does. */
const HEALTHY_LIMIT_MS = 5000;

/** What comes to grief, and how. */
const FAULTS = ['EIO', 'vmm', 'server'] as const;

const PUBLISH = 'rename images/*/manifest.json.tmp to images/*/manifest.json';
const COMPLETE = 'rename microvms/microvm-*/gen-*/manifest.json.tmp to microvms/microvm-*/gen-*/manifest.json';
const ACKNOWLEDGED = 'commit update microvms SUSPENDED';

interface DangerousPoint {
  readonly operation: OperationName;
  readonly step: string;
  readonly why: string;
  /** What it comes to after each fault, in their order. */
  readonly ends: readonly [eio: MicrovmState, vmm: MicrovmState, server: MicrovmState];
}

const POINTS: readonly DangerousPoint[] = [
  { operation: 'launch', step: 'vmm prepare', why: 'a VMM is there of which no row knows', ends: ['TERMINATED', 'TERMINATED', 'RUNNING'] },
  { operation: 'launch', step: 'agent hello', why: 'the application runs, and its launch is not committed', ends: ['TERMINATED', 'TERMINATED', 'RUNNING'] },
  { operation: 'suspend', step: 'write microvms/microvm-*/gen-*/memory.diff', why: 'the machine stands still, and half of its memory is on disk', ends: ['RUNNING', 'SUSPENDED', 'RUNNING'] },
  { operation: 'suspend', step: COMPLETE, why: 'the generation is complete, and its row does not say so', ends: ['RUNNING', 'SUSPENDED', 'RUNNING'] },
  { operation: 'suspend', step: ACKNOWLEDGED, why: 'it is acknowledged, and the VMM still lives', ends: ['SUSPENDED', 'SUSPENDED', 'SUSPENDED'] },
  { operation: 'resume', step: 'apply to the process microvms/microvm-*/gen-*/memory.diff', why: 'the pages are in a process of which no row knows', ends: ['SUSPENDED', 'SUSPENDED', 'SUSPENDED'] },
  { operation: 'resume', step: 'commit update microvms WAKING', why: 'the disk may move on from here, and nobody has dialled', ends: ['SUSPENDED', 'SUSPENDED', 'RUNNING'] },
  { operation: 'terminate', step: 'vmm kill', why: 'the machine is gone, and its row does not say so', ends: ['TERMINATED', 'TERMINATED', 'TERMINATED'] },
];

describe('the most dangerous points, on real virtual machines', { skip: await cannotServe() }, () => {
  let server: SteeredServer;
  before(async () => {
    server = await SteeredServer.start();
  });
  after(() => server?.[Symbol.asyncDispose]());

  /** Brings what `act` does to grief, and lets the server, or the next one, mend it. */
  async function bringToGrief(fault: Fault, act: () => Promise<unknown>): Promise<void> {
    await server.begin(fault);
    const acted = act();
    if (fault.what.startsWith('server') || fault.what === 'power') {
      const failed = assert.rejects(acted);
      await server.killed();
      await failed.catch(() => undefined);
      if (fault.what !== 'power') await server.up();
      return;
    }
    await acted.catch(() => undefined);
    await server.aMinute();
    assert.ok(await server.wasHit(), 'the point is reached');
    await server.begin(null);
  }

  it(`build: ${PUBLISH}`, async () => {
    for (const what of FAULTS) {
      const name = what === 'vmm' ? 'probe' : `probe-${what}`;
      let outcome: Awaited<ReturnType<typeof server.lull.build>> | undefined;
      await bringToGrief({ point: { name: PUBLISH, nth: 1 }, what }, async () => (outcome = await server.lull.build(name, PROBE)));
      const { imageState } = outcome ?? { imageState: (await server.lull.lambda.getMicrovmImage({ imageIdentifier: name })).state };
      // Its VMM had done its part by then.
      assert.equal(imageState, what === 'vmm' ? 'CREATED' : 'CREATE_FAILED');
      assert.deepEqual(await server.strays(), []);
    }
  });

  for (const { operation, step, why, ends } of POINTS) {
    it(`${operation}: ${step}: ${why}`, async () => {
      for (const [at, what] of FAULTS.entries()) {
        const subject = new Subject(server);
        await subject.be(operation);
        const half = what === 'server' && isHalvable({ kind: step.split(' ')[0]! });
        await bringToGrief({ point: { name: step, nth: 1 }, what: half ? 'server half-way' : what }, () => subject.act(operation));
        const kind = what === 'EIO' ? 'errno' : what;
        assert.equal(await subject.check(OUTCOMES[operation][kind]), ends[at], what);
      }
    });
  }

  it(`start: ${ACKNOWLEDGED}: a complete suspend is rolled forward`, async () => {
    const subject = new Subject(server);
    await subject.be('suspend');
    await bringToGrief({ point: { name: COMPLETE, nth: 1 }, what: 'power' }, () => subject.act('suspend'));
    await assert.rejects(server.up({ point: { name: ACKNOWLEDGED, nth: 1 }, what: 'server' }), /the process ended before/);
    await server.up();
    assert.equal(await subject.check({ SUSPENDED: null }), 'SUSPENDED');
  });

  it('is healthy soon after each of them', (test) => {
    const startMs = server.startMs.toSorted((a, b) => a - b);
    const median = startMs[startMs.length >> 1]!;
    test.diagnostic(`${startMs.length} starts: half of them within ${Math.round(median)} ms, the slowest ${Math.round(startMs.at(-1)!)} ms`);
    assert.ok(median < HEALTHY_LIMIT_MS);
  });
});

/** One microVM, and what its application has acknowledged: a count in its memory, as many lines on its disk. */
class Subject {
  readonly #server: SteeredServer;
  #microvm: TestMicrovm | undefined;
  #acknowledged = 0;

  constructor(server: SteeredServer) {
    this.#server = server;
  }

  /** Brings it into the state that an operation begins with. */
  async be(operation: OperationName): Promise<void> {
    if (operation === 'launch') return;
    await this.#launched();
    await this.#count();
    if (operation === 'resume') await this.#microvm!.suspend();
  }

  async act(operation: OperationName): Promise<void> {
    if (operation === 'launch') return await this.#launched();
    const { lambda } = this.#server.lull;
    const microvmIdentifier = this.#microvm!.id;
    if (operation === 'suspend') await lambda.suspendMicrovm({ microvmIdentifier });
    else if (operation === 'resume') await lambda.resumeMicrovm({ microvmIdentifier });
    else if (operation === 'terminate') await lambda.terminateMicrovm({ microvmIdentifier });
  }

  /** Fails where it is in none of the states, has lost anything, or something is left without an owner. Ends it. @returns its state */
  async check(outcomes: Outcomes): Promise<string> {
    const microvm = this.#microvm!;
    await microvm.settled();
    // The end of a process is told a moment after it.
    if ((await microvm.state()) === 'RUNNING' && (await microvm.vmm()) === undefined) await microvm.until('TERMINATED');
    const { state, stateReason } = await microvm.get();
    const reason = outcomes[state!];
    assert.ok(reason !== undefined, `${state} (${stateReason})`);
    if (reason !== null) assert.match(stateReason ?? '', reason);
    assert.deepEqual(await this.#server.strays(), []);
    if (state === 'TERMINATED') return state;
    await this.#count();
    await microvm.terminate();
    assert.deepEqual(await this.#server.strays(), [], 'after its end');
    return state!;
  }

  async #launched(): Promise<void> {
    this.#microvm = await this.#server.lull.run('probe', { idlePolicy: WAKES_BY_TRAFFIC });
    await this.#microvm.settled();
  }

  async #count(): Promise<void> {
    const before = this.#acknowledged;
    const { counter } = await this.#microvm!.json<{ counter: number }>('/count');
    const { lines } = await this.#microvm!.json<{ lines: string[] }>(`/append?${counter}`);
    assert.deepEqual([counter, lines.length], [before + 1, before + 1]);
    this.#acknowledged = counter;
  }
}
