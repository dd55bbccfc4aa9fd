/**
 * The time limits of connections that no socket of Node's is behind: its own time-outs act on sockets, and on servers that listen.
 * A guest has so many connections and no more, so one that says nothing must not keep its place.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

export interface ConnectionLimits {
  /** From the connection, or the last answer, to the end of a request's head. */
  readonly headersTimeoutMs: number;
  /** One request from its head to its last byte. */
  readonly requestTimeoutMs: number;
  /** How long an answer may wait for whoever asked to take more of it. */
  readonly stallMs: number;
  /** How long {@link GuestConnections.close} waits for answers. */
  readonly closeMs: number;
}

/** All connections of some servers. */
export class GuestConnections {
  readonly #limits: ConnectionLimits;
  readonly #open = new Map<Duplex, Connection>();
  #isClosed = false;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Hands a connection to a server that {@link watch} knows. */
  connect(server: Server, duplex: Duplex): void {
    // One that its guest has reset already would never say that it is closed.
    if (this.#isClosed || duplex.destroyed) return void duplex.destroy();
    this.#open.set(duplex, new Connection(duplex, this.#limits));
    duplex.once('close', () => this.#open.delete(duplex));
    // node:http, Event 'connection': any Duplex may be handed to a server so.
    server.emit('connection', duplex);
  }

  watch(server: Server): void {
    server.prependListener('request', (request, response) => this.#open.get(request.socket)?.answer(request, response));
  }

  /** Ends them all, each once it has its answers or the limit is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#limits.closeMs);
    await Promise.race([late.promise, Promise.all([...this.#open.values()].map((connection) => connection.end()))]);
    clearTimeout(timer);
    for (const duplex of this.#open.keys()) duplex.destroy();
  }
}

class Connection {
  readonly #duplex: Duplex;
  readonly #limits: ConnectionLimits;
  readonly #idle = Promise.withResolvers<void>();
  #answers = 0;
  #isEnding = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(duplex: Duplex, limits: ConnectionLimits) {
    this.#duplex = duplex;
    this.#limits = limits;
    duplex.on('drain', () => this.#wait());
    duplex.once('close', () => this.#closed());
    this.#wait();
  }

  /** A request has come. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    this.#answers += 1;
    const limit = setTimeout(() => void (request.complete || this.#duplex.destroy()), this.#limits.requestTimeoutMs);
    response.once('close', () => {
      clearTimeout(limit);
      this.#answers -= 1;
      if (this.#answers === 0 && this.#isEnding) this.#finish();
      this.#wait();
    });
    this.#wait();
  }

  /** Resolves once nothing is being answered. */
  end(): Promise<void> {
    this.#isEnding = true;
    if (this.#answers === 0) this.#finish();
    return this.#idle.promise;
  }

  #wait(): void {
    clearTimeout(this.#timer);
    if (this.#duplex.destroyed) return;
    const { stallMs, headersTimeoutMs } = this.#limits;
    this.#timer = setTimeout(() => this.#late(), this.#answers > 0 ? stallMs : headersTimeoutMs);
  }

  #late(): void {
    // An answer that is still worked on has nothing that waits; a body that stands still is for whoever reads it.
    if (this.#answers > 0 && this.#duplex.writableLength === 0) this.#wait();
    else this.#duplex.destroy();
  }

  #finish(): void {
    // Not destroyed: the last answer is still on its way.
    this.#duplex.end();
    this.#idle.resolve();
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#idle.resolve();
  }
}
