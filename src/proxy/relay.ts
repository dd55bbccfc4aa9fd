import type { Duplex } from 'node:stream';
import { cutOffAfter } from './cut-off.ts';
import type { Exchange } from './exchange.ts';
import { requestFields, responseFields, trailersOf, valueOf, wantsTrailers, type Fields } from './headers.ts';
import { sendRefusal, type AnswerHead, type Inbound, type RequestHead } from './inbound.ts';
import type { Answer, Outbound, OutboundEvents, UpstreamConnection } from './outbound.ts';
import { pump, type OnBytes } from './pump.ts';
import { REFUSALS, RefusedError } from './refusal.ts';
import { withoutOurs, withSelection } from './websocket.ts';

/** Told of the bytes that cross the endpoint. */
export interface Meter {
  readonly inward: OnBytes;
  readonly outward: OnBytes;
}

/** An admitted request and the connection to its application. */
export interface Passage {
  readonly inbound: Inbound;
  readonly head: RequestHead & { readonly authority: string };
  readonly exchange: Exchange;
  readonly connection: UpstreamConnection;
  readonly meter: Meter;
  /** A new connection, where this one turns out not to take the request; undefined where the client went away meanwhile. */
  readonly again?: (() => Promise<UpstreamConnection | undefined>) | undefined;
  /** See `ProxyLimits`. */
  readonly farewellMs: number;
}

/** Of all interim answers to a request together: they are written whether or not the client reads. */
const MAX_INTERIM_BYTES = 64 * 1024;
/** The line of an interim answer and its end. */
const INTERIM_LINE_BYTES = 32;

/** Who answers so before the request is complete does not want the rest of it (RFC 9110, 15); who has answered with success may still read it. */
const LEAST_REFUSAL = 300;

const sizeOf = (fields: Fields) => fields.reduce((sum, text) => sum + text.length, INTERIM_LINE_BYTES);

/**
 * Passes one exchange through: both bodies as they come, interim answers, trailers, or after an Upgrade whatever bytes; an
 * answer may be complete while the request's body still arrives. Whichever side goes away, the other is told.
 * @throws RefusedError malformed where the request cannot be put on the wire
 */
export function relay(passage: Passage): void {
  const { inbound, exchange, meter } = passage;
  let answer: Answer | undefined;
  let hasSwitched = false;
  let interimBytes = 0;
  const outbound = begin(passage, {
    interim: (status, fields) => {
      interimBytes += sizeOf(fields);
      if (interimBytes <= MAX_INTERIM_BYTES) return passInterim(passage, { status, fields, isEmpty: true });
      exchange.failed('the application sends interim answers without end');
      outbound.abort();
    },
    answer: (arrived) => {
      answer = arrived;
      relayAnswer(passage, arrived, outbound);
    },
    switched: (agreed, stream, early) => {
      hasSwitched = true;
      stopWatching();
      join(passage, agreed, { stream, early });
    },
    closed: (error, isUntouched = false) => {
      if (hasSwitched) return;
      if (answer === undefined && isUntouched) void relayAgain(passage, error);
      else if (answer === undefined) failUnanswered(passage, error);
      // Where the answer is not complete, breaking it off ends the request too.
      else if (answer.isComplete) inbound.discardBody();
    },
  });
  void meter.inward(0);
  const stopWatching = inbound.onClose(() => {
    if (answer?.isComplete === true) return;
    if (answer !== undefined) exchange.failed('the client left before its answer was complete');
    outbound.abort();
  });
  inbound.body.once('close', () => {
    if (hasSwitched || inbound.isComplete) return;
    // With its answer it may leave, or have been told to stop.
    if (!inbound.sink.writableFinished) exchange.failed('the client left before its request was complete');
    outbound.abort();
  });
  relayBody(passage, outbound);
}

function begin({ head, exchange, connection }: Passage, events: OutboundEvents): Outbound {
  const fields = requestFields(withoutOurs(head.fields), exchange.requestId);
  try {
    return connection.begin({ ...head, fields, wantsTrailers: wantsTrailers(head.fields) }, events);
  } catch (error) {
    connection.destroy();
    throw new RefusedError(REFUSALS.malformed, 'the request cannot be written', error);
  }
}

