/** The microVM operations of the API, and what runs behind them. */
import type { OnSuspendHookFailure } from '../../domain/hooks.ts';
import { managedConnectorOf } from '../../domain/ids.ts';
import { MICROVM_STATES, STATE_REASONS, type Microvm, type ProcessIdentity } from '../../domain/microvm.ts';
import { allIngressCombined, requireAllowed, shellIngressRequired, tokenTooLong } from '../../domain/refusals.ts';
import type { Clock, EndpointTokens, MicrovmRuntime, Store } from '../../domain/ports.ts';
import { atMost } from '../../lib/at-most.ts';
import { within } from '../../lib/deadline.ts';
import type { Log } from '../../lib/log.ts';
import type { MicrovmUseCases } from '../control-plane.ts';
import { Deadlines } from './deadlines.ts';
import { ExecutionRoles } from './execution-role.ts';
import type { HoldLimits } from './holds.ts';
import { RuntimeHooks } from './hooks.ts';
import { Lifecycle, type OperationEnded } from './lifecycle.ts';
import { Admission, type AdmissionParts } from './run.ts';
import { StoppedByDisk } from './stopped-by-disk.ts';
import { Traffic } from './traffic.ts';

export interface MicrovmParts extends AdmissionParts {
  readonly store: Store;
  readonly runtime: MicrovmRuntime;
  readonly tokens: EndpointTokens;
  readonly clock: Clock;
  readonly log: Log;
  readonly hookTimeoutScale: number;
  readonly onSuspendHookFailure: OnSuspendHookFailure;
  /** What may wait for microVMs that do not run yet. */
  readonly holdLimits?: HoldLimits;
  /** Called before a microVM stops taking traffic: connections kept to it are stale from then on. */
  readonly forgetConnections: (microvmId: string) => void;
  /** Called when a microVM has ended, and rests on its image's files no more. */
  readonly onEnd: (microvm: Microvm) => void;
  readonly onOperation: OperationEnded;
}

/** Section 6.1. */
const MAX_TOKEN_MINUTES = 60;

/** How long a stop waits for launches, suspends and wakes that are under way. */
const STOP_LIMIT_MS = 30_000;

/** Each greets an agent, which must answer in time: under emulation many at once would make each other late. */
const RECOVERIES_AT_ONCE = 4;

/** How many microVMs `lull down` puts to sleep at once. */
const SUSPENDS_AT_ONCE = 2;

/** Microvms: the use-cases, the traffic behind the endpoints, and the server's own start and end. */
export class Microvms implements AsyncDisposable {
  readonly useCases: MicrovmUseCases;
  readonly traffic: Traffic;
  readonly stoppedByDisk: StoppedByDisk;
  readonly #store: Store;
  readonly #runtime: MicrovmRuntime;
  readonly #lifecycle: Lifecycle;
  readonly #deadlines: Deadlines;
  readonly #log: Log;

