import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Duplex, Readable, Writable } from 'node:stream';
import { isPlainTarget, valuesOf, without, type Fields } from './headers.ts';
import { headersObject, sendTrailers, splitPseudo, watchEnd } from './http2-fields.ts';
import type { AnswerHead, ClientConnection, Inbound, RequestHead } from './inbound.ts';
import type { ProxyLimits } from './limits.ts';
import { REFUSALS, RefusedError } from './refusal.ts';

/** Answers that have no body, whatever they say of one (RFC 9110, 6.4.1); for them Node ends the stream by itself. */
const BODILESS_STATUSES = new Set([204, 205, 304]);

/** A request of HTTP/2: one stream, which is the request's body and the answer's. */
export class Http2Inbound implements Inbound {
  readonly version = 'h2';
  readonly connection: ClientConnection;
  readonly #stream: ServerHttp2Stream;
  readonly #pseudo: ReadonlyMap<string, string>;
  readonly #fields: Fields;
  #trailers: Fields = [];
  #hasEnded: boolean;
  #answerTrailers: Fields = [];
  /** All of the answer has been given to Node. */
  #isAnswerOut = false;
  #isBodyUnwanted = false;
  readonly #limits: ProxyLimits;

  /** @param raw the head as it came, pseudo-header fields first */
  constructor(stream: ServerHttp2Stream, raw: Fields, limits: ProxyLimits) {
    // There is one until the stream is destroyed.
    this.connection = stream.session!;
    this.#stream = stream;
    this.#limits = limits;
    const { pseudo, fields } = splitPseudo(raw);
    this.#pseudo = pseudo;
    this.#fields = fields;
    this.#hasEnded = stream.endAfterHeaders;
    stream.on('error', () => undefined);
    const hasEnded = watchEnd(stream);
    stream.once('end', () => (this.#hasEnded = hasEnded()));
    stream.on('trailers', (_trailers, _flags, rawTrailers) => (this.#trailers = rawTrailers));
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.setTimeout(limits.silenceMs, () => this.#giveUp());
  }

  get method(): string {
    return this.#pseudo.get(':method') ?? '';
  }

  get body(): Readable {
    return this.#stream;
  }

  get sink(): Writable {
    return this.#stream;
  }

  get isComplete(): boolean {
    return this.#hasEnded;
  }

  get isAnswered(): boolean {
    return this.#stream.headersSent;
  }

  get isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  readHead(): RequestHead {
    if (this.method === 'CONNECT') throw new RefusedError(REFUSALS.malformed, 'CONNECT');
    const hosts = valuesOf(this.#fields, 'host');
    const authority = this.#pseudo.get(':authority') ?? hosts[0];
    // RFC 9113, 8.3.1: both may be there, but they have to say the same.
    if (hosts.some((host) => host.toLowerCase() !== authority?.toLowerCase())) {
      throw new RefusedError(REFUSALS.malformed, 'Host and :authority differ');
    }
    const isEmpty = this.#stream.endAfterHeaders;
    const framing = valuesOf(this.#fields, 'content-length').length > 0 ? 'length' : isEmpty ? 'none' : 'chunked';
    const path = this.#pseudo.get(':path') ?? '/';
    if (!isPlainTarget(this.method, path)) throw new RefusedError(REFUSALS.malformed, 'a target of another form');
    return { method: this.method, path, authority, fields: withOneCookie(without(this.#fields, 'host')), framing, upgrade: undefined };
  }

  trailers(): Fields {
    return this.#trailers;
  }

  interim(status: number, fields: Fields): void {
    if (this.isAnswered || this.isGone) return;
    this.#stream.additionalHeaders({ ':status': status, ...headersObject(fields) });
  }

  answer({ status, fields, isEmpty }: AnswerHead): void {
    const endStream = isEmpty || this.method === 'HEAD' || BODILESS_STATUSES.has(status);
    this.#stream.respond([':status', `${status}`, ...fields], { endStream, waitForTrailers: !endStream });
    this.#isAnswerOut = endStream;
  }

  flushHead(): void {
    // Node sends it at once.
  }

  end(trailers: Fields): void {
    this.#answerTrailers = trailers;
    this.#stream.end();
  }

  switchProtocols(): Duplex {
    throw new Error('HTTP/2 has no Upgrade (RFC 9113, 8.6)');
  }

  handOver(): undefined {
    return undefined;
  }

  onBroken(): void {
    // Node resets the stream.
  }

  breakOff(): void {
    // Not `close()`: it would end the stream first, as if the answer were complete.
    this.#stream.destroy(new Error('the answer is broken off'));
  }

  /** A client that opens no window for a refusal gets none. */
  limitAnswer(): void {
    const timer = setTimeout(() => this.#giveUp(), this.#limits.unwantedMs).unref();
    this.#stream.once('close', () => clearTimeout(timer));
  }

  discardBody(): void {
    this.stopBody();
  }

  /** The answer stays good. */
  stopBody(): void {
    if (this.isComplete || this.isGone) return;
    this.#isBodyUnwanted = true;
    if (!this.#isAnswerOut) return;
    this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }

  onClose(listener: () => void): () => void {
    this.#stream.once('close', listener);
    return () => void this.#stream.off('close', listener);
  }

  /** Not a reset alone: Node would keep the stream until the client, which may have stopped reading, has taken that. */
  #giveUp(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
    this.#stream.destroy();
  }

  #sendTrailers(): void {
    if (this.isGone) return;
    sendTrailers(this.#stream, this.#answerTrailers);
    // Node sends them in an immediate of its own; a reset must not overtake them.
    setImmediate(() => {
      this.#isAnswerOut = true;
      if (this.#isBodyUnwanted) this.stopBody();
    });
  }
}

/** A cookie may come in pieces, which belong together outside of HTTP/2 (RFC 9113, 8.2.3). */
function withOneCookie(fields: Fields): Fields {
  const pieces = valuesOf(fields, 'cookie');
  return pieces.length < 2 ? fields : [...without(fields, 'cookie'), 'cookie', pieces.join('; ')];
}
