import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { cutOffAfter } from './cut-off.ts';
import type { Fields } from './headers.ts';
import { sendTrailers, splitPseudo, watchEnd } from './http2-fields.ts';
import type { ProxyLimits } from './limits.ts';
import { LINGER_MS, type Answer, type OnFree, type Outbound, type OutboundEvents, type OutboundHead, type UpstreamConnection } from './outbound.ts';

/**
 * HTTP/2 over one stream to an application, with prior knowledge (section 5.2) or after ALPN. It carries one exchange at a
 * time, like a connection of HTTP/1.1: no exchange waits for another's flow control, or ends with it.
 */
export class Http2Connection implements UpstreamConnection {
  readonly #session: ClientHttp2Session;
  readonly #scheme: 'http' | 'https';
  readonly #onFree: OnFree;
  /** By the application's GOAWAY: streams above this one were not begun with. */
  #lastStreamId = Infinity;

  constructor(stream: Duplex, options: { scheme: 'http' | 'https'; onFree: OnFree; limits: ProxyLimits }) {
    const { scheme, onFree, limits } = options;
    this.#scheme = scheme;
    this.#onFree = onFree;
    // Streams end their directions, the connection has no half-close.
    stream.allowHalfOpen = false;
    const settings = { enablePush: false, initialWindowSize: limits.http2WindowBytes, maxHeaderListSize: limits.headerBytes };
    const asItCame = { maxHeaderListPairs: 2 * limits.headerCount, strictSingleValueFields: false };
    this.#session = connect(`${scheme}://application`, { createConnection: () => stream, settings, ...asItCame });
    this.#session.on('error', () => undefined);
    this.#session.on('goaway', (_code, lastStreamId) => (this.#lastStreamId = lastStreamId));
    this.#session.setLocalWindowSize(limits.http2WindowBytes);
  }

  get isUsable(): boolean {
    return !this.#session.closed && !this.#session.destroyed;
  }

  begin({ method, path, authority, fields, framing, wantsTrailers }: OutboundHead, events: OutboundEvents): Outbound {
    const head = [':method', method, ':scheme', this.#scheme, ':authority', authority, ':path', path, ...fields];
    if (wantsTrailers) head.push('te', 'trailers');
    const hasBody = framing !== 'none';
    const left = new AbortController();
    const stream = this.#session.request(head, { endStream: !hasBody, waitForTrailers: hasBody, signal: left.signal });
    const hasEnded = watchEnd(stream);
    let failure: Error | undefined;
    let trailers: Fields = [];
    stream.on('headers', (headers, _flags, raw) => events.interim(headers[':status']!, splitPseudo(raw).fields));
    stream.on('response', (headers, flags, raw) => {
      const isEmpty = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      const answer = { status: headers[':status']!, fields: splitPseudo(raw).fields, isEmpty };
      events.answer(answerOf(stream, answer, () => isEmpty || hasEnded()));
    });
    stream.on('wantTrailers', () => {
      if (!stream.closed) sendTrailers(stream, trailers);
    });
    stream.on('error', (error) => (failure ??= error));
    stream.on('close', () => {
      // Of a stream that was given up, bytes may still wait to be taken.
      if (failure !== undefined || !this.isUsable || !this.#onFree(this)) this.end();
      events.closed(failure, stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || (stream.id ?? 0) > this.#lastStreamId);
    });
    return {
      sink: stream,
      // Node sends it at once.
      flushHead: () => undefined,
      // Not `close()`: it would end the stream first, as if the request were complete.
      abort: () => left.abort(),
      end: (given) => {
        trailers = given;
        stream.end();
      },
    };
  }

  whenUnfit(listener: () => void): () => void {
    this.#session.once('goaway', listener).once('close', listener);
    return () => void this.#session.off('goaway', listener).off('close', listener);
  }

  end(): void {
    const session = this.#session;
    if (session.destroyed) return;
    cutOffAfter(session, LINGER_MS);
    session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }
}

function answerOf(stream: ClientHttp2Stream, head: Pick<Answer, 'status' | 'fields' | 'isEmpty'>, hasEnded: () => boolean): Answer {
  let trailers: Fields = [];
  stream.on('trailers', (_trailers, _flags, raw) => (trailers = raw));
  return {
    ...head,
    body: stream,
    trailers: () => trailers,
    get isComplete() {
      return stream.readableEnded && stream.rstCode === constants.NGHTTP2_NO_ERROR && hasEnded();
    },
  };
}
