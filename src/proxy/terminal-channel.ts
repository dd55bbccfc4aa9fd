/** What goes over the WebSocket of a shell: contract reference, section 6.2. */
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { cutOffAfter } from './cut-off.ts';

/** What a terminal's size can be (tty_ioctl(4), `struct winsize`). */
const side = z.int().min(1).max(65_535);
const resizeMessage = z.object({ type: z.literal('resize'), cols: side, rows: side }).transform(({ cols, rows }) => ({ cols, rows }));
/** No resize is longer: what is need not be looked at. */
const MAX_CONTROL_BYTES = 1024;

export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** Why a session is over, for the client (RFC 6455, 7.4). */
export interface Farewell {
  readonly code: number;
  readonly reason: string;
}

/** A client's WebSocket as the raw terminal bytes that it carries, both ways. Destroyed when the client is gone. */
export class TerminalChannel extends Duplex {
  readonly #socket: WebSocket;
  readonly #farewellMs: number;
  #farewell: Farewell | undefined;

  /** @param options `onResize` is told what the client asks for, whose message is no input; `farewellMs` limits {@link finish} */
  constructor(socket: WebSocket, { onResize, farewellMs }: { onResize: (size: TerminalSize) => void; farewellMs: number }) {
    super();
    this.#socket = socket;
    this.#farewellMs = farewellMs;
    socket.on('message', (message: Buffer, isBinary) => {
      const size = isBinary ? undefined : sizeOf(message);
      if (size !== undefined) onResize(size);
      else if (!this.push(message)) socket.pause();
    });
    // A client that breaks the protocol is told by ws; 'close' follows.
    socket.on('error', () => undefined);
    socket.once('close', () => this.destroy());
    this.on('error', () => undefined);
  }

  /** Closes it once everything written has gone, a client that does not read in any case; the first reason is the true one. */
  finish(farewell: Farewell): void {
    if (this.#farewell !== undefined) return;
    this.#farewell = farewell;
    this.end();
    cutOffAfter(this, this.#farewellMs);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: unknown, done: (error?: Error | null) => void): void {
    this.#socket.send(bytes, done);
  }

  override _final(done: () => void): void {
    this.#socket.close(this.#farewell?.code, this.#farewell?.reason);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.terminate();
    done(error);
  }
}

/** The size that a text asks for; undefined where it is anything else, which is typed into the shell. */
function sizeOf(text: Buffer): TerminalSize | undefined {
  if (text.length > MAX_CONTROL_BYTES) return undefined;
  try {
    return resizeMessage.parse(JSON.parse(text.toString()));
  } catch {
    return undefined;
  }
}
