import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ProxyLimits } from './limits.ts';

/** An answer of the data plane's own: plain text, no JSON, no error type (section 5.5). */
export interface Refusal {
  readonly status: 400 | 403 | 408 | 429 | 500 | 502;
  readonly text: string;
}

/** Section 5.5, word for word; where no text is recorded there is none. */
export const REFUSALS = {
  malformed: { status: 400, text: '' },
  /** No token, or none that can be opened. */
  unauthenticated: { status: 403, text: 'Request missing authentication' },
  /** Token of another microVM, wrong or unknown host name, token expired. */
  notYours: { status: 403, text: 'Token authentication failed' },
  portDenied: { status: 403, text: 'Access to port denied' },
  /** The request did not arrive in time (RFC 9110, 15.5.9). */
  tooSlow: { status: 408, text: '' },
  tooMany: { status: 429, text: '' },
  fault: { status: 500, text: '' },
  /** Nothing listens, the application died, or the microVM sleeps and may not be woken. */
  unreachable: { status: 502, text: '' },
} as const satisfies Record<string, Refusal>;

/** A request that the data plane refuses, on its way to the one place that answers. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;

  /** @param reason for the log only */
  constructor(refusal: Refusal, reason: string, cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause });
    this.refusal = refusal;
  }
}

/** Answers with a refusal. What the client still sends of its body is read up to a limit, then the connection ends. */
export function sendRefusal(
  exchange: { request: IncomingMessage; response: ServerResponse; requestId: string; limits: ProxyLimits },
  refusal: Refusal,
): void {
  const { request, response, requestId, limits } = exchange;
  if (response.headersSent || response.destroyed) return;
  // A client that waits for "100 Continue" never got it: it will not send the body, so the next request cannot follow.
  if (request.headers.expect !== undefined) response.shouldKeepAlive = false;
  const body = Buffer.from(refusal.text);
  response.writeHead(refusal.status, [
    ...(body.length === 0 ? [] : ['Content-Type', 'text/plain']),
    ...['Content-Length', `${body.length}`, 'x-amzn-requestid', requestId],
  ]);
  response.end(body);
  discardBody(request, limits);
}

/** Reads and drops what is left of a body; a client that goes on for too long or too much is cut off. */
export function discardBody(request: IncomingMessage, limits: ProxyLimits): void {
  if (request.complete || request.destroyed) return;
  let left = limits.unwantedBytes;
  const timer = setTimeout(() => request.socket.destroy(), limits.unwantedMs).unref();
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.socket.destroy();
  });
  request.once('close', () => clearTimeout(timer));
  request.resume();
}
