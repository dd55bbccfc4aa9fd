import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { trailerPairs, upgradeOf, type Fields } from './headers.ts';
import { flushHead } from './http1-inbound.ts';
import type { ProxyLimits } from './limits.ts';
import {
  IDLE_MS,
  LINGER_MS,
  type Answer,
  type OnFree,
  type Outbound,
  type OutboundEvents,
  type OutboundHead,
  type UpstreamConnection,
} from './outbound.ts';

/** Methods for which Node states a chunked body unless told that there is none. */
const BODILESS_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);
/** Between two exchanges: an application that speaks unasked, or hangs up, has no further use. */
const UNFIT = ['data', 'end', 'close', 'error'] as const;

/** HTTP/1.1 over one stream to an application: the agent through which Node's client uses it, again and again. */
export class Http1Connection extends Agent implements UpstreamConnection {
  readonly #stream: Duplex;
  readonly #onFree: OnFree;
  readonly #headerBytes: number;
  /** False once the application has announced that it will close the connection soon. */
  #isReusable = true;
  #handedOut = false;

  constructor(stream: Duplex, options: { onFree: OnFree; limits: ProxyLimits }) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#stream = stream;
    this.#onFree = options.onFree;
    this.#headerBytes = options.limits.headerBytes;
    // The HTTP client listens during an exchange; between two nobody else does.
    stream.on('error', () => undefined);
  }

  get isUsable(): boolean {
    return !this.#stream.destroyed && this.#stream.writable && this.#stream.readable;
  }

  begin(head: OutboundHead, events: OutboundEvents): Outbound {
    const { method, path, framing, upgrade } = head;
    const request = httpRequest({ agent: this, method, path, headers: fieldsOf(head), setHost: false, maxHeaderSize: this.#headerBytes });
    let failure: Error | undefined;
    request.on('continue', () => events.interim(100, []));
    request.on('information', ({ statusCode, rawHeaders }) => {
      if (statusCode > 100) events.interim(statusCode, rawHeaders);
    });
    request.on('response', (message: IncomingMessage) => {
      if (keepsForMs(message) <= IDLE_MS) this.#isReusable = false;
      events.answer(answerOf(message));
    });
    // Without this listener, Node hangs up on an application that switches unasked.
    if (upgrade !== undefined) request.on('upgrade', (message, stream, early) => events.switched(answerOf(message), stream, early));
    request.on('error', (error) => (failure ??= error));
    request.on('close', () => events.closed(failure));
    return {
      sink: request,
      flushHead: () => flushHead(request),
      abort: () => request.destroy(),
      end: (trailers) => {
        if (request.destroyed) return;
        if (framing === 'chunked') request.addTrailers(trailerPairs(trailers));
        request.end();
      },
    };
  }

  whenUnfit(listener: () => void): () => void {
    for (const event of UNFIT) this.#stream.on(event, listener);
    return () => {
      for (const event of UNFIT) this.#stream.off(event, listener);
    };
  }

  end(): void {
    const stream = this.#stream;
    const limit = setTimeout(() => stream.destroy(), LINGER_MS).unref();
    stream.once('close', () => clearTimeout(limit));
    stream.resume().end();
  }

  override destroy(): void {
    this.#stream.destroy();
    super.destroy();
  }

  override getName(): string {
    return '';
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    const isGone = this.#handedOut || this.#stream.destroyed;
    this.#handedOut = true;
    callback?.(isGone ? new Error('the connection to the application has ended') : null, this.#stream);
  }

  /** The agent's question whether to keep a free stream. */
  override keepSocketAlive(): boolean {
    return this.#isReusable && this.#onFree(this);
  }

  override reuseSocket(stream: Duplex, request: ClientRequest): void {
    // Node's own takes its guard off the stream and then refers to a socket, which this need not be.
    if (!('ref' in stream)) Object.assign(stream, { ref: () => stream });
    super.reuseSocket(stream, request);
  }
}

/** The fields on the wire: the body's framing is stated anew (RFC 9112, 6), and what is meant for this hop is added. */
function fieldsOf({ method, authority, fields, framing, upgrade, wantsTrailers }: OutboundHead): string[] {
  const all = ['Host', authority, ...fields];
  if (framing === 'chunked') all.push('Transfer-Encoding', 'chunked');
  // Without it, Node would announce a chunked body that never comes.
  if (framing === 'none' && !BODILESS_METHODS.has(method)) all.push('Content-Length', '0');
  if (upgrade !== undefined) all.push('Upgrade', upgrade, 'Connection', 'Upgrade');
  else if (wantsTrailers) all.push('TE', 'trailers', 'Connection', 'TE');
  return all;
}

function answerOf(message: IncomingMessage): Answer {
  const { statusCode: status = 502, statusMessage, rawHeaders } = message;
  return {
    status,
    message: statusMessage,
    fields: rawHeaders,
    upgrade: upgradeOf(rawHeaders, status),
    isEmpty: message.headers['content-length'] === '0',
    body: message,
    trailers: (): Fields => message.rawTrailers,
    get isComplete() {
      return message.complete;
    },
  };
}

/** How long the application says that it keeps an idle connection. */
function keepsForMs(message: IncomingMessage): number {
  const seconds = /(?:^|,)\s*timeout=(\d+)/.exec(message.headers['keep-alive']?.toString() ?? '')?.[1];
  return seconds === undefined ? Infinity : Number(seconds) * 1000;
}
