/**
 * The life of each microVM: launch, suspend, wake, end. One thing at a time for each (a queue by id); before every step that
 * leaves a mark the intent is committed, after it the outcome, by the table of states in `src/domain/microvm.ts`.
 */
import { isDeepStrictEqual } from 'node:util';
import { LullError } from '../../domain/errors.ts';
import type { OnSuspendHookFailure } from '../../domain/hooks.ts';
import { MICROVM_REQUESTS, STATE_REASONS, type Microvm, type MicrovmEvent, type MicrovmRequest, type MicrovmState, type ProcessIdentity } from '../../domain/microvm.ts';
import { egressOf } from '../../domain/network-connector.ts';
import type { Clock, LaunchRequest, MicrovmPatch, MicrovmRepository, MicrovmRuntime, StepTimes } from '../../domain/ports.ts';
import { hostFull, microvmNotFound, requireAllowed } from '../../domain/refusals.ts';
import { Gate } from '../../lib/gate.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { Log } from '../../lib/log.ts';
import { commitOutcome } from '../commit-outcome.ts';
import type { MicrovmReport } from '../control-plane.ts';
import { requireRoom, type HostCapacity } from './capacity.ts';
import { failure, messageOf, reasonOf } from './failure-reasons.ts';
import { HookFailure, HookInterrupted, type Ending, type RuntimeHooks } from './hooks.ts';

/** What takes its time in a life. */
export type MicrovmOperation = 'launch' | 'suspend' | 'wake';
/** Told when one is over: how long its steps took, undefined where it failed. */
export type OperationEnded = (operation: MicrovmOperation, steps: StepTimes | undefined) => void;

export interface LifecycleParts {
  readonly microvms: MicrovmRepository;
  readonly runtime: MicrovmRuntime;
  readonly hooks: RuntimeHooks;
  readonly onSuspendHookFailure: OnSuspendHookFailure;
  readonly clock: Clock;
  readonly capacity: HostCapacity;
  readonly log: Log;
  readonly onOperation: OperationEnded;
}

/** What may be said with a suspend. */
export interface SuspendOptions {
  readonly onHookFailure?: OnSuspendHookFailure;
  /** Asked once no request can begin any more. */
  readonly isWanted?: () => boolean;
}

const NO_REPORT: MicrovmReport = { launch: null, suspend: null, wake: null };

export class Lifecycle {
  readonly #gate = new Gate();
  readonly #microvms: MicrovmRepository;
  readonly #runtime: MicrovmRuntime;
  readonly #hooks: RuntimeHooks;
  readonly #onSuspendHookFailure: OnSuspendHookFailure;
  readonly #clock: Clock;
  readonly #capacity: HostCapacity;
  readonly #log: Log;
  readonly #onOperation: OperationEnded;
  readonly #queue = new KeyedQueue();
  /** Those that take traffic right now: known without asking the store. */
  readonly #running = new Set<string>();
  /** Those that wait for a wake, or are about to. */
  readonly #asleep = new Set<string>();
  readonly #reports = new Map<string, MicrovmReport>();
  readonly #listeners = new Set<(microvm: Microvm) => void>();
  readonly #trafficListeners = new Set<(microvmId: string, passes: boolean) => void>();

  #isDraining = false;

  constructor(parts: LifecycleParts) {
    this.#microvms = this.#gate.guard(parts.microvms);
    this.#runtime = this.#gate.guard(parts.runtime);
    this.#hooks = parts.hooks;
    this.#onSuspendHookFailure = parts.onSuspendHookFailure;
    this.#clock = parts.clock;
    this.#capacity = parts.capacity;
    this.#log = parts.log;
    this.#onOperation = parts.onOperation;
  }

  /** Calls back after every committed change of state. */
  onChange(listener: (microvm: Microvm) => void): void {
    this.#listeners.add(listener);
  }

  /** Calls back when traffic to a microVM begins or ceases to pass; where it ceases, before anything happens to it. */
  onTraffic(listener: (microvmId: string, passes: boolean) => void): void {
    this.#trafficListeners.add(listener);
  }