  constructor(parts: MicrovmParts) {
    const { store, runtime, clock, log } = parts;
    this.#store = store;
    this.#runtime = runtime;
    this.#log = log;
    const hooks = new RuntimeHooks(store.images, runtime, parts.hookTimeoutScale);
    const { capacity, onSuspendHookFailure, onOperation } = parts;
    const lifecycle = new Lifecycle({ microvms: store.microvms, runtime, hooks, clock, log, capacity, onSuspendHookFailure, onOperation });
    this.#lifecycle = lifecycle;
    this.#deadlines = new Deadlines({
      clock,
      log,
      act: (microvmId, deadline) =>
        deadline.action === 'suspend'
          ? lifecycle.suspend(microvmId, { isWanted: () => this.#deadlines.isIdle(microvmId) })
          : lifecycle.terminate(microvmId, { reason: deadline.reason }),
    });
    const roles = new ExecutionRoles({ microvms: store.microvms, accessKeys: store.accessKeys, clock, random: parts.random });
    lifecycle.onTraffic((microvmId, passes) => {
      if (!passes) parts.forgetConnections(microvmId);
    });
    lifecycle.onChange((microvm) => {
      if (microvm.state === 'TERMINATED') this.#revokeKeys(roles, microvm.microvmId);
      if (microvm.state === 'TERMINATED') this.stoppedByDisk.forget(microvm.microvmId);
      if (microvm.state === 'TERMINATED') parts.onEnd(microvm);
      this.#deadlines.watch(microvm);
    });
    this.stoppedByDisk = new StoppedByDisk({ runtime, clock, log, onLost: (microvmId) => this.agentLost(microvmId) });
    const { holdLimits } = parts;
    this.traffic = new Traffic({ microvms: store.microvms, runtime, lifecycle, deadlines: this.#deadlines, clock, holdLimits });
    this.useCases = useCasesOf(parts, lifecycle, roles);
  }

  #revokeKeys(roles: ExecutionRoles, microvmId: string): void {
    roles.revoke(microvmId).catch((error: unknown) => {
      this.#log.error({ microvmId, err: error }, 'the temporary keys of a microVM that has ended could not be revoked: they expire');
    });
  }

  /** Called by the runtime's observer. */
  vmmDied(microvmId: string, process: ProcessIdentity): void {
    this.#lifecycle.vmmDied(microvmId, process).catch((error: unknown) => {
      this.#log.error({ microvmId, err: error }, 'the end of a process could not be committed');
    });
  }

  /** Called by the runtime's observer: its agent cannot be reached any more, so it can neither be asked nor saved. */
  agentLost(microvmId: string): void {
    // Its process has ended meanwhile, in the turn of somebody who knows why.
    if (!this.#runtime.holds(microvmId)) return;
    this.#lifecycle.terminate(microvmId, { reason: STATE_REASONS.agentLost, isAnswering: false }).catch((error: unknown) => {
      this.#log.error({ microvmId, err: error }, 'a microVM without its agent could not be terminated');
    });
  }

  /** Called by the runtime's observer: the end of the application is the end of its microVM, without `/terminate` (section 3.1). */
  applicationExited(microvmId: string, exitCode: number): void {
    const reason = STATE_REASONS.containerExited(exitCode);
    this.#lifecycle.terminate(microvmId, { reason, isAnswering: false }).catch((error: unknown) => {
      this.#log.error({ microvmId, err: error }, 'a microVM whose application ended could not be terminated');
    });
  }

  /** Brings the store and the world together after a start: finishes, undoes, adopts, sweeps. */
  async recover(): Promise<void> {
    const unfinished = await this.#store.microvms.inStates(MICROVM_STATES.filter((state) => state !== 'TERMINATED'));
    await atMost(RECOVERIES_AT_ONCE, unfinished, (microvm) => this.#lifecycle.recover(microvm));
    const swept = await this.#runtime.sweep(new Set(unfinished.map((microvm) => microvm.microvmId)));
    // Only now: the sweep would take what is being made for something that nobody owns.
    for (const { microvmId, state } of unfinished) if (state === 'PENDING') this.#lifecycle.startLaunch(microvmId);
    if (swept.length > 0) this.#log.warn({ microvmIds: swept }, 'removed what belonged to no microVM');
  }

  /** For the {@link Reconciler}; those with which something is under way are passed over. */
  async reconcile(): Promise<ReadonlyMap<string, readonly string[]>> {
    // Looked for first: what is there and has no row by then never gets one.
    const present = await this.#runtime.present();
    const living = await this.#store.microvms.inStates(MICROVM_STATES.filter((state) => state !== 'TERMINATED'));
    const done = new Map<string, readonly string[]>();
    await atMost(RECOVERIES_AT_ONCE, new Set([...living.map(({ microvmId }) => microvmId), ...present]), async (microvmId) => {
      const what = await this.#lifecycle.reconcile(microvmId);
      if (what.length > 0) done.set(microvmId, what);
    });
    return done;
  }

  /** Resolves when nothing is under way with any microVM. */
  idle(): Promise<void> {
    return this.#lifecycle.idle();
  }

  /** Puts every microVM to sleep and wakes none any more; one that cannot sleep, or whose hook fails, runs on. @returns how many were put to sleep */
  async suspendAll(): Promise<number> {
    this.#lifecycle.drain();
    const onTheirWay = await this.#store.microvms.inStates(['PENDING', 'SUSPENDING', 'WAKING']);
    await Promise.all(onTheirWay.map(({ microvmId }) => this.#lifecycle.settled(microvmId)));
    let suspended = 0;
    await atMost(SUSPENDS_AT_ONCE, await this.#store.microvms.inStates(['RUNNING']), async ({ microvmId }) => {
      await this.#lifecycle.suspend(microvmId, { onHookFailure: 'keepRunning' }).then(
        () => (suspended += 1),
        (error: unknown) => this.#log.warn({ microvmId, err: error }, 'not suspended: it runs on'),
      );
    });
    return suspended;
  }

  /** Starts nothing more by itself, and waits for what is under way, so that nothing is left in the middle. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#deadlines[Symbol.dispose]();
    const idle = Promise.all([this.#lifecycle.idle(), this.stoppedByDisk[Symbol.asyncDispose]()]);
    await within('what was under way with microVMs', STOP_LIMIT_MS, idle).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'stopping all the same; the next start finishes it');
    });
    this.#lifecycle.abandon();
  }
}

function useCasesOf(parts: MicrovmParts, lifecycle: Lifecycle, roles: ExecutionRoles): MicrovmUseCases {
  const { store, runtime, tokens, clock } = parts;
  const admission = new Admission(parts);
  const usable = async (microvmId: string): Promise<Microvm> => {
    const microvm = await lifecycle.get(microvmId);
    requireAllowed(microvm, 'token');
    return microvm;
  };
  const expiryOf = (expirationMinutes: number): number => {
    if (expirationMinutes > MAX_TOKEN_MINUTES) throw tokenTooLong(expirationMinutes);
    return clock.nowMs() + expirationMinutes * 60_000;
  };
  return {
    run: async (input) => {
      const { microvm, isNew } = await admission.admit(input);
      if (isNew) lifecycle.startLaunch(microvm.microvmId);
      return microvm;
    },
    get: async (microvmId) => {
      const microvm = await lifecycle.get(microvmId);
      const fault = runtime.diskFault(microvmId);
      return fault === undefined ? microvm : { ...microvm, stateReason: STATE_REASONS.diskStopped[fault] };
    },
    list: (filter, page) => store.microvms.list(filter, page),
    suspend: (microvmId) => lifecycle.suspend(microvmId),
    resume: (microvmId) => lifecycle.wake(microvmId),
    terminate: async (microvmId) => {
      await lifecycle.terminate(microvmId);
      await roles.revoke(microvmId);
    },
    createAuthToken: async ({ microvmId, expirationMinutes, ports }) => {
      const expiresAtMs = expiryOf(expirationMinutes);
      await usable(microvmId);
      return tokens.issue({ microvmId, purpose: 'http', ports, expiresAtMs });
    },
    createShellAuthToken: async ({ microvmId, expirationMinutes }) => {
      const expiresAtMs = expiryOf(expirationMinutes);
      requireShell(await usable(microvmId));
      return tokens.issue({ microvmId, purpose: 'shell', ports: [], expiresAtMs });
    },
    executionRoleCredentials: (microvmId) => roles.credentials(microvmId),
    report: async (microvmId) => {
      await lifecycle.get(microvmId);
      return lifecycle.report(microvmId);
    },
    logs: async (microvmId, options) => {
      await lifecycle.get(microvmId);
      return runtime.logs(microvmId, options);
    },
  };
}

/** Sections 1.6 and 6.2: RunMicrovm accepts any set of connectors, and what does not go together is told only here. */
function requireShell({ ingressConnectors }: Microvm): void {
  const names = ingressConnectors.map(managedConnectorOf);
  if (names.includes('ALL_INGRESS') && names.length > 1) throw allIngressCombined();
  if (!names.includes('SHELL_INGRESS')) throw shellIngressRequired();
}
