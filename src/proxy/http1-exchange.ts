import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { upgradeOf, valueOf, type Fields } from './headers.ts';
import { AnswerReader, type AnswerListener, type Http1Head } from './http1-answer.ts';
import { fieldLines, requestLine } from './http1-syntax.ts';
import { IDLE_MS, type Answer, type Outbound, type OutboundEvents, type OutboundHead } from './outbound.ts';
import type { Sink, Source } from './pump.ts';
import { withoutDetection } from './tls-detection.ts';

/** Methods of requests whose framing says nothing where they have no body (RFC 9110, 8.6). */
const BODILESS_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);
const SECOND_MS = 1000;

/** What an exchange leaves behind: a connection for the next, for none, of no use at all, or of another protocol. */
export type Outcome = 'reusable' | 'last' | 'broken' | 'switched';

export interface Http1ExchangeParts {
  readonly stream: Duplex;
  readonly head: OutboundHead;
  readonly events: OutboundEvents;
  /** What an answer's head may have. */
  readonly headerBytes: number;
  /** The stream is free of this exchange. */
  readonly onOver: (outcome: Outcome) => void;
}

/** One request to an application and its answer, as bytes of HTTP/1.1. Node's client costs several times as much. */
export class Http1Exchange implements Outbound, AnswerListener {
  readonly #parts: Http1ExchangeParts;
  readonly #reader: AnswerReader;
  readonly #request: RequestBody;
  #answer: Http1Answer | undefined;
  /** The answer, or what came behind it, makes it the connection's last. */
  #isLast = false;
  #isOver = false;

  /** @throws SyntaxFault where the request cannot be written; nothing has been then */
  constructor(parts: Http1ExchangeParts) {
    this.#parts = parts;
    const { stream, head, headerBytes } = parts;
    this.#reader = new AnswerReader({ method: head.method, isUpgrade: head.upgrade !== undefined, headerBytes }, this);
    this.#request = new RequestBody(stream, headText(head), head.framing === 'chunked');
    if (head.framing === 'none') this.#request.finish([]);
  }

  get sink(): Sink {
    return this.#request;
  }

  flushHead(): void {
    this.#request.flushHead();
  }

