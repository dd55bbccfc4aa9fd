import type { Clock, Random } from '../domain/ports.ts';
import type { AgentEvent } from './messages.ts';
import type { OutputConsumer } from './output-feed.ts';
import type { OfferedServices } from './service-streams.ts';

/** What a guest's network card gets, as dotted IPv4. */
export interface CardAddress {
  readonly address: string;
  readonly gateway: string;
}

/** How a session with an agent begins, and who hears what it tells unasked. */
export interface ConnectOptions {
  /** The agent's secret in hex; empty before the first session of its life. */
  readonly secret: string;
  /** The versions of the protocol to offer; all that this end speaks where left out. */
  readonly protocols?: { readonly min: number; readonly max: number };
  /** 64 hex digits that replace the secret. */
  readonly nextSecret?: string;
  /**
   * After a restore: clock and entropy are set, with `resetConnections` non-loopback TCP connections are ended, and the network card gets an
   * address, or none, where `network` says so.
   */
  readonly restore?: { readonly resetConnections: boolean; readonly network?: CardAddress | 'none' | undefined };
  /** The application is thawed before the session begins. */
  readonly thaw?: boolean;
  readonly onOutput?: OutputConsumer;
  readonly onEvent?: (event: AgentEvent) => void;
  /** What the guest may open streams to; nothing where left out. */
  readonly services?: OfferedServices;
  readonly signal?: AbortSignal;
  /** Limit of the handshake, the clock's mending included. */
  readonly timeoutMs?: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}
