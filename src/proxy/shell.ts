/** Terminals of microVMs over WebSockets: contract reference, section 6.2. */
import { WebSocketServer, type WebSocket } from 'ws';
import type { Random, ShellSession } from '../domain/ports.ts';
import type { Exchange } from './exchange.ts';
import { valueOf } from './headers.ts';
import type { Inbound, RequestHead, Upgrading } from './inbound.ts';
import type { ProxyLimits } from './limits.ts';
import { pump } from './pump.ts';
import { REFUSALS, RefusedError } from './refusal.ts';
import type { Meter } from './relay.ts';
import { TerminalChannel, type Farewell, type TerminalSize } from './terminal-channel.ts';
import { MARKER } from './websocket.ts';

/** Of one message of a client's: a paste of many pages. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Section 6.2; the others are ours. */
const SHELL_EXITED: Farewell = { code: 1000, reason: 'shell exited' };
const SHELL_LOST: Farewell = { code: 1001, reason: 'the microVM went to sleep or has ended' };
const SERVER_STOPS: Farewell = { code: 1001, reason: 'the server stops' };

/** An admitted client and what is kept of its visit. */
export interface ShellVisit {
  readonly inbound: Inbound;
  readonly exchange: Exchange;
  readonly meter: Meter;
}

/** Refuses what cannot become a WebSocket, before a shell is opened for it (RFC 6455, 4.2.1). @throws RefusedError malformed */
export function checkHandshake({ method, fields }: RequestHead): void {
  const hasKey = /^[+/0-9A-Za-z]{22}==$/.test(valueOf(fields, 'sec-websocket-key') ?? '');
  if (method === 'GET' && hasKey && valueOf(fields, 'sec-websocket-version') === '13') return;
  throw new RefusedError(REFUSALS.malformed, 'no handshake of a WebSocket');
}

/** The shells that clients are in. */
export class Shells {
  readonly #random: Random;
  readonly #limits: ProxyLimits;
  readonly #channels = new Set<TerminalChannel>();
  readonly #handshakes = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => offered.has(MARKER) && MARKER,
  });

  constructor({ random, limits }: { random: Random; limits: ProxyLimits }) {
    this.#random = random;
    this.#limits = limits;
    // Without a listener ws would answer by itself; a refusal of ours says it as it is said everywhere.
    this.#handshakes.on('wsClientError', () => undefined);
  }

  /** Joins a client and a shell, until one of them goes. @throws RefusedError malformed */
  join(shell: ShellSession, { inbound, exchange, meter }: ShellVisit): void {
    const { stream } = shell;
    stream.on('error', (error) => {
      // Once it has ended, nothing is left to lose.
      if (!stream.readableEnded) exchange.failed('the shell was lost', error);
    });
    const socket = inbound.handOver((upgrading) => this.#agree(upgrading));
    if (socket === undefined) {
      stream.destroy();
      throw new RefusedError(REFUSALS.malformed, 'no handshake of a WebSocket');
    }
    exchange.switched('websocket');
    socket.send(JSON.stringify({ type: 'session_init', session_id: this.#random.uuid() }));
    const resize = lastOf(shell);
    const channel = new TerminalChannel(socket, {
      farewellMs: this.#limits.farewellMs,
      onResize: (size) => {
        void meter.inward(0);
        resize(size);
      },
    });
    this.#channels.add(channel);
    void meter.inward(0);
    pump(channel, stream, meter.inward);
    pump(stream, channel, meter.outward);
    stream.once('end', () => channel.finish(SHELL_EXITED));
    stream.once('close', () => channel.finish(SHELL_LOST));
    channel.once('close', () => {
      this.#channels.delete(channel);
      stream.destroy();
    });
  }

  /** Tells the clients that it is over: a shell does not end by itself, however long one waits. */
  close(): void {
    for (const channel of this.#channels) channel.finish(SERVER_STOPS);
  }

  /** @returns undefined where ws does not agree, or the client is gone */
  #agree({ request, client, early }: Upgrading): WebSocket | undefined {
    let agreed: WebSocket | undefined;
    this.#handshakes.handleUpgrade(request, client, early, (socket) => (agreed = socket));
    // ws puts an end to the limit of the connection.
    request.socket.setTimeout(this.#limits.silenceMs);
    return agreed;
  }
}

/** Passes sizes on one at a time: of those that come meanwhile the last one counts. */
function lastOf(shell: ShellSession): (size: TerminalSize) => void {
  let wanted: TerminalSize | undefined;
  let isBusy = false;
  const pass = async () => {
    isBusy = true;
    for (let size = wanted; size !== undefined; size = wanted) {
      wanted = undefined;
      // Where the session is gone, its stream says so.
      await shell.resize(size).catch(() => undefined);
    }
    isBusy = false;
  };
  return (size) => {
    wanted = size;
    if (!isBusy) void pass();
  };
}
