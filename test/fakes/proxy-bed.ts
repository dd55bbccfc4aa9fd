/** A proxy with one microVM behind it, whose application is a server of the test on loopback. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { randomBytes, randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { Clock, EndpointClaims, TokenKey, TokenKeyRepository } from '../../src/domain/ports.ts';
import type { AllowanceOf } from '../../src/proxy/allowance.ts';
import { ensureCertificates, type Certificates } from '../../src/proxy/certificates.ts';
import { UNOBSERVED, type ExchangeObserver } from '../../src/proxy/exchange.ts';
import type { ProxyLimits } from '../../src/proxy/limits.ts';
import { createProxy, type Proxy } from '../../src/proxy/server.ts';
import { createEndpointTokens } from '../../src/proxy/tokens.ts';
import { FakeDestinations } from './destinations.ts';
import { begin, type Answered, type Ask, type Asked, type Place } from './proxy-client.ts';

export const DOMAIN = 'microvm.localhost';
export const MICROVM = 'microvm-11111111-1111-4111-8111-111111111111';
export const ENDPOINT = '22222222-2222-4222-8222-222222222222';
export const HOST = `${ENDPOINT}.${DOMAIN}`;
export const OTHER_MICROVM = 'microvm-33333333-3333-4333-8333-333333333333';
export const OTHER_ENDPOINT = '44444444-4444-4444-8444-444444444444';

/** The machine's clock, and a stride that a test may add to it. */
export class SteeredClock implements Clock {
  aheadMs = 0;

  nowMs(): number {
    return Date.now() + this.aheadMs;
  }

  at(atMs: number, callback: () => void): Disposable {
    const timer = setTimeout(callback, Math.max(0, atMs - this.nowMs())).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }
}

export const random = { uuid: () => randomUUID(), bytes: (length: number) => randomBytes(length) };

export class MemoryTokenKeys implements TokenKeyRepository {
  readonly keys: TokenKey[] = [];

  insert(key: TokenKey): Promise<void> {
    this.keys.unshift(key);
    return Promise.resolve();
  }

  list(): Promise<readonly TokenKey[]> {
    return Promise.resolve([...this.keys]);
  }
}

/** Options of node:https that a test sets; headers go over the bed's own. */
export interface HttpsAsk extends Omit<RequestOptions, 'headers'> {
  readonly headers?: Record<string, string | string[]>;
}

/** What verifies the proxy's certificate. */
interface HostCheck {
  readonly ca: NonNullable<RequestOptions['ca']>;
  readonly servername: string;
}

/** What a client saw of an answer. */
export interface Seen {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly rawHeaders: readonly string[];
  readonly trailers: Record<string, unknown>;
  readonly body: string;
}

