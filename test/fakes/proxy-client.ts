/** One request of either version of HTTP, by Node's own clients. */
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { connect as http2Connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { request as httpsRequest, type Agent } from 'node:https';
import type { Readable, Writable } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';

const BODY_METHODS = new Set(['POST', 'PUT', 'PATCH']);

export const VERSIONS = ['HTTP/1.1', 'HTTP/2'] as const;
export type Version = (typeof VERSIONS)[number];

/** What a test asks; a header that is set to '' is left out. */
export interface Ask {
  readonly version?: Version;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly trailers?: Record<string, string>;
  /** No body follows: the request is complete at once. That of a method without one is, where this is left out. */
  readonly isEmpty?: boolean;
  /** Of HTTP/1.1. */
  readonly agent?: Agent;
  readonly host?: string;
}

/** Where the proxy is. */
export interface Place {
  readonly port: number;
  readonly ca: Buffer;
  readonly servername: string;
}

/** The head of an answer, and its body as it comes. */
export interface Answered {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Readable;
  /** Once the body has ended. */
  trailers(): Record<string, unknown>;
}

/** A request under way. */
export interface Asked {
  readonly sink: Writable;
  /** Ends the request, with its trailers where it has some. */
  end(chunk?: Buffer | string): void;
  /** The statuses of interim answers so far. */
  readonly interim: readonly number[];
  /** Resolves at the next interim answer. */
  nextInterim(): Promise<unknown>;
  readonly answer: Promise<Answered>;
  /** Resolves when nothing of the request is left: how HTTP/2 closed it, undefined for HTTP/1.1. */
  readonly closed: Promise<number | undefined>;
  abort(): void;
}

export function begin(place: Place, { version = 'HTTP/1.1', method = 'GET', ...ask }: Ask): Asked {
  const headers = Object.fromEntries(Object.entries(ask.headers ?? {}).filter(([, value]) => value !== ''));
  const whole = { isEmpty: !BODY_METHODS.has(method), ...ask, method, headers };
  return version === 'HTTP/1.1' ? beginHttp1(place, whole) : beginHttp2(place, whole);
}

type WholeAsk = Ask & { readonly headers: NonNullable<Ask['headers']> };

function beginHttp1(place: Place, { trailers, isEmpty, ...ask }: WholeAsk): Asked {
  const request = httpsRequest({ host: '127.0.0.1', agent: false, ...place, ...ask });
  const interim: number[] = [];
  request.on('error', () => undefined);
  request.on('information', ({ statusCode }) => interim.push(statusCode));
  if (isEmpty === true) request.end();
  else request.flushHeaders();
  return {
    sink: request,
    end: (chunk) => {
      if (trailers !== undefined) request.addTrailers(Object.entries(trailers));
      request.end(chunk);
    },
    interim,
    nextInterim: () => once(request, 'information'),
    answer: awaited(answerOfHttp1(request)),
    closed: new Promise((resolve) => request.once('close', () => resolve(undefined))),
    abort: () => request.destroy(),
  };
}

async function answerOfHttp1(request: ClientRequest): Promise<Answered> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject));
  return { status: answer.statusCode!, headers: answer.headers, body: answer, trailers: () => ({ ...answer.trailers }) };
}

/** A session of HTTP/2 with the proxy. */
export function openSession({ port, ca, servername }: Place, host = '127.0.0.1'): ClientHttp2Session {
  const session = http2Connect(`https://${servername}:${port}`, {
    createConnection: () => tlsConnect({ host, port, ca, servername, ALPNProtocols: ['h2'] }),
  });
  session.on('error', () => undefined);
  return session;
}

function beginHttp2(place: Place, ask: WholeAsk): Asked {
  const session = openSession(place, ask.host);
  const asked = askIn(session, ask);
  void asked.closed.then(() => session.close());
  return asked;
}

/** One more request in a session. */
export function askIn(session: ClientHttp2Session, { method = 'GET', path = '/', headers = {}, trailers, isEmpty = true }: Ask): Asked {
  const { Host: authority, ...fields } = headers;
  const pseudo = { ':method': method, ':path': path, ...(authority === undefined ? {} : { ':authority': authority }) };
  const stream = session.request({ ...pseudo, ...fields }, { endStream: isEmpty, waitForTrailers: trailers !== undefined });
  const interim: number[] = [];
  stream.on('error', () => undefined);
  stream.on('wantTrailers', () => stream.sendTrailers(trailers!));
  stream.on('headers', (got) => interim.push(got[':status']!));
  return {
    sink: stream,
    end: (chunk) => void stream.end(chunk),
    interim,
    nextInterim: () => once(stream, 'headers'),
    answer: awaited(answerOfHttp2(stream)),
    closed: new Promise((resolve) => stream.once('close', () => resolve(stream.rstCode))),
    abort: () => stream.close(constants.NGHTTP2_CANCEL),
  };
}

async function answerOfHttp2(stream: ClientHttp2Stream): Promise<Answered> {
  let trailers: Record<string, unknown> = {};
  stream.on('trailers', ({ ...got }) => (trailers = Object.fromEntries(Object.entries(got))));
  const headers = await new Promise<Record<string, string>>((resolve, reject) => {
    stream.once('response', ({ ...got }) => resolve(got as Record<string, string>));
    stream.once('close', () => reject(new Error(`closed without an answer: ${stream.rstCode}`)));
  });
  const status = Number(headers[':status']);
  delete headers[':status'];
  return { status, headers, body: stream, trailers: () => trailers };
}

/** An answer that no test waits for may fail unheard. */
function awaited<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
