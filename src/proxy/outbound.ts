/** The application's half of an exchange, whatever version of HTTP it speaks. */
import type { Duplex } from 'node:stream';
import type { Fields } from './headers.ts';
import type { AnswerHead, RequestHead } from './inbound.ts';
import type { Sink, Source } from './pump.ts';

/** A request as the application gets it: its fields are those that pass. */
export interface OutboundHead extends RequestHead {
  readonly authority: string;
  /** The client takes trailers with the answer (RFC 9110, 10.1.4). */
  readonly wantsTrailers: boolean;
}

/** An application's final answer. */
export interface Answer extends AnswerHead {
  readonly body: Source;
  /** The whole answer has arrived. */
  readonly isComplete: boolean;
  /** Once the body has ended. */
  trailers(): Fields;
}

/** What is heard of the application during an exchange. */
export interface OutboundEvents {
  interim(status: number, fields: Fields): void;
  answer(answer: Answer): void;
  /** The application agreed to an Upgrade; `stream` is the new protocol, and `early` came with the head. */
  switched(head: AnswerHead, stream: Duplex, early: Buffer): void;
  /**
   * The exchange is over, well or not; always the last event.
   * @param isUntouched the application said that it has not begun with the request (RFC 9113, 8.7)
   */
  closed(error: Error | undefined, isUntouched?: boolean): void;
}

/** A request under way to an application. */
export interface Outbound {
  /** The request's body. */
  readonly sink: Sink;
  /** Has the head go out alone: the body comes later. */
  flushHead(): void;
  /** The request is complete. */
  end(trailers: Fields): void;
  /** The client went away: so do we. */
  abort(): void;
}

/** A connection to an application, for one exchange at a time. */
export interface UpstreamConnection {
  /** True while a further exchange may begin. */
  readonly isUsable: boolean;
  /** @throws Error where the head cannot be put on the wire; the connection is of no use then */
  begin(head: OutboundHead, events: OutboundEvents): Outbound;
  /** Calls back when the connection, between exchanges, has become of no use. @returns how to stop that */
  whenUnfit(listener: () => void): () => void;
  /** Hangs up as a client would: a reset would show up as an error in the application's log. */
  end(): void;
  destroy(): void;
}

/** Asked when an exchange has ended cleanly: true keeps the connection, false ends it. */
export type OnFree = (connection: UpstreamConnection) => boolean;

/**
 * An idle connection is given up before any common application server would close it (the shortest default is 2 s):
 * a request that meets a close on its way cannot be sent again.
 */
export const IDLE_MS = 1000;
/** How long an application may take to close its side of a connection that we have no more use for. */
export const LINGER_MS = 2000;
