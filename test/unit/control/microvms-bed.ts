/** The microVM use-cases over a real store, with a runtime and a clock that the test steers. */
import type { RunMicrovmInput } from '../../../src/control/control-plane.ts';
import { HOLD_LIMITS, type HoldLimits } from '../../../src/control/microvms/holds.ts';
import { Microvms } from '../../../src/control/microvms/use-cases.ts';
import { createPassRole } from '../../../src/control/roles/pass-role.ts';
import { DEFAULT_REALM, imageArn } from '../../../src/domain/ids.ts';
import type { OnSuspendHookFailure } from '../../../src/domain/hooks.ts';
import type { HooksConfig } from '../../../src/domain/image.ts';
import type { MicrovmState } from '../../../src/domain/microvm.ts';
import type { Store } from '../../../src/domain/ports.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { openStore } from '../../../src/store/store.ts';
import { FakeMicrovmRuntime } from '../../fakes/microvm-runtime.ts';
import { imageConfig, insertLaunchable, microvmRecord } from '../../fakes/records.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

export const APP_ARN = imageArn(DEFAULT_REALM, 'app');

export const runInput = (fields: Partial<RunMicrovmInput> = {}): RunMicrovmInput => ({
  imageIdentifier: APP_ARN,
  imageVersion: null,
  executionRoleArn: null,
  idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 600, autoResumeEnabled: true },
  maximumDurationSeconds: 28_800,
  runHookPayload: null,
  ingressConnectors: null,
  egressConnectors: null,
  logging: null,
  clientToken: null,
  ...fields,
});

export interface BedOptions {
  readonly hooks?: HooksConfig;
  readonly memoryQuotaMib?: number;
  readonly availableMib?: number;
  readonly onSuspendHookFailure?: OnSuspendHookFailure;
  readonly holdLimits?: HoldLimits;
}

export interface MicrovmsBed extends AsyncDisposable {
  readonly store: Store;
  readonly runtime: FakeMicrovmRuntime;
  readonly clock: SteeredClock;
  readonly microvms: Microvms;
  /** Connections that the data plane was told to forget, by microVM. */
  readonly forgotten: string[];
  /** Snapshots that a microVM rested on which has ended. */
  readonly ended: string[];
  /** Launches, suspends and wakes that are over. */
  readonly operations: string[];
  state(microvmId: string): Promise<MicrovmState>;
  /** A microVM that is RUNNING. @returns its id */
  running(fields?: Partial<RunMicrovmInput>): Promise<string>;
  /** A record as a server that died left it. @returns its id */
  left(state: MicrovmState): Promise<string>;
}

/** Opens a bed whose store holds one image, `app`, with one active version of 512 MiB. */
export async function microvmsBed({ hooks, memoryQuotaMib = 4096, availableMib = 4096, onSuspendHookFailure = 'terminate', holdLimits = HOLD_LIMITS }: BedOptions = {}): Promise<MicrovmsBed> {
  const store = await openStore({ path: ':memory:' });
  await insertLaunchable(store, 'app', { config: imageConfig({ hooks: hooks ?? null }) });
  const runtime = new FakeMicrovmRuntime();
  const clock = new SteeredClock(1_000_000);
  const forgotten: string[] = [];
  const ended: string[] = [];
  const operations: string[] = [];
  let serial = 0;
  let secrets = 0;
  const microvms = new Microvms({
    store,
    runtime,
    clock,
    tokens: { issue: async (claims) => JSON.stringify(claims), open: async () => undefined },
    log: SILENT,
    random: { uuid: () => `uuid-${(serial += 1)}`, bytes: (length) => Buffer.alloc(length, (secrets += 1)) },
    realm: DEFAULT_REALM,
      passRole: createPassRole({ roles: store.roles, realm: DEFAULT_REALM, check: 'own-account' }),
    capacity: { availableMib: () => availableMib },
    memoryQuotaMib,
    hookTimeoutScale: 10,
    onSuspendHookFailure,
    holdLimits,
    forgetConnections: (id) => forgotten.push(id),
    onEnd: ({ snapshotId }) => ended.push(snapshotId),
    onOperation: (operation, steps) => operations.push(steps === undefined ? `${operation} failed` : operation),
  });
  const state = async (id: string) => (await store.microvms.get(id))!.state;
  return {
    store,
    runtime,
    clock,
    microvms,
    forgotten,
    ended,
    operations,
    state,
    running: async (fields) => {
      const { microvmId } = await microvms.useCases.run(runInput(fields));
      await microvms.traffic.connect(microvmId, 8080, new AbortController().signal);
      runtime.steps.length = 0;
      return microvmId;
    },
    left: async (left) => {
      const process = { pid: 9, startTicks: 9, bootId: 'boot' };
      const record = microvmRecord('left', { state: left, process, lastGeneration: 1, suspendedAtMs: left === 'SUSPENDED' ? clock.nowMs() : null });
      await store.microvms.insert({ ...record, startedAtMs: clock.nowMs() });
      return record.microvmId;
    },
    [Symbol.asyncDispose]: async () => {
      await microvms[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}