  end(trailers: Fields): void {
    if (this.#isOver || this.#request.writableEnded) return;
    try {
      this.#request.finish(trailers);
    } catch (error) {
      return this.fail(error as Error);
    }
    if (this.#answer?.isComplete === true) this.#finish('reusable');
  }

  abort(): void {
    this.fail();
  }

  /** Bytes of the application. */
  take(bytes: Buffer): void {
    try {
      this.#reader.take(bytes);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  drained(): void {
    this.#request.emit('drain');
  }

  /** The application has ended its side. @returns whether that was an answer's end */
  farEnded(): boolean {
    return this.#reader.end();
  }

  /** It does not come to a good end. */
  fail(error?: Error): void {
    if (this.#isOver) return;
    if (error !== undefined && this.#answer?.isComplete === false) this.#answer.emit('error', error);
    this.#finish('broken', error);
  }

  interim({ status, fields }: Http1Head): void {
    this.#parts.events.interim(status, fields);
  }

  answer(head: Http1Head): void {
    if (keepsForMs(head.fields) <= IDLE_MS) this.#isLast = true;
    this.#answer = new Http1Answer(head, this.#parts.stream, this);
    this.#parts.events.answer(this.#answer);
  }

  data(piece: Buffer): void {
    this.#answer!.emit('data', piece);
  }

  complete(isLast: boolean): void {
    this.#isLast ||= isLast;
    this.#answer!.complete(this.#reader.trailers);
    if (this.#isLast) this.#finish('last');
    // A request whose answer came early goes on until it is complete.
    else if (this.#request.writableEnded) this.#finish('reusable');
  }

  switched({ status, message, fields }: Http1Head, early: Buffer): void {
    const { stream, events, onOver } = this.#parts;
    this.#isOver = true;
    onOver('switched');
    const far = withoutDetection(stream);
    events.switched({ status, message, fields, isEmpty: true, upgrade: upgradeOf(fields, status) }, far, early);
    far.resume();
  }

  #finish(outcome: Outcome, error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reader.stop();
    this.#request.close();
    this.#parts.onOver(outcome);
    this.#answer?.emit('close');
    this.#parts.events.closed(error);
  }
}

/** The request on its way; its head waits for the first bytes of the body, to go with them. */
class RequestBody extends EventEmitter implements Sink {
  readonly #stream: Duplex;
  readonly #isChunked: boolean;
  /** What has not been written yet. */
  #head: string;
  destroyed = false;
  writableEnded = false;

  constructor(stream: Duplex, head: string, isChunked: boolean) {
    super();
    this.#stream = stream;
    this.#head = head;
    this.#isChunked = isChunked;
  }

  get writableNeedDrain(): boolean {
    return this.#stream.writableNeedDrain;
  }

  write(piece: Buffer): boolean {
    const stream = this.#stream;
    const before = this.#isChunked ? `${this.#head}${piece.length.toString(16)}\r\n` : this.#head;
    if (before === '') return stream.write(piece);
    this.#head = '';
    stream.cork();
    stream.write(before, 'latin1');
    stream.write(piece);
    if (this.#isChunked) stream.write('\r\n', 'latin1');
    stream.uncork();
    return !stream.writableNeedDrain;
  }

  flushHead(): void {
    if (this.#head !== '' && !this.destroyed) this.#stream.write(this.#head, 'latin1');
    this.#head = '';
  }

  /** @throws SyntaxFault where the trailers cannot be written */
  finish(trailers: Fields): void {
    const last = this.#isChunked ? `0\r\n${fieldLines(trailers)}\r\n` : '';
    this.writableEnded = true;
    this.#head += last;
    this.flushHead();
  }

  /** Nothing more is taken. */
  close(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

/** An answer, and its body as it comes: far lighter than a stream of Node's, since nothing ever waits in it. */
class Http1Answer extends EventEmitter implements Answer, Source {
  readonly status: number;
  readonly message: string;
  readonly fields: Fields;
  readonly isEmpty: boolean;
  readonly upgrade: string | undefined;
  readonly #stream: Duplex;
  readonly #request: Outbound;
  #trailers: Fields = [];
  isComplete = false;

  constructor({ status, message, fields, isEmpty }: Http1Head, stream: Duplex, request: Outbound) {
    super();
    this.status = status;
    this.message = message;
    this.fields = fields;
    this.isEmpty = isEmpty;
    this.upgrade = upgradeOf(fields, status);
    this.#stream = stream;
    this.#request = request;
  }

  get body(): Source {
    return this;
  }

  trailers(): Fields {
    return this.#trailers;
  }

  complete(trailers: Fields): void {
    this.#trailers = trailers;
    this.isComplete = true;
    this.emit('end');
  }

  pause(): void {
    if (!this.isComplete) this.#stream.pause();
  }

  /** Once the answer is complete, the stream is another exchange's. */
  resume(): void {
    if (!this.isComplete) this.#stream.resume();
  }

  destroy(): void {
    this.#request.abort();
  }
}

/** The head on the wire: the body's framing is stated anew (RFC 9112, 6), and what is meant for this hop is added. @throws SyntaxFault */
function headText({ method, path, authority, fields, framing, upgrade, wantsTrailers }: OutboundHead): string {
  const hop: string[] = [];
  if (framing === 'chunked') hop.push('Transfer-Encoding', 'chunked');
  // Without it, a server that expects a body would wait for one (RFC 9110, 8.6).
  if (framing === 'none' && !BODILESS_METHODS.has(method)) hop.push('Content-Length', '0');
  if (upgrade !== undefined) hop.push('Upgrade', upgrade, 'Connection', 'Upgrade');
  else if (wantsTrailers) hop.push('TE', 'trailers', 'Connection', 'TE');
  else hop.push('Connection', 'keep-alive');
  return `${requestLine(method, path)}${fieldLines(['Host', authority])}${fieldLines(fields)}${fieldLines(hop)}\r\n`;
}

/** How long the application says that it keeps an idle connection. */
function keepsForMs(fields: Fields): number {
  const seconds = /(?:^|,)\s*timeout=(\d+)/.exec(valueOf(fields, 'keep-alive') ?? '')?.[1];
  return seconds === undefined ? Infinity : Number(seconds) * SECOND_MS;
}
