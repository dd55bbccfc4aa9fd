import { performServerHandshake, type ServerHttp2Session } from 'node:http2';
import type { Server } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { cutOffAfter } from './cut-off.ts';
import type { Front } from './front.ts';
import { Http2Inbound } from './http2-inbound.ts';
import type { ProxyLimits } from './limits.ts';

/** They are counted with the other fields: method, scheme, authority, path, protocol. */
const PSEUDO_FIELDS = 5;
/**
 * A client's connection begins with few streams of wide windows; once it has them all, it gets many of narrow ones, those of
 * RFC 9113, 6.9.2. With the default limits its unread bodies take 16 × 256 + 112 × 64 KiB = 11 MiB at most, not 32.
 */
const FEW_STREAMS = 16;
const NARROW_WINDOW_BYTES = 65_535;
/** Streams that may fill their window at the same time without waiting for each other. */
const CONNECTION_WINDOWS = 4;

/**
 * Has a front serve the connections on which client and server agreed on HTTP/2 (ALPN); the others stay with Node's HTTP/1.1.
 * @returns ends the sessions, once each has answered what it was asked (GOAWAY)
 */
export function serveHttp2(server: Server, front: Front, limits: ProxyLimits): () => void {
  const sessions = new Set<ServerHttp2Session>();
  const http1 = server.listeners('secureConnection');
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol !== 'h2') return http1.forEach((listener) => void Reflect.apply(listener, server, [socket]));
    const session = serveSession(socket, front, limits);
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  return () => sessions.forEach((session) => session.close());
}

function serveSession(socket: TLSSocket, front: Front, limits: ProxyLimits): ServerHttp2Session {
  // Streams end their directions, the connection has no half-close.
  socket.allowHalfOpen = false;
  const few = Math.min(FEW_STREAMS, limits.requestsAtOnce);
  const session = performServerHandshake(socket, {
    // Beyond that Node resets the stream; a head that is not that far above the limit gets an answer.
    maxHeaderListPairs: 2 * limits.headerCount + PSEUDO_FIELDS,
    // A field that is there twice is seen twice.
    strictSingleValueFields: false,
    settings: {
      enablePush: false,
      maxConcurrentStreams: few,
      initialWindowSize: limits.http2WindowBytes,
      maxHeaderListSize: limits.headerBytes,
    },
  });
  session.on('error', () => undefined);
  let open = 0;
  let isCrowded = false;
  // Not Node's own time-out, which every PING puts off. It ends a session that Node has given up as well.
  const idle = setTimeout(() => void (open === 0 && endSoon(session, socket, limits)), limits.keepAliveMs).unref();
  session.on('stream', (...[stream, , , raw]) => {
    // Reset before anybody heard of it.
    if (stream.destroyed) return;
    open += 1;
    if (open === few && !isCrowded) {
      isCrowded = true;
      session.settings({ maxConcurrentStreams: limits.requestsAtOnce, initialWindowSize: Math.min(NARROW_WINDOW_BYTES, limits.http2WindowBytes) });
    }
    stream.once('close', () => {
      open -= 1;
      if (open === 0) idle.refresh();
    });
    void front.serve(new Http2Inbound(stream, raw, limits));
  });
  // Node takes bytes off the connection's window as they arrive, those of streams that nobody reads too.
  session.setLocalWindowSize(CONNECTION_WINDOWS * limits.http2WindowBytes);
  socket.once('close', () => clearTimeout(idle));
  return session;
}

/** Ends a session that nobody uses: politely, and after a moment in any case, since Node waits until the client has read all. */
function endSoon(session: ServerHttp2Session, socket: TLSSocket, limits: ProxyLimits): void {
  if (!session.destroyed) session.close();
  cutOffAfter(socket, limits.unwantedMs);
}
