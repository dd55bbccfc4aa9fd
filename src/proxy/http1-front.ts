import { ServerResponse, STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Front } from './front.ts';
import { framingOf } from './headers.ts';
import { Http1Inbound } from './http1-inbound.ts';
import type { ProxyLimits } from './limits.ts';
import { REFUSALS, RefusedError, type Refusal } from './refusal.ts';

/** True for a request that may change the protocol (RFC 9110, 7.8): one with a body stays an ordinary request. */
export function isUpgrade(request: IncomingMessage): boolean {
  return request.httpVersion === '1.1' && framingOf(request.rawHeaders) === 'none' && request.headers.upgrade !== undefined;
}

/** Has a front serve what Node's server reads as HTTP/1.1, and answers what is none. */
export function serveHttp1(server: Server, front: Front, limits: ProxyLimits): void {
  /** The newest request that a client's connection is busy with. */
  const busy = new WeakMap<Duplex, Http1Inbound>();
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
    busy.set(socket, inbound);
    if (before?.isClosed === false) {
      await new Promise<void>((resolve) => before.onClose(resolve));
      // The last answer of a connection has been given; what came behind its request is none (RFC 9112, 9.6).
      if (!socket.writable) return;
    }
    await front.serve(inbound);
  };
  const isBusy = (client: Duplex) => busy.get(client)?.isClosed === false;
  const refuse = (client: Duplex, method: string, refused: RefusedError) => {
    // What breaks off is the newest request; never into the middle of an answer, or in the place of another one.
    if (isBusy(client)) return busy.get(client)!.breakRequest(refused) ? undefined : hangUp(client);
    if (!client.writable || isSilent(client)) return hangUp(client);
    answerRaw(client, refused.refusal, front.refuseBytes(method, refused));
  };
  server.on('request', (request, response) => void serve(request, response));
  // What else a client expects is the application's affair: HTTP/2 knows no other refusal of it either.
  for (const event of ['checkContinue', 'checkExpectation']) server.on(event, (request, response) => void serve(request, response));
  server.on('upgrade', (request, client, early) => {
    if (isBusy(client)) return hangUp(client);
    void front.serve(upgrading(request, { client, early }, limits));
  });
  server.on('connect', (_request, client) => refuse(client, 'CONNECT', new RefusedError(REFUSALS.malformed, 'CONNECT')));
  server.on('clientError', (error: NodeJS.ErrnoException, client) => {
    // Who ends its direction amid a request has gone.
    if (error.code === 'HPE_INVALID_EOF_STATE' && isBusy(client)) return hangUp(client);
    const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    const refused = isLate ? new RefusedError(REFUSALS.tooSlow, 'the request does not arrive') : new RefusedError(REFUSALS.malformed, 'no HTTP', error);
    refuse(client, '', refused);
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

/** Browsers open connections that they may never need: to those there is nothing to say. */
const isSilent = (client: Duplex) => (client as Socket).bytesRead === 0;

/** Answers what never became a request as far as it can be answered, and hangs up. */
function answerRaw(client: Duplex, { status }: Refusal, requestId: string): void {
  client.on('error', () => undefined);
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: 0\r\nx-amzn-requestid: ${requestId}\r\nConnection: close\r\n\r\n`;
  client.end(head, () => client.destroy());
}