export class ProxyBed implements AsyncDisposable {
  readonly clock = new SteeredClock();
  readonly keys = new MemoryTokenKeys();
  readonly tokens = createEndpointTokens({ keys: this.keys, clock: this.clock, random });
  readonly destinations = new FakeDestinations();
  readonly logged: Record<string, unknown>[] = [];
  readonly certificates: Certificates;
  readonly ca: Buffer;
  readonly proxy: Proxy;
  port = 0;
  readonly #dir: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(made: { dir: string; certificates: Certificates; ca: Buffer; cert: Buffer; key: Buffer; limits: Partial<ProxyLimits>; allowanceOf: AllowanceOf; observer: ExchangeObserver }) {
    this.#dir = made.dir;
    this.certificates = made.certificates;
    this.ca = made.ca;
    this.destinations.known.set(ENDPOINT, { microvmId: MICROVM, ingress: ['HTTP_INGRESS'], baselineMib: 512 });
    this.destinations.known.set(OTHER_ENDPOINT, { microvmId: OTHER_MICROVM, ingress: ['HTTP_INGRESS'], baselineMib: 512 });
    const log = (fields: object) => void this.logged.push({ ...fields });
    this.proxy = createProxy({
      ...{ destinations: this.destinations, tokens: this.tokens, clock: this.clock, random, domain: DOMAIN },
      ...{ tls: { cert: made.cert, key: made.key }, log: { debug: log, info: log, warn: log, error: log }, limits: { closeMs: 200, ...made.limits } },
      allowanceOf: made.allowanceOf,
      observer: made.observer,
    });
  }

  static async start(limits: Partial<ProxyLimits> = {}, allowanceOf: AllowanceOf = () => undefined, observer = UNOBSERVED): Promise<ProxyBed> {
    const dir = await mkdtemp(join(tmpdir(), 'lull-proxy-'));
    const certificates = await ensureCertificates({ dir, domain: DOMAIN, clock: new SteeredClock() });
    const [ca, cert, key] = await Promise.all([certificates.caPath, certificates.certPath, certificates.keyPath].map((path) => readFile(path)));
    const bed = new ProxyBed({ dir, certificates, ca: ca!, cert: cert!, key: key!, limits, allowanceOf, observer });
    bed.port = (await bed.proxy.listen({ host: '127.0.0.1', port: 0 }))!;
    return bed;
  }

  /** Puts an HTTP application behind a port of the microVM. */
  async app(listener: RequestListener, port = 8080): Promise<ReturnType<typeof createServer>> {
    const server = createServer(listener);
    await this.#serve(server, port);
    return server;
  }

  /** Puts an application there that speaks HTTP/2 without TLS. */
  async http2App(listener: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void, port = 8080): Promise<Http2Server> {
    const server = createHttp2Server();
    server.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      listener(stream, headers);
    });
    await this.#serve(server, port);
    return server;
  }

  /** Puts any server there. */
  async serverApp(server: Server, port = 8080): Promise<void> {
    await this.#serve(server, port);
  }

  /** Puts an application of raw bytes there. */
  async rawApp(listener: (socket: Socket) => void, port = 8080): Promise<void> {
    await this.#serve(createTcpServer({ allowHalfOpen: true }, listener), port);
  }

  async #serve(server: Server, port: number): Promise<void> {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.destinations.ports.set(port, (server.address() as AddressInfo).port);
  }

  /** The applications' ends of the connections that are open. */
  applicationSockets(): readonly Socket[] {
    return [...this.#sockets];
  }

  token(claims: Partial<EndpointClaims> = {}): Promise<string> {
    const ports = [{ from: 1, to: 65_535 }];
    return this.tokens.issue({ microvmId: MICROVM, purpose: 'http', ports, expiresAtMs: this.clock.nowMs() + 60_000, ...claims });
  }

  /** Options of node:https for a request with a good token. */
  async options(more: HttpsAsk = {}): Promise<RequestOptions & HostCheck> {
    const headers = { Host: `${HOST}:${this.port}`, 'X-aws-proxy-auth': await this.token(), ...more.headers };
    return { host: '127.0.0.1', port: this.port, agent: false, ...more, headers, ca: more.ca ?? this.ca, servername: more.servername ?? HOST };
  }

  /** One request, its whole answer. A header that is set to '' is left out. */
  async fetch(more: HttpsAsk & { body?: string } = {}): Promise<Seen> {
    const { body, ...rest } = more;
    const options = await this.options(rest);
    const headers = Object.fromEntries(Object.entries(options.headers as Record<string, string>).filter(([, value]) => value !== ''));
    const request = httpsRequest({ ...options, headers });
    request.end(body);
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    return seen(answer);
  }

  get place(): Place {
    return { port: this.port, ca: this.ca, servername: HOST };
  }

  /** Begins a request with a good token, of either version of HTTP. */
  async begin(more: Ask = {}): Promise<Asked> {
    const headers = { Host: `${HOST}:${this.port}`, 'X-aws-proxy-auth': await this.token(), ...more.headers };
    return begin(this.place, { ...more, headers });
  }

  /** One such request, its whole answer. */
  async ask({ body, ...more }: Ask & { body?: string } = {}): Promise<Omit<Seen, 'rawHeaders'>> {
    const asked = await this.begin({ ...more, ...(body === undefined ? {} : { isEmpty: false }) });
    if (body !== undefined) asked.end(body);
    return wholeOf(await asked.answer);
  }

  /** A TLS connection for raw bytes. */
  async raw(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = tlsConnect({ host: '127.0.0.1', port: this.port, ca: this.ca, servername: HOST, ...options });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    return socket;
  }

  /** The next line of the access log for which `matches` holds. */
  async line(matches: (line: Record<string, unknown>) => boolean = () => true): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.logged.find((line) => 'bytesOut' in line && matches(line));
      if (found !== undefined) return found;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.close();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** An answer with all of its body. */
export async function wholeOf(answer: Answered): Promise<Omit<Seen, 'rawHeaders'>> {
  const body = await readAll(answer.body);
  return { status: answer.status, headers: answer.headers, trailers: answer.trailers(), body };
}

export async function seen(answer: IncomingMessage): Promise<Seen> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const { statusCode: status = 0, headers, rawHeaders, trailers } = answer;
  return { status, headers, rawHeaders, trailers, body: Buffer.concat(chunks).toString() };
}

/** Everything that a stream sends until it ends. */
export async function readAll(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}
