import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Front } from './front.ts';
import { framingOf } from './headers.ts';
import { Http1Inbound } from './http1-inbound.ts';
import type { ProxyLimits } from './limits.ts';
import { REFUSALS, type Refusal } from './refusal.ts';

/** True for a request that may change the protocol (RFC 9110, 7.8): one with a body stays an ordinary request. */
export function isUpgrade(request: IncomingMessage): boolean {
  return request.httpVersion === '1.1' && framingOf(request.rawHeaders) === 'none' && request.headers.upgrade !== undefined;
}

/** Has a front serve what Node's server reads as HTTP/1.1, and answers what is none. */
export function serveHttp1(server: Server, front: Front, limits: ProxyLimits): void {
  /** The newest answer that a client's connection is busy with. */
  const busy = new WeakMap<Duplex, ServerResponse>();
  /** How many requests of a connection wait or are being answered. */
  const begun = new WeakMap<Duplex, number>();
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const count = (begun.get(socket) ?? 0) + 1;
    begun.set(socket, count);
    response.once('close', () => begun.set(socket, begun.get(socket)! - 1));
    const inbound = new Http1Inbound({ request, response, limits });
    if (count > limits.requestsAtOnce) return void socket.destroy();
    // Pipelined requests go to the application one after the other, as their answers must.
    const before = busy.get(socket);
    busy.set(socket, response);
    if (before !== undefined && !before.closed) {
      await new Promise<void>((resolve) => before.once('close', () => resolve()));
      // The last answer of a connection has been given; what came behind its request is none (RFC 9112, 9.6).
      if (!socket.writable) return;
    }
    await front.serve(inbound);
  };
  /** An answer is under way, or wanted before any to what has just come. */
  const isAnswering = (client: Duplex) => {
    const response = busy.get(client);
    return response !== undefined && !response.closed && (response.headersSent || response.req.complete);
  };
  server.on('request', (request, response) => void serve(request, response));
  server.on('checkContinue', (request, response) => void serve(request, response));
  server.on('upgrade', (request, client, early) => {
    if (isAnswering(client)) return hangUp(client);
    void front.serve(upgrading(request, { client, early }, limits));
  });
  server.on('connect', (_request, client) => (isAnswering(client) ? hangUp(client) : answerRaw(client, REFUSALS.malformed)));
  server.on('clientError', (error: NodeJS.ErrnoException, client) => {
    // Never into the middle of an answer, or in the place of another one.
    if (isAnswering(client)) return hangUp(client);
    answerRaw(client, error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? REFUSALS.tooSlow : REFUSALS.malformed);
  });
}

/** An Upgrade, on a connection that Node no longer looks after. */
function upgrading(request: IncomingMessage, { client, early }: { client: Duplex; early: Buffer }, limits: ProxyLimits): Http1Inbound {
  const response = new ServerResponse(request);
  const { socket } = request;
  socket.setTimeout(limits.silenceMs, () => socket.destroy());
  response.assignSocket(socket);
  response.once('finish', () => client.end(() => client.destroy()));
  return new Http1Inbound({ request, response, limits, upgrading: { client, early } });
}

/** Ends a connection on which nothing more can be said. */
function hangUp(client: Duplex): void {
  client.on('error', () => undefined);
  client.destroy();
}

/** Answers what is not HTTP as far as it can be answered, and hangs up. */
function answerRaw(client: Duplex, refusal: Refusal): void {
  client.on('error', () => undefined);
  if (!client.writable) return void client.destroy();
  const reason = { 400: 'Bad Request', 408: 'Request Timeout' }[refusal.status as number] ?? '';
  client.end(`HTTP/1.1 ${refusal.status} ${reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`, () => client.destroy());
}
