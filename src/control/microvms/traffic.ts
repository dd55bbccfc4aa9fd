/** What the data plane may do with a request for a microVM in each state: sections 3.4 and 5.5. */
import type { Duplex } from 'node:stream';
import { LullError } from '../../domain/errors.ts';
import { managedConnectorOf, type ManagedConnector } from '../../domain/ids.ts';
import { MICROVM_STATE_RULES } from '../../domain/microvm.ts';
import type { MicrovmRepository, MicrovmRuntime } from '../../domain/ports.ts';
import type { Deadlines } from './deadlines.ts';
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

export class Traffic {
  readonly #microvms: MicrovmRepository;
  readonly #runtime: MicrovmRuntime;
  readonly #lifecycle: Lifecycle;
  readonly #deadlines: Deadlines;
  readonly #endpoints = new Map<string, Endpoint>();

  constructor(parts: { microvms: MicrovmRepository; runtime: MicrovmRuntime; lifecycle: Lifecycle; deadlines: Deadlines }) {
    this.#microvms = parts.microvms;
    this.#runtime = parts.runtime;
    this.#lifecycle = parts.lifecycle;
    this.#deadlines = parts.deadlines;
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
   * @throws LullError where it cannot be reached: ended, asleep without auto-resume, nothing listens
   */
  async connect(microvmId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    for (let turn = 0; !this.#lifecycle.isRunning(microvmId); turn += 1) {
      if (turn >= MAX_TURNS) throw new LullError('conflict', `The MicroVM ${microvmId} does not stay awake.`);
      const { state, idlePolicy } = await this.#lifecycle.get(microvmId);
      const { traffic } = MICROVM_STATE_RULES[state];
      if (traffic === 'refuse' || (traffic === 'wake' && idlePolicy?.autoResumeEnabled !== true)) {
        throw new LullError('conflict', `The MicroVM ${microvmId} is ${state} and takes no traffic.`);
      }
      await abandonable(traffic === 'wake' ? this.#lifecycle.wake(microvmId) : this.#lifecycle.settled(microvmId), signal);
    }
    return this.#runtime.dial(microvmId, port);
  }

  /** True while a request has to wait for a wake. */
  isAsleep(microvmId: string): boolean {
    return this.#lifecycle.isAsleep(microvmId);
  }

  /** Bytes have crossed the endpoint: the microVM is not idle. */
  touched(microvmId: string): void {
    this.#deadlines.touched(microvmId);
  }
}

/** Waits for `work` until the one who asked goes away; the work itself goes on for the others. */
async function abandonable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const gone = Promise.withResolvers<never>();
  const abort = () => gone.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([work, gone.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
    work.catch(() => undefined);
  }
}
