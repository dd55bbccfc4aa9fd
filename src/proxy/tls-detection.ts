/** Whether an application's port speaks TLS (section 5.4), found out without a question to those that do not. */
import { Duplex } from 'node:stream';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { LullError } from '../domain/errors.ts';

export type Transport = 'plain' | 'tls';
/** What is spoken over a connection, as ALPN writes it. */
export type HttpVersion = 'h2' | 'http/1.1';

/** A handshake inside the machine; where it takes longer, there is none. */
const HANDSHAKE_MS = 5000;
/** What is kept of a request to an unknown port, to be said again over TLS: heads and the small bodies of calls. */
const REPLAY_BYTES = 64 * 1024;
/** What servers with a TLS port answer in plain text to plain text: a 400 that ends the connection (nginx, Apache; Go by HTTP/1.0). */
const REFUSAL_LINE = /^HTTP\/1\.[01] 400/;
const REFUSAL_LINE_BYTES = 12;
const ENDS_CONNECTION = /^HTTP\/1\.0|^connection:[ \t]*close/im;
/** None of theirs has so long a head. */
const REFUSAL_HEAD_BYTES = 4096;
/** The first two bytes of a TLS record (RFC 8446, 5.1): an alert or a handshake, version 3.x. */
const isTlsRecord = (bytes: Buffer) => (bytes[0] === 21 || bytes[0] === 22) && bytes[1] === 3;

/**
 * TLS with an application. Its certificate is not checked: the channel ends inside the microVM, where nobody else is.
 * @throws LullError internal, with the failure as its cause
 */
export async function secure(stream: Duplex, versions: readonly HttpVersion[]): Promise<TLSSocket> {
  const socket = tlsConnect({ socket: stream, rejectUnauthorized: false, ALPNProtocols: [...versions] });
  const agreed = Promise.withResolvers<void>();
  const limit = setTimeout(() => agreed.reject(new Error(`no handshake in ${HANDSHAKE_MS} ms`)), HANDSHAKE_MS);
  socket.once('secureConnect', agreed.resolve).on('error', agreed.reject);
  socket.once('close', () => agreed.reject(new Error('hung up')));
  try {
    await agreed.promise;
    return socket;
  } catch (cause) {
    socket.destroy();
    stream.destroy();
    throw new LullError('internal', 'the application took the connection and not its TLS handshake', { cause });
  } finally {
    clearTimeout(limit);
  }
}

/**
 * What a handshake that failed says of a port: who refuses with an alert speaks TLS all the same, who answers in anything else
 * does not, and of one that is busy or has hung up nothing is known.
 */
function verdictOf(error: unknown): Transport | undefined {
  const code = error instanceof LullError ? ((error.cause as NodeJS.ErrnoException | undefined)?.code ?? '') : '';
  if (!code.startsWith('ERR_SSL_')) return undefined;
  return code.includes('ALERT') ? 'tls' : 'plain';
}

/** What a port's first bytes say: plain HTTP, what a TLS port says to it, or not enough yet. */
function judge(heard: Buffer): 'plain' | 'suspect' | 'more' {
  if (isTlsRecord(heard)) return 'suspect';
  if (heard.length < REFUSAL_LINE_BYTES) return 'more';
  const text = heard.toString('latin1', 0, REFUSAL_HEAD_BYTES);
  if (!REFUSAL_LINE.test(text)) return 'plain';
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return heard.length < REFUSAL_HEAD_BYTES ? 'more' : 'plain';
  return ENDS_CONNECTION.test(text.slice(0, end)) ? 'suspect' : 'plain';
}

/**
 * A connection to a port of which nothing is known. It speaks in plain text at once, as most applications do. Where the answer
 * is one that a TLS port would give (an alert, a plain 400 and a hang-up, or that alone), it tries TLS on a connection of its
 * own; where that succeeds, the same bytes go there: in plain text they never were a request to anybody.
 */
