import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { framingOf, isPlainTarget, trailerPairs, valuesOf, without, type Fields } from './headers.ts';
import type { AnswerHead, ClientConnection, Inbound, RequestHead, Upgrading } from './inbound.ts';
import type { ProxyLimits } from './limits.ts';
import { REFUSALS, RefusedError } from './refusal.ts';

const NOTHING = Buffer.alloc(0);
const VERSIONS = new Set(['1.0', '1.1']);

/** A request of HTTP/1.1 (or 1.0). */
export class Http1Inbound implements Inbound {
  readonly version = 'http/1.1';
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #limits: ProxyLimits;
  /** Of a request that asks for an Upgrade. */
  readonly #upgrading: Omit<Upgrading, 'request'> | undefined;
  #onBroken: ((refused: RefusedError) => void) | undefined;
  /** Node no longer tells an answer of its connection. */
  readonly #onDrain = () => this.#response.emit('drain');
  /** Nor of a client that leaves while it is held: the end of what it sends comes only to who reads, a turn later. */
  readonly #onReadable = () => {
    const client = this.#upgrading!.client;
    if (client.readableLength === 0) client.read();
  };
  readonly #onEnd = () => this.#upgrading!.client.destroy();

  constructor(parts: { request: IncomingMessage; response: ServerResponse; limits: ProxyLimits; upgrading?: Omit<Upgrading, 'request'> }) {
    this.#request = parts.request;
    this.#response = parts.response;
    this.#limits = parts.limits;
    this.#upgrading = parts.upgrading;
    this.#upgrading?.client.on('drain', this.#onDrain);
    this.#upgrading?.client.on('readable', this.#onReadable);
    this.#upgrading?.client.on('end', this.#onEnd);
    // Ends and failures are seen at 'close'; an 'error' that nobody hears would end the process.
    for (const stream of [this.#request, this.#response, this.#upgrading?.client]) stream?.on('error', () => undefined);
  }

  get connection(): ClientConnection {
    return this.#request.socket;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get body(): Readable {
    return this.#request;
  }

  get sink(): Writable {
    return this.#response;
  }

  get isComplete(): boolean {
    return this.#request.complete;
  }

  get isAnswered(): boolean {
    return this.#response.headersSent;
  }

  get isGone(): boolean {
    return this.#response.destroyed || this.#request.socket.destroyed;
  }

  /** Nothing more is said of it, either way. */
  get isClosed(): boolean {
    return this.#response.closed;
  }

  readHead(): RequestHead {
    try {
      return this.#parseHead();
    } catch (error) {
      // What follows on this connection may not be what it looks like (RFC 9112, 6.1).
      this.#response.shouldKeepAlive = false;
      throw error;
    }
  }

  #parseHead(): RequestHead {
    const { rawHeaders, httpVersion, url = '/' } = this.#request;
    // Node reads 0.9 and 2.0 as well.
    if (!VERSIONS.has(httpVersion)) throw new RefusedError(REFUSALS.malformed, 'no version of HTTP/1');
    const framing = framingOf(rawHeaders);
    if (framing === undefined) throw new RefusedError(REFUSALS.malformed, 'unknown transfer coding');
    // RFC 9112 section 6.1: who sends it does not know what it means, nor may whoever passed it on.
    if (framing === 'chunked' && httpVersion === '1.0') throw new RefusedError(REFUSALS.malformed, 'a transfer coding in HTTP/1.0');
    const hosts = valuesOf(rawHeaders, 'host');
    // RFC 9112, 3.2.
    if (hosts.length === 0 && httpVersion === '1.1') throw new RefusedError(REFUSALS.malformed, 'no Host');
    // Of two Node keeps the first.
    if (hosts.length > 1) throw new RefusedError(REFUSALS.malformed, 'more than one Host');
    const target = /^https?:\/\/([^/?]*)(.*)$/i.exec(url);
    if (target !== null && target[1]!.toLowerCase() !== hosts[0]?.toLowerCase()) {
      throw new RefusedError(REFUSALS.malformed, 'Host and request target differ');
    }
    // Absolute form becomes origin form (RFC 9112, 3.2.2).
    const path = target === null ? url : target[2]!.startsWith('/') ? target[2]! : `/${target[2]!}`;
    if (!isPlainTarget(this.method, path)) throw new RefusedError(REFUSALS.malformed, 'a target of another form');
    return {
      method: this.method,
      path,
      authority: hosts[0],
      fields: without(rawHeaders, 'host'),
      framing,
      upgrade: this.#upgrading && valuesOf(rawHeaders, 'upgrade').join(', '),
    };
  }

  trailers(): Fields {
    return this.#request.rawTrailers;
  }

  interim(status: number, fields: Fields): void {
    const { headers, httpVersion } = this.#request;
    if (this.isAnswered || this.isGone || httpVersion === '1.0') return;
    if (status !== 100) return this.#response.writeInformation(status, [...fields]);
    if (headers.expect !== undefined) this.#response.writeContinue();
  }

  answer({ status, message, fields, upgrade }: AnswerHead): void {
    const response = this.#response;
    // A client that still waits for "100 Continue" will not send its body now: no request can follow on this connection.
    const waits = this.#request.headers.expect !== undefined && !this.isComplete && !this.#request.readableDidRead;
    if (waits || this.#upgrading !== undefined) response.shouldKeepAlive = false;
    const all = withUpgrade(fields, upgrade);
    if (message === undefined) response.writeHead(status, all);
    else response.writeHead(status, message, all);
  }

  flushHead(): void {
    flushHead(this.#response);
  }

  end(trailers: Fields): void {
    if (!this.isComplete) this.#watchClient();
    if (trailers.length > 0) this.#response.addTrailers(trailerPairs(trailers));
    this.#response.end();
  }

  /** Once it has been answered, Node no longer tells a request that its client has left. */
  #watchClient(): void {
    const request = this.#request;
    const { socket } = request;
    const leave = () => void request.destroy();
    socket.once('close', leave);
    request.once('close', () => socket.off('close', leave));
  }

  switchProtocols({ message, fields, upgrade }: AnswerHead): Duplex {
    const { client, early } = this.#upgrading!;
    this.#letGo(client);
    const lines = [`HTTP/1.1 101 ${message || STATUS_CODES[101]}`];
    const all = withUpgrade(fields, upgrade);
    for (let at = 0; at + 1 < all.length; at += 2) lines.push(`${all[at]}: ${all[at + 1]}`);
    client.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    if (early.length > 0) client.unshift(early);
    return client;
  }

  handOver<T>(take: (upgrading: Upgrading) => T | undefined): T | undefined {
    if (this.#upgrading === undefined) return undefined;
    const taken = take({ request: this.#request, ...this.#upgrading });
    if (taken !== undefined) this.#letGo(this.#upgrading.client);
    return taken;
  }

  /** What the client's connection no longer refers to is free while the new protocol goes on, perhaps for days. */
  #letGo(client: Duplex): void {
    this.#response.detachSocket(this.#request.socket);
    client.off('drain', this.#onDrain);
    client.off('readable', this.#onReadable);
    client.off('end', this.#onEnd);
  }

  onBroken(listener: (refused: RefusedError) => void): void {
    this.#onBroken = listener;
  }

  /** What follows of the request cannot be read. @returns false where nothing can be said of that to the client */
  breakRequest(refused: RefusedError): boolean {
    if (this.#onBroken === undefined || this.isComplete || this.isAnswered || this.isGone) return false;
    this.#response.shouldKeepAlive = false;
    this.#onBroken(refused);
    return true;
  }

  breakOff(): void {
    this.#response.destroy();
  }

  limitAnswer(): void {
    const { socket } = this.#request;
    const timer = setTimeout(() => socket.destroy(), this.#limits.unwantedMs).unref();
    this.#response.once('close', () => clearTimeout(timer));
  }

  /** Reads and drops it; a client that goes on for too long or too much is cut off. */
  discardBody(): void {
    const request = this.#request;
    if (request.complete || request.destroyed) return;
    let left = this.#limits.unwantedBytes;
    const timer = setTimeout(() => request.socket.destroy(), this.#limits.unwantedMs).unref();
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) request.socket.destroy();
    });
    request.once('close', () => clearTimeout(timer));
    request.resume();
  }

  stopBody(): void {
    // What comes is passed on, and the next request follows it.
  }

  onClose(listener: () => void): () => void {
    const ending = this.#upgrading?.client ?? this.#response;
    ending.once('close', listener);
    return () => void ending.off('close', listener);
  }
}

const withUpgrade = (fields: Fields, upgrade: string | undefined) => [
  ...(upgrade === undefined ? [] : ['Upgrade', upgrade, 'Connection', 'Upgrade']),
  ...fields,
];

/** Sends the head alone. Node's `flushHeaders` would write it as UTF-8 and so double the bytes above 0x7f; a write does not. */
function flushHead(message: ServerResponse): void {
  if (!message.destroyed && !message.writableEnded) message.write(NOTHING);
}
