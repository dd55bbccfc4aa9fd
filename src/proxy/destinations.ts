import type { Duplex } from 'node:stream';
import type { ManagedConnector } from '../domain/ids.ts';
import type { ShellSession } from '../domain/ports.ts';

/** The microVM behind an endpoint. */
export interface Destination {
  readonly microvmId: string;
  /** The connectors in effect (section 5.7), defaults filled in: an empty list lets nobody in. */
  readonly ingress: readonly ManagedConnector[];
  /** What the endpoint may carry goes by it (section 5.6). */
  readonly baselineMib: number;
}

/** What the data plane needs to know of microVMs; the wiring implements it over the runtime. */
export interface Destinations {
  /** The microVM whose host name starts with this uuid (lower case), in whatever state; undefined where there is none. */
  lookup(endpointId: string): Promise<Destination | undefined>;
  /**
   * A byte stream to 127.0.0.1:`port` inside the microVM. Holds while the microVM is PENDING or SUSPENDING and wakes it
   * where it is asleep and may be woken (sections 3.3 and 3.4).
   * @param signal aborted when the client goes away
   * @throws LullError throttled or quota-exceeded where a limit refuses (the client gets 429), any other where the
   * microVM cannot be reached (502, the message goes to the log)
   */
  connect(microvmId: string, port: number, signal: AbortSignal): Promise<Duplex>;
  /** True while a request has to wait for a wake: the microVM is SUSPENDED, or on its way there or back. */
  isAsleep(microvmId: string): boolean;
  /**
   * A terminal in the application's environment (section 6.2). Holds and wakes as {@link connect} does.
   * @throws LullError as {@link connect}
   */
  openShell(microvmId: string, signal: AbortSignal): Promise<ShellSession>;
  /** Bytes crossed the endpoint, in either direction (section 3.3). Called at most four times a second for a microVM. */
  touched(microvmId: string): void;
}