export class DetectingStream extends Duplex {
  #far: Duplex;
  readonly #dialTls: () => Promise<Duplex>;
  readonly #onVerdict: (transport: Transport) => void;
  #isOpen = true;
  /** What has been written so far; undefined once it is too much to say again. */
  #said: Buffer[] | undefined = [];
  #saidBytes = 0;
  /** The far stream is another's: nothing here touches it any more. */
  #isReleased = false;
  #heard = Buffer.alloc(0);
  readonly #passing = {
    data: (bytes: Buffer) => {
      if (!this.push(bytes)) this.#far.pause();
    },
    end: () => this.push(null),
    error: (error: Error) => this.destroy(error),
    close: () => this.destroy(),
  };

  constructor(plain: Duplex, options: { dialTls: () => Promise<Duplex>; onVerdict: (transport: Transport) => void }) {
    super({ allowHalfOpen: true });
    this.#far = plain;
    this.#dialTls = options.dialTls;
    this.#onVerdict = options.onVerdict;
    const hear = (bytes: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, bytes]);
      const judgement = judge(this.#heard);
      if (judgement === 'suspect') return suspect();
      if (judgement === 'more') return;
      plain.off('data', hear).off('end', suspect).off('close', suspect).pause();
      this.#settle('plain');
    };
    const suspect = () => {
      // We hung up ourselves.
      if (this.destroyed) return;
      plain.off('data', hear).off('end', suspect).off('close', suspect).pause();
      void this.#tryTls();
    };
    plain.on('error', () => undefined);
    plain.on('data', hear).once('end', suspect).once('close', suspect);
  }

  async #tryTls(): Promise<void> {
    const tls = await this.#dialTls().catch(verdictOf);
    if (tls === undefined || tls === 'plain') return this.#settle(tls);
    if (tls === 'tls') return this.#giveUp('the application speaks TLS and refused the handshake');
    if (this.destroyed || this.#said === undefined) {
      tls.destroy();
      return this.#giveUp('the application speaks TLS, and the request is too large to be said again');
    }
    this.#far.destroy();
    this.#far = tls;
    this.#heard = Buffer.alloc(0);
    for (const bytes of this.#said) tls.write(bytes);
    if (this.writableEnded) tls.end();
    this.#settle('tls');
  }

  /** Nothing that was heard is an answer to the request: it was said in the wrong language. */
  #giveUp(reason: string): void {
    this.#onVerdict('tls');
    this.destroy(new LullError('internal', reason));
  }

  /** From here on the bytes of the far stream are ours. */
  #settle(verdict: Transport | undefined): void {
    const far = this.#far;
    if (verdict !== undefined) this.#onVerdict(verdict);
    this.#isOpen = false;
    this.#said = undefined;
    for (const [event, listener] of Object.entries(this.#passing)) far.on(event, listener);
    if (this.#heard.length > 0) this.push(this.#heard);
    // What was heard may have been a whole answer, whose reader has taken the far stream over at once.
    if (this.#isReleased) return;
    if (far.readableEnded || far.destroyed) this.push(null);
    if (far.destroyed) this.destroy();
    else far.resume();
  }

  /**
   * Gives the far stream away, to be used without this one, which must not be used any more then.
   * @returns undefined while that cannot be: nothing is known yet, or bytes wait here
   */
  release(): Duplex | undefined {
    const far = this.#far;
    if (this.#isOpen || this.destroyed || far.destroyed || this.readableEnded || this.writableEnded) return undefined;
    if (this.readableLength > 0 || this.writableLength > 0) return undefined;
    for (const [event, listener] of Object.entries(this.#passing)) far.off(event, listener);
    this.#isReleased = true;
    return far;
  }

  override _read(): void {
    if (!this.#isOpen && !this.#isReleased) this.#far.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const wasOpen = this.#isOpen;
    if (wasOpen) this.#keep(bytes);
    // A port that hung up on plain text may yet take it over TLS.
    this.#far.write(bytes, (error) => done(wasOpen ? null : error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#far.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#far.destroy();
    done(error);
  }

  #keep(bytes: Buffer): void {
    this.#saidBytes += bytes.length;
    if (this.#saidBytes > REPLAY_BYTES) this.#said = undefined;
    this.#said?.push(bytes);
  }
}

/** The stream to use from now on: the far one, where what it speaks has been found out and nothing of it waits. */
export const withoutDetection = (stream: Duplex): Duplex => (stream instanceof DetectingStream ? stream.release() : undefined) ?? stream;