function relayBody({ inbound, head, exchange, meter }: Passage, outbound: Outbound): void {
  if (head.framing === 'none') {
    outbound.end([]);
    if (head.upgrade === undefined) inbound.body.resume();
    return;
  }
  pump(inbound.body, outbound.sink, meter.inward);
  inbound.body.once('end', () => {
    if (!inbound.isComplete) return;
    // Whatever a client makes Node believe: a request that is shorter than it says would take the next one on its connection for its rest.
    if (head.framing === 'length' && Number(valueOf(head.fields, 'content-length')) !== exchange.bytesIn) return outbound.abort();
    outbound.end(trailersOf(inbound.trailers()));
  });
  // Head and first bytes go together where they are there together; a body that comes later does not hold the head back.
  setImmediate(() => {
    if (exchange.bytesIn === 0) outbound.flushHead();
  });
}

/** Passes a final answer on to the client. */
function relayAnswer(passage: Passage, answer: Answer, outbound: Outbound): void {
  const { inbound, exchange, connection, meter } = passage;
  const { status, body } = answer;
  body.on('error', (error) => exchange.failed('the application broke off its answer', error));
  if (inbound.isGone) return void body.destroy();
  try {
    inbound.answer({ status, message: answer.message, fields: responseFields(answer.fields), upgrade: answer.upgrade, isEmpty: answer.isEmpty });
  } catch (error) {
    connection.destroy();
    exchange.failed('the application’s answer cannot be passed on', error);
    return refuse(passage);
  }
  exchange.answered(status);
  void meter.outward(0);
  pump(body, inbound.sink, meter.outward);
  body.once('end', () => {
    if (!answer.isComplete || inbound.isGone) return;
    inbound.end(trailersOf(answer.trailers()));
    if (!inbound.isComplete) relayRest(inbound, status, outbound);
  });
  body.once('close', () => {
    if (answer.isComplete) return;
    exchange.failed('the application broke off its answer');
    inbound.breakOff();
  });
  setImmediate(() => {
    if (exchange.bytesOut === 0) inbound.flushHead();
  });
}

/** The client has its answer and still sends. */
function relayRest(inbound: Inbound, status: number, outbound: Outbound): void {
  // A request of HTTP/1.1 is silent about its connection once it is answered.
  const abort = () => outbound.abort();
  inbound.connection.once('close', abort);
  for (const event of ['end', 'close']) inbound.body.once(event, () => inbound.connection.off('close', abort));
  if (status >= LEAST_REFUSAL) inbound.stopBody();
}

function passInterim({ inbound, meter }: Passage, { status, fields }: AnswerHead): void {
  void meter.outward(0);
  try {
    inbound.interim(status, responseFields(fields));
  } catch {
    // An interim answer that cannot be written may be left out; the final one follows.
  }
}

/** The application has not begun: it is asked once more, on a new connection, where nothing of a body has gone out on the old one. */
async function relayAgain(passage: Passage, error?: Error): Promise<void> {
  const { inbound, head, again } = passage;
  if (again === undefined || head.framing !== 'none' || inbound.isGone) return failUnanswered(passage, error);
  try {
    const connection = await again();
    if (connection !== undefined) relay({ ...passage, connection, again: undefined });
  } catch (failure) {
    failUnanswered(passage, failure as Error);
  }
}

/** The application went away without an answer: nothing is sent again, since it may have begun. */
function failUnanswered(passage: Passage, error?: Error): void {
  if (passage.inbound.isGone) return;
  passage.exchange.failed('the application closed the connection without an answer', error);
  refuse(passage);
}

function refuse({ inbound, exchange }: Passage): void {
  if (inbound.isAnswered || inbound.isGone) return;
  exchange.refused(REFUSALS.unreachable);
  sendRefusal(inbound, REFUSALS.unreachable, exchange.requestId);
}

/** Joins client and application after an Upgrade; each may end its direction first (half-close). */
function join({ inbound, head, exchange, meter, farewellMs }: Passage, answer: AnswerHead, far: { stream: Duplex; early: Buffer }): void {
  const { stream, early } = far;
  exchange.switched(head.upgrade);
  const client = inbound.switchProtocols({ ...answer, fields: withSelection(responseFields(answer.fields), head.fields) });
  if (early.length > 0) stream.unshift(early);
  pump(client, stream, meter.inward);
  pump(stream, client, meter.outward);
  client.once('end', () => stream.end());
  stream.once('end', () => client.end());
  // A side that is gone altogether takes the other along, after what is still to be written.
  stream.once('close', () => {
    client.end(() => client.destroy());
    cutOffAfter(client, farewellMs);
  });
  client.once('close', () => stream.destroy());
}
