import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { failUnanswered, relayAnswer, sendHead, type Passage } from './forward.ts';
import { framingOf, responseHeaders, valuesOf } from './headers.ts';
import { pump } from './pump.ts';

/** True for a request that may change the protocol (RFC 9110, 7.8): one with a body stays an ordinary request. */
export function isUpgrade(request: IncomingMessage): boolean {
  return request.httpVersion === '1.1' && framingOf(request.rawHeaders) === 'none' && request.headers.upgrade !== undefined;
}

/**
 * Passes an Upgrade on. Where the application agrees, bytes flow both ways until both sides have ended; any other answer is
 * relayed as an ordinary one.
 * @param client the client's socket, no longer read by anyone
 * @param head bytes that came with the request
 */
export function forwardUpgrade(passage: Passage, client: Duplex, head: Buffer): void {
  const { request, response, exchange, target, activity } = passage;
  const upgrade = valuesOf(request.rawHeaders, 'upgrade').join(', ');
  const upstream = sendHead(passage, upgrade);
  activity.mark(target.microvmId);
  let answered = false;
  upstream.on('upgrade', (answer: IncomingMessage, stream: Duplex, early: Buffer) => {
    answered = true;
    exchange.answered(101);
    response.detachSocket(passage.request.socket);
    client.write(switchingHead(answer), 'latin1');
    join(passage, { client, stream, head, early });
  });
  upstream.on('response', (answer: IncomingMessage) => {
    answered = true;
    relayAnswer(passage, answer);
  });
  upstream.on('error', (error) => {
    if (!answered) failUnanswered(passage, error);
  });
  upstream.on('close', () => {
    if (!answered) failUnanswered(passage);
  });
  client.once('close', () => upstream.destroy());
  upstream.end();
}

function switchingHead(answer: IncomingMessage): string {
  const headers = responseHeaders(answer.rawHeaders, 101);
  const lines = [`HTTP/1.1 101 ${answer.statusMessage || STATUS_CODES[101]}`];
  for (let at = 0; at + 1 < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Joins two byte streams; each may end its direction first (half-close). */
function join(passage: Passage, ends: { client: Duplex; stream: Duplex; head: Buffer; early: Buffer }): void {
  const { exchange, target, activity } = passage;
  const { client, stream, head, early } = ends;
  const inward = (length: number) => {
    exchange.bytesIn += length;
    activity.mark(target.microvmId);
  };
  const outward = (length: number) => {
    exchange.bytesOut += length;
    activity.mark(target.microvmId);
  };
  if (head.length > 0) client.unshift(head);
  if (early.length > 0) stream.unshift(early);
  pump(client, stream, inward);
  pump(stream, client, outward);
  client.once('end', () => stream.end());
  stream.once('end', () => client.end());
  // A side that is gone altogether takes the other along, after what is still to be written.
  stream.once('close', () => client.end(() => client.destroy()));
  client.once('close', () => stream.destroy());
}