  /** True while traffic may pass to it. */
  isRunning(microvmId: string): boolean {
    return this.#running.has(microvmId);
  }

  /** True while it is SUSPENDED, or on its way there or back. */
  isAsleep(microvmId: string): boolean {
    return this.#asleep.has(microvmId);
  }

  report(microvmId: string): MicrovmReport {
    return this.#reports.get(microvmId) ?? NO_REPORT;
  }

  /** Resolves when what is under way for this microVM has ended. */
  settled(microvmId: string): Promise<void> {
    return this.#queue.run(microvmId, async () => undefined);
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** From now on nothing is launched or woken. */
  drain(): void {
    this.#isDraining = true;
  }

  /** From now on nothing is done at all: what is under way stands still where it is. */
  abandon(): void {
    this.#gate.close();
  }

  /** @throws LullError not-found */
  async get(microvmId: string): Promise<Microvm> {
    const microvm = await this.#microvms.get(microvmId);
    if (microvm === undefined) throw microvmNotFound(microvmId);
    return microvm;
  }

  /** {@link launch}, behind the answer to RunMicrovm. */
  startLaunch(microvmId: string): void {
    this.launch(microvmId).catch((error: unknown) => {
      this.#log.error({ microvmId, err: error }, 'the outcome of a launch could not be committed');
    });
  }

  /** PENDING to RUNNING, or to TERMINATED with the reason. @throws where not even that can be committed */
  launch(microvmId: string): Promise<void> {
    return this.#queue.run(microvmId, async () => {
      const microvm = await this.get(microvmId);
      if (microvm.state !== 'PENDING') return;
      try {
        this.#requireNotDraining();
        const process = await this.#runtime.prepareLaunch(launchOf(microvm));
        await this.#microvms.patch(microvmId, { process });
        const launch = await this.#runtime.continue(microvmId);
        await this.#hooks.run(microvm);
        this.#note(await this.#microvms.apply(microvmId, 'launched'), { launch });
        this.#onOperation('launch', launch);
      } catch (error) {
        this.#log.error({ microvmId, err: error }, 'launch failed');
        this.#onOperation('launch', undefined);
        await this.#destroy(microvmId);
        const stateReason = reasonOf(error, (detail) => STATE_REASONS.launchFailed('restore', detail));
        this.#note(await this.#commit(microvmId, 'launchFailed', { stateReason, ...this.#ended() }));
      }
    });
  }

  /**
   * RUNNING to SUSPENDED; nothing where it sleeps already. Where its hook fails it ends with that reason, or runs on.
   * @throws LullError where it has ended, is wanted after all, its hook failed and it runs on, or the suspend failed and was undone
   */
  suspend(microvmId: string, options: SuspendOptions = {}): Promise<void> {
    return this.#queue.run(microvmId, async () => {
      const microvm = await this.#asked(microvmId, 'suspend');
      if (microvm === undefined) return;
      // From here on requests wait: one that began now would be cut off.
      this.#letTraffic(microvmId, false);
      this.#asleep.add(microvmId);
      try {
        await this.#suspend(microvm, options);
      } catch (error) {
        // Its end has the next turn.
        const runsOn = !(error instanceof HookInterrupted) && (await this.get(microvmId)).state === 'RUNNING';
        if (runsOn) {
          this.#asleep.delete(microvmId);
          this.#letTraffic(microvmId, true);
        }
        throw error;
      }
    });
  }

  async #suspend(microvm: Microvm, { onHookFailure = this.#onSuspendHookFailure, isWanted }: SuspendOptions): Promise<void> {
    const { microvmId, lastGeneration } = microvm;
    const fault = this.#runtime.diskFault(microvmId);
    // It would answer neither its hook nor the host.
    if (fault !== undefined) throw hostFull(STATE_REASONS.diskStopped[fault]);
    if (isWanted?.() === false) throw new LullError('conflict', `The MicroVM ${microvmId} has traffic again.`);
    const stops = this.#runtime.diskStops(microvmId);
    try {
      await this.#hooks.suspend(microvm);
    } catch (error) {
      // It may go on by now, and be late all the same.
      const wasStopped = this.#runtime.diskStops(microvmId) !== stops;
      if (!(error instanceof HookFailure) || onHookFailure === 'keepRunning' || wasStopped) throw error;
      // AWS goes to TERMINATED at once; `/terminate` is not called of one that has just refused (section 3.1).
      return this.#end(microvm, { reason: error.message, isAnswering: false });
    }
    await this.#saveOrUndo(await this.#microvms.apply(microvmId, 'suspend', { lastGeneration: lastGeneration + 1 }));
  }

  /**
   * SUSPENDED to RUNNING; nothing where it runs already.
   * @param isWanted asked when its turn has come
   * @throws LullError where it has ended, or could not be woken
   */
  wake(microvmId: string, isWanted: () => boolean = () => true): Promise<void> {
    return this.#queue.run(microvmId, async () => {
      const microvm = await this.#asked(microvmId, 'resume');
      if (microvm === undefined || !isWanted()) return;
      this.#requireNotDraining();
      requireRoom(this.#capacity, microvm.baselineMib);
      try {
        await this.#prepareWake(microvm);
        await this.#finishWake(microvm);
      } catch (error) {
        this.#onOperation('wake', undefined);
        throw error;
      }
    });
  }

  /** To TERMINATED from any state; nothing where it has ended. A hook that is under way is given up. */
  async terminate(microvmId: string, { reason = STATE_REASONS.success, isAnswering = true }: Partial<Ending> = {}): Promise<void> {
    using _awaited = this.#hooks.awaitEnd(microvmId, { reason, isAnswering });
    await this.#queue.run(microvmId, async () => {
      const microvm = await this.#asked(microvmId, 'terminate');
      try {
        if (microvm !== undefined) await this.#end(microvm, { reason, isAnswering });
      } catch (error) {
        // A wake that ended meanwhile let nobody in.
        this.#letTraffic(microvmId, (await this.get(microvmId)).state === 'RUNNING');
        throw error;
      }
    });
  }

  /** That VMM process ended by itself: what was only in its memory is lost. */
  async vmmDied(microvmId: string, process: ProcessIdentity): Promise<void> {
    // Another process may serve by now.
    const isCurrent = async () => isDeepStrictEqual((await this.#microvms.get(microvmId))?.process, process);
    const reason = STATE_REASONS.vmmDied('the MicroVM was running');
    using awaited = new DisposableStack();
    const inItsTurn = this.#queue.run(microvmId, async () => {
      const { state } = await this.get(microvmId);
      // Anything else that was under way has noticed by itself; WAKING is one whose hook was given up.
      if ((state === 'RUNNING' || state === 'WAKING') && (await isCurrent())) await this.#lost(microvmId, reason);
    });
    const atOnce = async () => (await isCurrent()) && awaited.use(this.#hooks.awaitEnd(microvmId, { reason, isAnswering: false }));
    await Promise.all([inItsTurn, atOnce()]);
  }

  /** Finishes or undoes what an earlier server left in the middle. Never throws. */
  recover(microvm: Microvm): Promise<void> {
    return this.#queue.run(microvm.microvmId, async () => {
      try {
        await this.#recover(microvm);
      } catch (error) {
        this.#log.error({ microvmId: microvm.microvmId, state: microvm.state, err: error }, 'recovery failed');
      }
    });
  }

  /**
   * Compares what is committed with what is on this host, where nothing is under way: steps that could not be
   * brought to an end are finished or undone, what nobody owns is removed. Never throws.
   * @returns what was done, in a word each
   */
  async reconcile(microvmId: string): Promise<readonly string[]> {
    if (this.#queue.isBusy(microvmId)) return [];
    return this.#queue.run(microvmId, async () => {
      try {
        return await this.#reconcile(microvmId);
      } catch (error) {
        this.#log.error({ microvmId, err: error }, 'a microVM could not be brought into order yet');
        return [];
      }
    });
  }

  async #reconcile(microvmId: string): Promise<readonly string[]> {
    const before = await this.#microvms.get(microvmId);
    if (before === undefined || before.state === 'TERMINATED') {
      await this.#runtime.destroy(microvmId);
      return ['remains'];
    }
    const alive = this.#runtime.holds(microvmId);
    const isAsItShouldBe = (before.state === 'RUNNING' && alive) || (before.state === 'SUSPENDED' && !alive);
    if (!isAsItShouldBe) await this.#settle(before, alive, 'the MicroVM was running');
    if (before.state === 'PENDING') this.startLaunch(microvmId);
    const { state, generation } = await this.get(microvmId);
    const removed = state === 'RUNNING' || state === 'SUSPENDED' ? await this.#runtime.tidy(microvmId, generation) : [];
    return isAsItShouldBe ? removed : [before.state, ...removed];
  }

  async #recover(microvm: Microvm): Promise<void> {
    const { process } = microvm;
    const alive = process !== null && (await this.#runtime.adopt({ ...launchOf(microvm), process }));
    await this.#settle(microvm, alive, 'no server was there');
    if (alive && microvm.state === 'RUNNING') await this.#reconnect(microvm);
  }

  /**
   * Brings a state that nobody works on to one that lasts.
   * @param doing what was going on when a process ended that is gone
   */
  async #settle(microvm: Microvm, alive: boolean, doing: string): Promise<void> {
    const { microvmId } = microvm;
    switch (microvm.state) {
      case 'PENDING':
        // Nobody has been promised more than a launch: it starts over, once the rest is in order.
        return this.#runtime.destroy(microvmId);
      case 'RUNNING':
        return alive ? undefined : this.#lost(microvmId, STATE_REASONS.vmmDied(doing));
      case 'SUSPENDING':
        return this.#recoverSuspending(microvm, alive);
      case 'SUSPENDED':
        if (alive) await this.#runtime.release(microvmId, microvm.generation);
        return this.#note(microvm);
      case 'WAKING':
        if (alive) return this.#finishWake(microvm);
        return this.#wakeFailed(microvm, new Error('its process is gone')).catch(() => undefined);
      case 'TERMINATING':
        await this.#runtime.destroy(microvmId);
        return this.#note(await this.#commit(microvmId, 'terminated', this.#ended()));
      case 'TERMINATED':
        return;
    }
    microvm.state satisfies never;
  }

  /** One that runs but cannot be led could neither be asked nor saved: better its end than a state that says otherwise. */
  async #reconnect(microvm: Microvm): Promise<void> {
    try {
      await this.#runtime.reconnect(microvm.microvmId);
    } catch (error) {
      this.#log.error({ microvmId: microvm.microvmId, err: error }, 'a running microVM could not be taken over');
      return this.#lost(microvm.microvmId, STATE_REASONS.agentLost);
    }
    this.#note(microvm);
  }

  async #recoverSuspending(microvm: Microvm, alive: boolean): Promise<void> {
    const { microvmId, lastGeneration, suspendedAtMs } = microvm;
    if (alive && suspendedAtMs === null) return this.#undoSuspend(microvmId, lastGeneration);
    if (alive) {
      // Its hook had refused the wake: what it is by now is saved once more, under a number of its own.
      if (!(await this.#goesOn(microvmId, lastGeneration))) return;
      return this.#saveOrUndo(await this.#microvms.patch(microvmId, { lastGeneration: lastGeneration + 1 }));
    }
    if (!(await this.#runtime.verifyGeneration(microvmId, lastGeneration))) {
      return this.#lost(microvmId, STATE_REASONS.vmmDied('the MicroVM was being suspended'));
    }
    await this.#commitSuspended(microvm);
    await this.#runtime.release(microvmId, lastGeneration);
  }

  /** Saves the generation whose number a SUSPENDING microVM has taken. */
  async #saveOrUndo(microvm: Microvm): Promise<void> {
    const { microvmId, lastGeneration: generation } = microvm;
    this.#note(microvm);
    try {
      const suspend = await this.#runtime.saveGeneration(microvmId, generation);
      await this.#commitSuspended(microvm);
      this.#reports.set(microvmId, { ...this.report(microvmId), suspend });
      this.#onOperation('suspend', suspend.steps);
    } catch (error) {
      this.#log.error({ microvmId, generation, err: error }, 'suspend failed');
      this.#onOperation('suspend', undefined);
      await this.#undoSuspend(microvmId, generation);
      throw failure(`The MicroVM ${microvmId} could not be suspended`, error);
    }
    await this.#runtime.release(microvmId, generation);
  }

  async #commitSuspended({ microvmId, lastGeneration, suspendedAtMs }: Microvm): Promise<void> {
    const patch = { generation: lastGeneration, suspendedAtMs: suspendedAtMs ?? this.#clock.nowMs() };
    this.#note(await this.#commit(microvmId, 'suspended', patch));
  }

  async #undoSuspend(microvmId: string, generation: number): Promise<void> {
    if (await this.#goesOn(microvmId, generation)) this.#note(await this.#commit(microvmId, 'suspendUndone', { suspendedAtMs: null }));
  }

  /** Lets the process go on without the generation that is void. @returns false where it could not: its end */
  async #goesOn(microvmId: string, generation: number): Promise<boolean> {
    try {
      await this.#runtime.undoSuspend(microvmId, generation);
      return true;
    } catch (error) {
      this.#log.error({ microvmId, err: error }, 'suspend could not be undone');
      await this.#lost(microvmId, STATE_REASONS.notSuspended(messageOf(error)));
      return false;
    }
  }

  async #prepareWake(microvm: Microvm): Promise<void> {
    const { microvmId, generation } = microvm;
    try {
      const process = await this.#runtime.prepareWake({ ...launchOf(microvm), generation });
      // Committed before anything of it runs: from here on the disk may move.
      this.#note(await this.#microvms.apply(microvmId, 'wake', { process }));
    } catch (error) {
      await this.#runtime.abandonPrepared(microvmId);
      throw failure(`The MicroVM ${microvmId} could not be woken`, error);
    }
  }

  async #finishWake(microvm: Microvm): Promise<void> {
    const { microvmId } = microvm;
    const wake = await this.#runtime.continue(microvmId).catch((error: unknown) => this.#wakeFailed(microvm, error));
    const refusal = await this.#hooks.resume(microvm).catch((error: unknown) => error);
    // Its end has the next turn.
    if (refusal instanceof HookInterrupted) throw refusal;
    if (refusal === undefined) {
      this.#note(await this.#commit(microvmId, 'woken', { suspendedAtMs: null }), { wake });
      return this.#onOperation('wake', wake);
    }
    // It has run: only what it is now may be kept, so it is put to sleep anew. Traffic never saw it awake.
    this.#log.warn({ microvmId, err: refusal }, 'the resume hook refused');
    await this.#saveOrUndo(await this.#commit(microvmId, 'resumeRefused', { lastGeneration: microvm.lastGeneration + 1 }));
    throw new LullError('internal', `The MicroVM ${microvmId} could not be woken: ${messageOf(refusal)}`, { cause: refusal });
  }

  /** Back to sleep where its disk has not moved, else the end: an older memory over a newer disk is corruption. */
  async #wakeFailed(microvm: Microvm, error: unknown): Promise<never> {
    const { microvmId, generation } = microvm;
    this.#log.error({ microvmId, generation, err: error }, 'wake failed');
    await this.#runtime.abandonPrepared(microvmId);
    if (await this.#runtime.untouchedSince(microvmId, generation)) {
      this.#note(await this.#commit(microvmId, 'wakeUndone'));
    } else {
      await this.#destroy(microvmId);
      const stateReason = STATE_REASONS.notResumed(messageOf(error));
      this.#note(await this.#commit(microvmId, 'wakeLost', { stateReason, ...this.#ended() }));
    }
    throw failure(`The MicroVM ${microvmId} could not be woken`, error);
  }

  async #lost(microvmId: string, stateReason: string): Promise<void> {
    await this.#destroy(microvmId);
    this.#note(await this.#commit(microvmId, 'died', { stateReason, ...this.#ended() }));
  }

  /** Commits what has happened already. Where that cannot be written the row is left as it was, and the next start finds out. */
  #commit(microvmId: string, event: MicrovmEvent, patch: Partial<MicrovmPatch> = {}): Promise<Microvm> {
    return commitOutcome(
      () => this.#microvms.apply(microvmId, event, patch),
      (error) => this.#log.warn({ microvmId, event, err: error }, 'what has happened could not be committed yet'),
    );
  }

  async #end(microvm: Microvm, { reason, isAnswering }: Ending): Promise<void> {
    const { microvmId, state } = microvm;
    if (state !== 'TERMINATING') this.#note(await this.#microvms.apply(microvmId, 'terminate', { stateReason: reason }));
    if (state === 'RUNNING' && isAnswering && this.#runtime.diskFault(microvmId) === undefined) {
      await this.#hooks.terminate(microvm).catch((error: unknown) => this.#log.warn({ microvmId, err: error }, 'the terminate hook failed'));
    }
    await this.#runtime.destroy(microvmId);
    this.#note(await this.#commit(microvmId, 'terminated', this.#ended()));
  }

  #requireNotDraining(): void {
    if (this.#isDraining) throw new LullError('insufficient-capacity', 'This Lull server is going down.');
  }

  /** Removes what is left, as far as it goes: the reconciler takes the rest. */
  async #destroy(microvmId: string): Promise<void> {
    await this.#runtime.destroy(microvmId).catch((error: unknown) => {
      this.#log.warn({ microvmId, err: error }, 'remains of a microVM could not be removed yet');
    });
  }

  /**
   * The microVM of which something is asked; undefined where nothing is left to do.
   * @throws LullError not-found; conflict or validation where its state does not allow it
   */
  async #asked(microvmId: string, request: MicrovmRequest): Promise<Microvm | undefined> {
    const microvm = await this.get(microvmId);
    requireAllowed(microvm, request);
    return MICROVM_REQUESTS[microvm.state][request] === 'do' ? microvm : undefined;
  }

  #ended(): { terminatedAtMs: number; process: null } {
    return { terminatedAtMs: this.#clock.nowMs(), process: null };
  }

  #letTraffic(microvmId: string, passes: boolean): void {
    if (this.#running.has(microvmId) === passes) return;
    setMember(this.#running, microvmId, passes);
    for (const listener of this.#trafficListeners) listener(microvmId, passes);
  }

  #note(microvm: Microvm, report: Partial<MicrovmReport> = {}): void {
    const { microvmId, state } = microvm;
    // What were let in before its end would be cut off by it.
    this.#letTraffic(microvmId, state === 'RUNNING' && !this.#hooks.isEnding(microvmId));
    setMember(this.#asleep, microvmId, SLEEPING_STATES.has(state));
    if (state === 'TERMINATED') this.#reports.delete(microvmId);
    else this.#reports.set(microvmId, { ...this.report(microvmId), ...report });
    this.#log.info({ microvmId, state, reason: microvm.stateReason ?? undefined }, 'microVM changed state');
    for (const listener of this.#listeners) listener(microvm);
  }
}

const SLEEPING_STATES: ReadonlySet<MicrovmState> = new Set(['SUSPENDING', 'SUSPENDED', 'WAKING']);

function setMember<T>(set: Set<T>, member: T, isMember: boolean): void {
  if (isMember) set.add(member);
  else set.delete(member);
}

const launchOf = ({ microvmId, snapshotId, egressConnectors }: Microvm): LaunchRequest => ({ microvmId, snapshotId, egress: egressOf(egressConnectors) });
