/** Bounds on what one client, or all together, can make the data plane hold. Bodies and their duration have none (section 5.6). */
export interface ProxyLimits {
  /** Request line and headers together; the same for an application's answer. */
  readonly headerBytes: number;
  readonly headerCount: number;
  /** A TLS handshake that takes longer is ended. */
  readonly handshakeMs: number;
  /** All headers of a request must be there by then (slow clients). */
  readonly headersMs: number;
  /** A connection without a request. */
  readonly keepAliveMs: number;
  /** An exchange without a byte in either direction. AWS's figure is not known; a silent stream lived over 180 s (section 5.6). */
  readonly silenceMs: number;
  /** Client connections on all listeners; more are closed unanswered. An idle one was measured to cost 146 KiB with both of its ends. */
  readonly connections: number;
  /** From one address (of IPv6: one network of 64 bits), so that no client takes the place of all others. */
  readonly connectionsPerAddress: number;
  /** Requests at once on one connection: streams of HTTP/2, pipelined requests of HTTP/1.1. */
  readonly requestsAtOnce: number;
  /** What may be under way or wait to be read of one stream of HTTP/2. */
  readonly http2WindowBytes: number;
  /** What is still read of a body that nobody wants, so that the client sees the answer and not a reset. */
  readonly unwantedBytes: number;
  readonly unwantedMs: number;
  /** How long a client may take to read what is left of an upgraded connection or a shell whose other side has gone. */
  readonly farewellMs: number;
  /** How long `close()` lets requests end. */
  readonly closeMs: number;
}

export const DEFAULT_LIMITS: ProxyLimits = {
  headerBytes: 64 * 1024,
  headerCount: 200,
  handshakeMs: 10_000,
  headersMs: 20_000,
  keepAliveMs: 75_000,
  silenceMs: 60 * 60 * 1000,
  connections: 10_000,
  connectionsPerAddress: 5000,
  requestsAtOnce: 128,
  http2WindowBytes: 256 * 1024,
  unwantedBytes: 16 * 1024 * 1024,
  unwantedMs: 5000,
  farewellMs: 30_000,
  closeMs: 5000,
};
