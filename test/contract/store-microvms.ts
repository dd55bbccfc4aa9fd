/** The contract of `Store.microvms`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MICROVM_EVENTS, MICROVM_STATE_RULES, MICROVM_STATES, nextState, type Microvm, type MicrovmEvent } from '../../src/domain/microvm.ts';
import type { Store } from '../../src/domain/ports.ts';
import { insertLaunchable, LAUNCHABLE, microvmRecord, versionRecord } from '../fakes/records.ts';

const FULL: Microvm = microvmRecord('full', {
  state: 'RUNNING',
  stateReason: 'because',
  executionRoleArn: 'arn:aws:iam::000000000000:role/run',
  idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true },
  ingressConnectors: ['in'],
  egressConnectors: ['out', 'out2'],
  logging: { cloudWatch: { logGroup: 'group' } },
  runHookPayload: '{"ключ":"🙂"}',
  clientToken: 'token',
  requestFingerprint: 'f',
  suspendedAtMs: 2,
  terminatedAtMs: 3,
  generation: 4,
  lastGeneration: 5,
  process: { pid: 42, startTicks: 123_456_789_012, bootId: 'boot' },
});

export function microvmContract(open: () => Promise<Store>): void {
  test('what is inserted comes back the same by id, endpoint and client token', async () => {
    await using store = await open();
    await insertLaunchable(store);
    const bare = microvmRecord('bare', { logging: { disabled: {} } });
    await store.microvms.insert(FULL);
    await store.microvms.insert(bare);
    assert.deepEqual(await store.microvms.get(FULL.microvmId), FULL);
    assert.deepEqual(await store.microvms.get(bare.microvmId), bare);
    assert.deepEqual(await store.microvms.byEndpoint(FULL.endpointId), FULL);
    assert.deepEqual(await store.microvms.byClientToken('token'), FULL);
  });

  test('what is not there is undefined', async () => {
    await using store = await open();
    assert.equal(await store.microvms.get('microvm-none'), undefined);
    assert.equal(await store.microvms.byEndpoint('none'), undefined);
    assert.equal(await store.microvms.byClientToken('none'), undefined);
    assert.deepEqual(await store.microvms.inStates([]), []);
    assert.equal(await store.microvms.allocatedMib(), 0);
  });

  test('a client token, an id and an endpoint are taken once; many microVMs have no token', async () => {
    await using store = await open();
    await insertLaunchable(store);
    await store.microvms.insert(FULL);
    await assert.rejects(store.microvms.insert(microvmRecord('b', { clientToken: 'token' })), { kind: 'conflict', message: /client token token/ });
    await assert.rejects(store.microvms.insert(microvmRecord('full')), { kind: 'conflict' });
    await assert.rejects(store.microvms.insert(microvmRecord('c', { endpointId: FULL.endpointId })), { kind: 'conflict' });
    await store.microvms.insert(microvmRecord('d'));
    await store.microvms.insert(microvmRecord('e'));
  });

  test('only what may be launched in the moment of the insert takes a new microVM', async () => {
    await using store = await open();
    const refused = async (version: string) => {
      const microvm = microvmRecord('a', { imageVersion: version, snapshotId: `snapshot-app-${version}` });
      await assert.rejects(store.microvms.insert(microvm), { kind: 'not-found', message: `No active version found for MicroVM image ${microvm.imageArn} and version ${version}` });
      assert.equal(await store.microvms.get('microvm-a'), undefined);
    };
    await refused('1.0');
    await insertLaunchable(store);
    await store.images.update('app', '1.0', { version: { status: 'INACTIVE' } });
    await refused('1.0');
    await store.images.update('app', '1.0', { version: { status: 'ACTIVE' } });
    for (const [number, state] of [['2.0', 'IN_PROGRESS'], ['3.0', 'FAILED']] as const) {
      await store.images.addVersion(versionRecord('app', number, { ...LAUNCHABLE, state }), 'UPDATED');
      await refused(number);
    }
    assert.equal(await store.images.markDeleting('app', 1), 'deleting');
    await refused('1.0');
    await store.images.remove('app');
    await refused('1.0');
  });

  for (const state of MICROVM_STATES) {
    test(`events in ${state}: the table of states decides, and a refusal changes nothing`, async () => {
      await using store = await open();
      await insertLaunchable(store);
      for (const event of Object.keys(MICROVM_EVENTS) as MicrovmEvent[]) {
        const before = microvmRecord(`${state}-${event}`, { state });
        await store.microvms.insert(before);
        const expected = nextState(state, event);
        if (expected === undefined) {
          const refused = store.microvms.apply(before.microvmId, event, { stateReason: 'never', process: FULL.process });
          await assert.rejects(refused, { kind: 'conflict' });
          assert.deepEqual(await store.microvms.get(before.microvmId), before);
        } else {
          const after = await store.microvms.apply(before.microvmId, event, { stateReason: 'done', process: FULL.process });
          assert.deepEqual(after, { ...before, state: expected, stateReason: 'done', process: FULL.process });
          assert.deepEqual(await store.microvms.get(before.microvmId), after);
        }
      }
    });
  }

  test('a patch changes its fields only, also back to null', async () => {
    await using store = await open();
    await insertLaunchable(store);
    await store.microvms.insert(FULL);
    const after = await store.microvms.patch(FULL.microvmId, { process: null, stateReason: null });
    assert.deepEqual(after, { ...FULL, process: null, stateReason: null });
    assert.deepEqual(await store.microvms.patch(FULL.microvmId, {}), after);
  });

  test('events and patches of an unknown microVM are refused in AWS’s words', async () => {
    await using store = await open();
    const refusal = { kind: 'not-found', message: 'MicroVM not found: microvm-none' };
    await assert.rejects(store.microvms.apply('microvm-none', 'launched'), refusal);
    await assert.rejects(store.microvms.patch('microvm-none', {}), refusal);
  });

  test('generation numbers are never used twice, and none is ahead of the highest taken', async () => {
    await using store = await open();
    await insertLaunchable(store);
    await store.microvms.insert(FULL);
    await assert.rejects(store.microvms.apply(FULL.microvmId, 'suspend', { lastGeneration: 4 }), { kind: 'conflict' });
    await assert.rejects(store.microvms.patch(FULL.microvmId, { generation: 6 }));
    assert.deepEqual(await store.microvms.get(FULL.microvmId), FULL);
  });

  test('of two events at once that exclude each other one wins', async () => {
    await using store = await open();
    await insertLaunchable(store);
    await store.microvms.insert(FULL);
    const results = await Promise.allSettled([store.microvms.apply(FULL.microvmId, 'suspend'), store.microvms.apply(FULL.microvmId, 'suspend')]);
    assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected']);
  });

  test('listings: newest first, page by page, filtered by image and version', async () => {
    await using store = await open();
    await insertLaunchable(store);
    for (let n = 0; n < 7; n += 1) {
      await store.microvms.insert(microvmRecord(`${n}`, { imageArn: n % 2 === 0 ? 'even' : 'odd', imageVersion: n < 4 ? '1.0' : '2.0' }));
    }
    const ids = async (filter: { imageArn?: string; imageVersion?: string }, limit = 10) => {
      const seen: string[][] = [];
      let after: string | undefined;
      for (;;) {
        const page = await store.microvms.list(filter, { limit, after });
        seen.push(page.items.map(({ microvmId }) => microvmId.replace('microvm-', '')));
        if (page.next === null) return seen;
        after = page.next;
      }
    };
    assert.deepEqual(await ids({}, 3), [['6', '5', '4'], ['3', '2', '1'], ['0']]);
    assert.deepEqual(await ids({}, 7), [['6', '5', '4', '3', '2', '1', '0']]);
    assert.deepEqual(await ids({ imageArn: 'even' }, 3), [['6', '4', '2'], ['0']]);
    assert.deepEqual(await ids({ imageVersion: '2.0' }), [['6', '5', '4']]);
    assert.deepEqual(await ids({ imageArn: 'odd', imageVersion: '1.0' }), [['3', '1']]);
    assert.deepEqual(await ids({ imageArn: 'none' }), [[]]);
  });

  test('a page position that was never given out is refused', async () => {
    await using store = await open();
    for (const after of ['', '0', '-1', 'x', '1.5', '99999999999999999', "1' OR 1"]) {
      await assert.rejects(store.microvms.list({}, { limit: 1, after }), { kind: 'validation' });
    }
  });

  test('inStates and allocatedMib follow the table', async () => {
    await using store = await open();
    await insertLaunchable(store);
    for (const [n, state] of MICROVM_STATES.entries()) await store.microvms.insert(microvmRecord(state, { state, baselineMib: 2 ** n }));
    const counted = MICROVM_STATES.reduce((sum, state, n) => sum + (MICROVM_STATE_RULES[state].countsMemory ? 2 ** n : 0), 0);
    assert.equal(await store.microvms.allocatedMib(), counted);
    const { baselineMib } = await store.microvms.apply('microvm-RUNNING', 'terminate');
    assert.equal(await store.microvms.allocatedMib(), counted - baselineMib);
    await store.microvms.apply('microvm-SUSPENDED', 'wake');
    await store.microvms.patch('microvm-PENDING', { stateReason: 'none' });
    assert.equal(await store.microvms.allocatedMib(), counted - baselineMib);
    const found = await store.microvms.inStates(['WAKING', 'SUSPENDING']);
    assert.deepEqual(found.map(({ state }) => state).toSorted(), ['SUSPENDING', 'WAKING', 'WAKING']);
  });

  test('they are counted by state, those that have ended excepted', async () => {
    await using store = await open();
    await insertLaunchable(store);
    for (const [n, state] of [...MICROVM_STATES, 'WAKING' as const].entries()) await store.microvms.insert(microvmRecord(`${n}`, { state }));
    await store.microvms.insert(microvmRecord('ends', { state: 'PENDING' }));
    await store.microvms.apply('microvm-ends', 'launchFailed');
    assert.deepEqual(await store.microvms.countByState(), { PENDING: 1, RUNNING: 1, SUSPENDING: 1, SUSPENDED: 1, WAKING: 2, TERMINATING: 1 });
  });
}
