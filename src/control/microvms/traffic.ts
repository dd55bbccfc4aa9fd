/** What the data plane may do with a request for a microVM in each state: sections 3.4 and 5.5. */
import type { Duplex } from 'node:stream';
import { LullError } from '../../domain/errors.ts';
import { managedConnectorOf, type ManagedConnector } from '../../domain/ids.ts';
import { MICROVM_STATE_RULES, type Microvm } from '../../domain/microvm.ts';
import type { Clock, MicrovmRepository, MicrovmRuntime, ShellSession } from '../../domain/ports.ts';
import type { Deadlines } from './deadlines.ts';
import { HOLD_LIMITS, Holds, type HoldLimits } from './holds.ts';
import type { Lifecycle } from './lifecycle.ts';

/** What an endpoint's name leads to; it never changes. */
export interface Endpoint {
  readonly microvmId: string;
  readonly ingress: readonly ManagedConnector[];
  readonly baselineMib: number;
}

/** Endpoints looked up last are remembered: each name is asked for with every request. */
const REMEMBERED_ENDPOINTS = 10_000;

/** A microVM may fall asleep again before a held request gets to it; a request that meets this more often gives up. */
const MAX_TURNS = 8;

/** After a wake that failed, requests get its answer for so long before one of them has it tried again. */
const WAKE_PAUSE_MS = 1000;

export interface TrafficParts {
  readonly microvms: MicrovmRepository;
  readonly runtime: MicrovmRuntime;
  readonly lifecycle: Lifecycle;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly holdLimits?: HoldLimits | undefined;
}

/** Something that can be opened to a running microVM, and closed where that comes to nothing. */
interface Way<T> {
  readonly open: () => Promise<T>;
  readonly close: (opened: T) => void;
}

export class Traffic {
  readonly #microvms: MicrovmRepository;
  readonly #runtime: MicrovmRuntime;
  readonly #lifecycle: Lifecycle;
  readonly #deadlines: Deadlines;
  readonly #clock: Clock;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #holds: Holds;
  /** MicroVMs that are being led to RUNNING, each for all who wait for it. */
  readonly #led = new Set<string>();
  /** Why a wake failed a moment ago. */
  readonly #failures = new Map<string, unknown>();

