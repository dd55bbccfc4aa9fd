/** A terminal in a microVM, over the WebSocket of its endpoint: contract reference, section 6.2. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Writable } from 'node:stream';
import { WebSocket } from 'ws';
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import type { EndpointWay } from './endpoint.ts';
import { ServerUnreachable } from './transport.ts';

export interface ShellRequest extends EndpointWay {
  /** Of CreateMicrovmShellAuthToken. */
  readonly token: string;
  /** Told what the terminal shows, in order. @returns resolves when it can show more; undefined for at once */
  readonly screen: (bytes: Buffer) => Promise<unknown> | undefined;
  readonly signal: AbortSignal;
}

/** Why a session is over: as the server closed it (RFC 6455, 7.4; 1006 where it said nothing). */
export interface ShellEnd {
  readonly code: number;
  readonly reason: string;
}

/** An open session. */
export interface OpenShell {
  /** What is typed. Never ended: that would hang up before the shell has answered. */
  readonly keyboard: Writable;
  readonly ended: Promise<ShellEnd>;
  resize(size: { readonly cols: number; readonly rows: number }): void;
  hangUp(): void;
}

/** The endpoint did not let a shell in. */
export class ShellRefusal extends Error {
  override readonly name = 'ShellRefusal';
  readonly status: number;

  constructor(status: number, text: string) {
    super(`${status}${text === '' ? '' : `: ${text}`}`);
    this.status = status;
  }
}

/**
 * Opens a shell; waits as long as the microVM needs to wake.
 * @throws ShellRefusal where the endpoint refuses; ServerUnreachable where nobody answers
 */
export async function openShell(request: ShellRequest): Promise<OpenShell> {
  const { endpoint, connect, trust, token, screen, signal } = request;
  const options = { servername: endpoint.replace(/:\d+$/, ''), secureContext: trust, perMessageDeflate: false };
  const socket = new WebSocket(`wss://${connect.host}:${connect.port}/shell`, { ...options, headers: { host: endpoint, [AUTH_TOKEN_KEY]: token } });
  const hangUp = () => socket.terminate();
  signal.addEventListener('abort', hangUp, { once: true });
  const ended = once(socket, 'close').then(([code, reason]) => ({ code: Number(code), reason: String(reason) }));
  ended.finally(() => signal.removeEventListener('abort', hangUp)).catch(() => undefined);
  // Frames that come with the answer are not to be missed.
  socket.on('message', (message: Buffer, isBinary) => {
    const held = isBinary ? screen(message) : undefined;
    if (held === undefined) return;
    // The shell waits for a screen that does not go on, as it would for a terminal.
    socket.pause();
    void held.then(() => socket.resume());
  });
  await opened(socket, request);
  const keyboard = new Writable({ write: (bytes: Buffer, _encoding, done) => socket.send(bytes, done) });
  // Why nothing can be typed any more is told by the end of the session.
  keyboard.on('error', () => undefined);
  return { keyboard, ended, hangUp, resize: (size) => socket.send(JSON.stringify({ type: 'resize', ...size })) };
}

function opened(socket: WebSocket, { endpoint, signal }: ShellRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('unexpected-response', (_request, answer: IncomingMessage) => {
      const status = answer.statusCode ?? 0;
      answer.toArray().then((body) => reject(new ShellRefusal(status, Buffer.concat(body as Buffer[]).toString())), reject);
    });
    socket.on('error', (cause) => {
      reject(signal.aborted ? cause : new ServerUnreachable(`https://${endpoint} does not answer: ${cause.message}`, { cause }));
    });
  });
}
