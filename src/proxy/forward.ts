import { request as httpRequest, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Activity } from './activity.ts';
import type { Admitted } from './admission.ts';
import type { Exchange } from './exchange.ts';
import { requestHeaders, responseHeaders, trailersOf, type Framing } from './headers.ts';
import type { ProxyLimits } from './limits.ts';
import { pump } from './pump.ts';
import { discardBody, REFUSALS, RefusedError, sendRefusal } from './refusal.ts';
import { IDLE_MS, type UpstreamConnection } from './upstream-pool.ts';

/** An admitted request, the connection to its application, and the way back. */
export interface Passage {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly exchange: Exchange;
  readonly target: Admitted;
  readonly framing: Framing;
  readonly connection: UpstreamConnection;
  readonly activity: Activity;
  readonly limits: ProxyLimits;
}

const NOTHING = Buffer.alloc(0);
/** Methods for which Node states a chunked body unless told that there is none. */
const BODILESS_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

/**
 * Passes one HTTP/1.1 exchange through: both bodies as they come, interim answers, trailers; an answer may be complete while
 * the request's body still arrives. Whichever side goes away, the other is told.
 * @throws RefusedError malformed where the request cannot be put on the wire
 */
export function forward(passage: Passage): void {
  const { request, response, exchange, target, activity, limits } = passage;
  const upstream = sendHead(passage);
  activity.mark(target.microvmId);
  let answer: IncomingMessage | undefined;

  upstream.on('continue', () => {
    if (request.headers.expect !== undefined && !response.headersSent) response.writeContinue();
  });
  upstream.on('information', ({ statusCode, rawHeaders }) => passInformation(passage, statusCode, rawHeaders));
  upstream.on('response', (arrived: IncomingMessage) => {
    answer = arrived;
    relayAnswer(passage, arrived);
  });
  upstream.on('error', (error) => {
    // Once an answer is under way, its own end tells whether it was complete.
    if (answer === undefined) failUnanswered(passage, error);
  });
  upstream.on('close', () => {
    if (answer === undefined) failUnanswered(passage);
    discardBody(request, limits);
  });
  response.once('close', () => {
    if (answer === undefined || !answer.complete) upstream.destroy();
  });
  request.once('close', () => {
    if (request.complete) return;
    exchange.failed('the client left before its request was complete');
    upstream.destroy();
  });
  relayBody(passage, upstream);
}

/** Starts the request to the application; `upgrade` names the protocols of an Upgrade. */
export function sendHead(passage: Passage, upgrade?: string): ClientRequest {
  const { request, exchange, connection, limits, framing } = passage;
  const method = request.method ?? 'GET';
  const needsLength = !BODILESS_METHODS.has(method);
  try {
    return httpRequest({
      agent: connection,
      method,
      path: originForm(request.url ?? '/'),
      headers: requestHeaders(request.rawHeaders, { requestId: exchange.requestId, framing, needsLength, upgrade }),
      setHost: false,
      maxHeaderSize: limits.headerBytes,
    });
  } catch (error) {
    connection.stream.destroy();
    throw new RefusedError(REFUSALS.malformed, 'the request cannot be written', error);
  }
}

/** A request-target in absolute form becomes origin form (RFC 9112, 3.2.2); who calls has compared its authority with Host. */
const originForm = (target: string) => {
  const rest = /^https?:\/\/[^/?]*(.*)$/i.exec(target)?.[1];
  if (rest === undefined) return target;
  return rest.startsWith('/') ? rest : `/${rest}`;
};

function relayBody(passage: Passage, upstream: ClientRequest): void {
  const { request, exchange, target, activity, framing } = passage;
  if (framing === 'none') {
    upstream.end();
    request.resume();
    return;
  }
  pump(request, upstream, (length) => {
    exchange.bytesIn += length;
    activity.mark(target.microvmId);
  });
  request.once('end', () => {
    if (upstream.destroyed) return;
    if (framing === 'chunked') upstream.addTrailers(trailersOf(request.rawTrailers));
    upstream.end();
  });
  // Head and first bytes go together where they are there together; a body that comes later does not hold the head back.
  setImmediate(() => {
    if (exchange.bytesIn === 0) flushHead(upstream);
  });
}

/** Passes a final answer on to the client. */
export function relayAnswer(passage: Passage, answer: IncomingMessage): void {
  const { request, response, exchange, target, activity, limits, connection } = passage;
  answer.on('error', (error) => exchange.failed('the application broke off its answer', error));
  if (response.destroyed) return void answer.destroy();
  const status = answer.statusCode ?? 502;
  // The client still waits for "100 Continue" and will not send its body now: no request can follow on this connection.
  if (request.headers.expect !== undefined && !request.complete && exchange.bytesIn === 0) response.shouldKeepAlive = false;
  try {
    response.writeHead(status, answer.statusMessage ?? '', responseHeaders(answer.rawHeaders, status));
  } catch (error) {
    connection.stream.destroy();
    exchange.failed('the application’s answer cannot be passed on', error);
    exchange.answered(REFUSALS.unreachable.status);
    return sendRefusal({ request, response, limits, requestId: exchange.requestId }, REFUSALS.unreachable);
  }
  exchange.answered(status);
  activity.mark(target.microvmId);
  if (keepsFor(answer) <= IDLE_MS) connection.reusable = false;
  pump(answer, response, (length) => {
    exchange.bytesOut += length;
    activity.mark(target.microvmId);
  });
  answer.once('end', () => {
    if (response.destroyed) return;
    if (answer.rawTrailers.length > 0) response.addTrailers(trailersOf(answer.rawTrailers));
    response.end();
  });
  answer.once('close', () => {
    if (answer.complete) return;
    exchange.failed('the application broke off its answer');
    response.destroy();
  });
  setImmediate(() => {
    if (exchange.bytesOut === 0) flushHead(response);
  });
}

/** Sends the head alone. Node's `flushHeaders` would write it as UTF-8 and so double the bytes above 0x7f; a write does not. */
function flushHead(message: ClientRequest | ServerResponse): void {
  if (!message.destroyed && !message.writableEnded) message.write(NOTHING);
}

/** How long the application says that it keeps an idle connection, in milliseconds. */
const keepsFor = (answer: IncomingMessage) => {
  const seconds = /(?:^|,)\s*timeout=(\d+)/.exec(answer.headers['keep-alive']?.toString() ?? '')?.[1];
  return seconds === undefined ? Infinity : Number(seconds) * 1000;
};

/** Interim answers other than 100 (RFC 9110, 15.2): an HTTP/1.0 client knows none. */
function passInformation(passage: Passage, status: number, rawHeaders: readonly string[]): void {
  const { request, response } = passage;
  if (response.headersSent || response.destroyed || request.httpVersion === '1.0' || status < 102) return;
  try {
    response.writeInformation(status, responseHeaders(rawHeaders, status));
  } catch {
    // An interim answer that cannot be written may be left out; the final one follows.
  }
}

/** The application went away without an answer: nothing is sent again, since it may have begun. */
export function failUnanswered(passage: Passage, error?: unknown): void {
  const { request, response, exchange, limits } = passage;
  if (response.headersSent || response.destroyed) return;
  exchange.failed('the application closed the connection without an answer', error);
  exchange.answered(REFUSALS.unreachable.status);
  sendRefusal({ request, response, limits, requestId: exchange.requestId }, REFUSALS.unreachable);
}