  constructor(parts: TrafficParts) {
    this.#microvms = parts.microvms;
    this.#runtime = parts.runtime;
    this.#lifecycle = parts.lifecycle;
    this.#deadlines = parts.deadlines;
    this.#clock = parts.clock;
    this.#holds = new Holds(parts.clock, parts.holdLimits ?? HOLD_LIMITS);
    this.#lifecycle.onTraffic((microvmId, passes) => {
      if (!passes) return;
      this.#failures.delete(microvmId);
      this.#holds.release(microvmId);
    });
    this.#lifecycle.onChange((microvm) => {
      if (MICROVM_STATE_RULES[microvm.state].traffic === 'refuse') this.#holds.release(microvm.microvmId, takesNone(microvm));
    });
  }

  /** The microVM behind `<endpointId>.<domain>`; undefined where there never was one. */
  async lookup(endpointId: string): Promise<Endpoint | undefined> {
    const remembered = this.#endpoints.get(endpointId);
    if (remembered !== undefined) return remembered;
    const microvm = await this.#microvms.byEndpoint(endpointId);
    if (microvm === undefined) return undefined;
    const ingress = microvm.ingressConnectors.map(managedConnectorOf).filter((name) => name !== undefined);
    const endpoint = { microvmId: microvm.microvmId, ingress, baselineMib: microvm.baselineMib };
    const oldest = this.#endpoints.size >= REMEMBERED_ENDPOINTS ? this.#endpoints.keys().next() : undefined;
    if (oldest?.done === false) this.#endpoints.delete(oldest.value);
    this.#endpoints.set(endpointId, endpoint);
    return endpoint;
  }

  /**
   * A stream to a port of the microVM: held while it is on its way to RUNNING, which it is sent on where it sleeps and may
   * be woken by traffic.
   * @param signal gives the hold up, and leaves nothing of it; a wake that has begun goes on
   * @throws LullError throttled where too many wait; any other where it cannot be reached: ended, asleep without auto-resume,
   * not awake in time, nothing listens
   */
  connect(microvmId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const open = () => this.#runtime.dial(microvmId, port, signal);
    return this.#reach(microvmId, signal, { open, close: (stream) => stream.destroy() });
  }

  /**
   * A shell in the microVM, held and woken for as {@link connect} (section 6.2).
   * @throws LullError as {@link connect}, and where its image has no shell
   */
  openShell(microvmId: string, signal: AbortSignal): Promise<ShellSession> {
    const open = () => this.#runtime.openShell(microvmId, signal);
    return this.#reach(microvmId, signal, { open, close: ({ stream }) => stream.destroy() });
  }

  /** True while a request has to wait for a wake. */
  isAsleep(microvmId: string): boolean {
    return this.#lifecycle.isAsleep(microvmId);
  }

  /** Bytes have crossed the endpoint: the microVM is not idle. */
  touched(microvmId: string): void {
    this.#deadlines.touched(microvmId);
  }

  async #reach<T>(microvmId: string, signal: AbortSignal, { open, close }: Way<T>): Promise<T> {
    for (let turn = 0; turn < MAX_TURNS; turn += 1) {
      if (!this.#lifecycle.isRunning(microvmId)) {
        await this.#held(microvmId, signal);
        continue;
      }
      this.#deadlines.touched(microvmId);
      const opened = await open().catch((error: unknown) => {
        if (signal.aborted || this.#lifecycle.isRunning(microvmId)) throw error;
      });
      if (opened === undefined) continue;
      if (!signal.aborted && this.#lifecycle.isRunning(microvmId)) return opened;
      // It fell asleep meanwhile, and nothing has left yet, so nothing is lost; or nobody takes it any more.
      close(opened);
      signal.throwIfAborted();
    }
    throw doesNotStay(microvmId);
  }

  /** Waits for the microVM to run; the first who waits has it led there. */
  async #held(microvmId: string, signal: AbortSignal): Promise<void> {
    if (this.#failures.has(microvmId)) throw this.#failures.get(microvmId);
    const released = this.#holds.wait(microvmId, signal);
    if (this.#holds.has(microvmId) && !this.#led.has(microvmId)) void this.#lead(microvmId);
    await released;
  }

  /** Never rejects: what fails is told to those who wait. */
  async #lead(microvmId: string): Promise<void> {
    this.#led.add(microvmId);
    try {
      await this.#toRunning(microvmId);
      this.#holds.release(microvmId);
    } catch (error) {
      this.#holds.release(microvmId, error);
    } finally {
      this.#led.delete(microvmId);
    }
  }

  /** Goes on only as long as somebody waits. */
  async #toRunning(microvmId: string): Promise<void> {
    for (let turn = 0; !this.#lifecycle.isRunning(microvmId) && this.#holds.has(microvmId); turn += 1) {
      if (turn >= MAX_TURNS) throw doesNotStay(microvmId);
      const microvm = await this.#lifecycle.get(microvmId);
      const { traffic } = MICROVM_STATE_RULES[microvm.state];
      const isAllowed = traffic !== 'refuse' && (traffic !== 'wake' || microvm.idlePolicy?.autoResumeEnabled === true);
      if (!isAllowed) throw takesNone(microvm);
      if (traffic === 'wake') await this.#wake(microvmId);
      else await this.#lifecycle.settled(microvmId);
    }
  }

  async #wake(microvmId: string): Promise<void> {
    try {
      await this.#lifecycle.wake(microvmId, () => this.#holds.has(microvmId));
    } catch (error) {
      this.#failures.set(microvmId, error);
      this.#clock.at(this.#clock.nowMs() + WAKE_PAUSE_MS, () => this.#failures.delete(microvmId));
      throw error;
    }
  }
}

const takesNone = ({ microvmId, state, stateReason }: Microvm) =>
  new LullError('conflict', `The MicroVM ${microvmId} is ${state} and takes no traffic${stateReason === null ? '.' : `: ${stateReason}`}`);

const doesNotStay = (microvmId: string) => new LullError('conflict', `The MicroVM ${microvmId} does not stay awake.`);
