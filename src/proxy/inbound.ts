/** The client's half of an exchange, whatever version of HTTP it speaks. */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Fields, Framing } from './headers.ts';
import type { Refusal, RefusedError } from './refusal.ts';
import type { HttpVersion } from './tls-detection.ts';

/** A client's connection, whatever it speaks. */
export interface ClientConnection {
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}

/** A request without its body. */
export interface RequestHead {
  readonly method: string;
  /** In origin form, or `*`. */
  readonly path: string;
  /** What the client addressed: `<uuid>.<domain>[:port]`. */
  readonly authority: string | undefined;
  /** In order, as they came, but for Host. */
  readonly fields: Fields;
  readonly framing: Framing;
  /** The protocols that the client offers to change to (RFC 9110, 7.8). */
  readonly upgrade: string | undefined;
}

/** An answer without its body. */
export interface AnswerHead {
  readonly status: number;
  /** HTTP/2 has none: the usual one of the status then. */
  readonly message?: string | undefined;
  readonly fields: Fields;
  /** What an `Upgrade` says, where the status is about it (101, 426). */
  readonly upgrade?: string | undefined;
  /** True where it is known that neither a body nor trailers follow. */
  readonly isEmpty: boolean;
}

/** A request for an Upgrade and the connection that it came on, as Node's server gives them. */
export interface Upgrading {
  readonly request: IncomingMessage;
  readonly client: Duplex;
  /** Bytes that came with the request. */
  readonly early: Buffer;
}

/** A client's request and the way back. Its streams may fail at any time; whoever holds it sees that by {@link onClose}. */
export interface Inbound {
  /** What it came on, and others may too. */
  readonly connection: ClientConnection;
  readonly version: HttpVersion;
  readonly method: string;
  /** The request's body; nothing is taken from the client before somebody reads. */
  readonly body: Readable;
  /** The answer's body. */
  readonly sink: Writable;
  /** The whole request has arrived. */
  readonly isComplete: boolean;
  /** The head of the final answer has been written. */
  readonly isAnswered: boolean;
  readonly isGone: boolean;
  /** @throws RefusedError malformed */
  readHead(): RequestHead;
  /** Of the request, once its body has ended. */
  trailers(): Fields;
  /** Writes an interim answer (RFC 9110, 15.2), where the client understands it. */
  interim(status: number, fields: Fields): void;
  /** Writes the final answer's head. @throws Error where it cannot be written; nothing has been then */
  answer(head: AnswerHead): void;
  /** Has the head go out alone: the body comes later. */
  flushHead(): void;
  /** The answer is complete. */
  end(trailers: Fields): void;
  /** Agrees to an Upgrade. @returns the bytes of the new protocol, both ways */
  switchProtocols(head: AnswerHead): Duplex;
  /** Lets another agree to an Upgrade and keep the connection. @returns what it made of it; undefined where it did not agree */
  handOver<T>(take: (upgrading: Upgrading) => T | undefined): T | undefined;
  /** Calls back when what still comes of the request is none, and no answer has begun. */
  onBroken(listener: (refused: RefusedError) => void): void;
  /** The answer cannot be completed, and the client is to notice. */
  breakOff(): void;
  /** The answer is one of our own: a client that does not take it soon is cut off. */
  limitAnswer(): void;
  /** Nobody wants what is still to come of the body. */
  discardBody(): void;
  /** Tells a client that has its whole answer to stop sending (RFC 9113, 8.1); HTTP/1.1 has no word for that. */
  stopBody(): void;
  /** Calls back when the client has gone, or has the whole answer. @returns how to stop that */
  onClose(listener: () => void): () => void;
}

/** Answers with a refusal, where there is still somebody to answer and nothing has been said. */
export function sendRefusal(inbound: Inbound, { status, text }: Refusal, requestId: string): void {
  if (inbound.isAnswered || inbound.isGone) return;
  const body = Buffer.from(text);
  const type = body.length === 0 ? [] : ['Content-Type', 'text/plain'];
  inbound.answer({ status, fields: [...type, 'Content-Length', `${body.length}`, 'x-amzn-requestid', requestId], isEmpty: body.length === 0 });
  if (body.length > 0) inbound.sink.write(body);
  inbound.end([]);
  inbound.limitAnswer();
  inbound.discardBody();
}
