/** What is asked of the process that makes the load, and what it measures. */

/** Where requests go, and what they say of themselves. */
export interface Target {
  readonly port: number;
  /** In plain text where left out. */
  readonly tls?: { readonly ca: string; readonly servername: string };
  /** Fields of every request. */
  readonly headers: Readonly<Record<string, string>>;
}

/** One piece of load; `bulkBytes` are those that the upstream has. */
export type LoadOrder = { readonly target: Target } & (
  | { readonly what: 'requests'; readonly connections: number; readonly ms: number }
  | { readonly what: 'down' | 'up' }
  /** Opens WebSockets and keeps them until the next order. */
  | { readonly what: 'sockets'; readonly count: number }
);

export interface LoadResult {
  readonly ms: number;
  /** Requests that were answered, bytes that crossed, or WebSockets that are open. */
  readonly amount: number;
  /** Milliseconds from a request to its whole answer; of requests alone. */
  readonly p50: number;
  readonly p99: number;
}

/** What the process says: once it is ready, and after each order. */
export type LoadMessage = { readonly upstreamPort: number } | { readonly result: LoadResult } | { readonly failure: string };

/** The one argument of the process. */
export interface LoadStart {
  readonly bulkBytes: number;
}
