/**
 * QMP, QEMU's control protocol: JSON lines over a socket (docs/interop/qmp-spec.rst of QEMU). Replies come in the order of
 * the commands that were sent without an id; we number them anyway and match by id.
 */
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { within } from '../../lib/deadline.ts';
import { VmmError } from '../driver.ts';

const COMMAND_LIMIT_MS = 30_000;
const MAX_WAITING_EVENTS = 64;
/** QEMU's longest answers have some ten kilobytes; a VMM that a guest has broken into may send anything. */
const MAX_LINE_CHARACTERS = 1024 * 1024;

const message = z.union([
  z.object({ QMP: z.object({ version: z.unknown() }) }),
  z.object({ return: z.unknown(), id: z.number() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }), id: z.number().optional() }),
  z.object({ event: z.string(), data: z.record(z.string(), z.unknown()).optional() }),
]);

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A session with one QEMU. */
export class QmpClient {
  readonly #stream: Duplex;
  readonly #replies = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeting = Promise.withResolvers<void>();
  /** The beginning of a line whose end has not come. */
  #rest = '';
  #nextId = 1;
  #closed: VmmError | undefined;

  /** Resolves when the connection is gone: QEMU ended, or {@link close} was called. */
  readonly closed: Promise<void>;

  constructor(stream: Duplex) {
    this.#stream = stream;
    const gone = Promise.withResolvers<void>();
    this.closed = gone.promise;
    this.#greeting.promise.catch(() => undefined);
    stream.setEncoding('utf8').on('data', (text: string) => this.#split(text));
    const end = () => {
      this.#fail(new VmmError('QEMU closed its control connection'));
      gone.resolve();
    };
    stream.on('error', end).on('close', end).on('end', end);
  }

  /** Waits for the greeting and leaves negotiation mode. */
  async negotiate(): Promise<void> {
    await within('QEMU greeting', COMMAND_LIMIT_MS, this.#greeting.promise);
    await this.execute('qmp_capabilities');
  }

  /**
   * Runs one command.
   * @throws VmmError with QEMU's own words where it refuses, or where the connection goes
   */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const reply = Promise.withResolvers<unknown>();
    this.#replies.set(id, reply);
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await within(`QEMU ${command}`, COMMAND_LIMIT_MS, reply.promise);
    } catch (error) {
      throw error instanceof VmmError ? new VmmError(`${command}: ${error.message}`, { cause: error }) : error;
    } finally {
      this.#replies.delete(id);
    }
  }

  /**
   * Resolves with the first event that `matches`, counted from this call on.
   * @param name names the wait in the error
   */
  async event(name: string, limitMs: number, matches: (event: QmpEvent) => boolean): Promise<QmpEvent> {
    if (this.#listeners.size >= MAX_WAITING_EVENTS) throw new VmmError('too many waits for QEMU events');
    const found = Promise.withResolvers<QmpEvent>();
    const listener = (event: QmpEvent) => {
      if (matches(event)) found.resolve(event);
    };
    this.#listeners.add(listener);
    const closed = this.closed.then(() => Promise.reject(new VmmError(`QEMU ended while ${name} was awaited`)));
    try {
      return await within(name, limitMs, Promise.race([found.promise, closed]));
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** Calls back with every event from now on. */
  onEvent(listener: (event: QmpEvent) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    this.#stream.destroy();
  }

  #split(text: string): void {
    const lines = text.split('\n');
    lines[0] = this.#rest + lines[0]!;
    this.#rest = lines.pop()!;
    for (const line of lines) {
      if (this.#closed !== undefined) return;
      this.#receive(line);
    }
    if (this.#rest.length <= MAX_LINE_CHARACTERS) return;
    this.#rest = '';
    this.#fail(new VmmError(`QEMU sent a line of more than ${MAX_LINE_CHARACTERS} characters`));
  }

  #receive(line: string): void {
    const parsed = message.safeParse(parseJson(line));
    if (!parsed.success) return this.#fail(new VmmError(`QEMU sent what is not QMP: ${line.slice(0, 200)}`));
    const said = parsed.data;
    if ('QMP' in said) this.#greeting.resolve();
    else if ('event' in said) for (const listener of this.#listeners) listener({ event: said.event, data: said.data ?? {} });
    else if ('error' in said) this.#refused(said.error.desc, said.id);
    else this.#replies.get(said.id)?.resolve(said.return);
  }

  /** An error without an id answers what QEMU could not parse: nothing that waits can be trusted any more. */
  #refused(description: string, id: number | undefined): void {
    const error = new VmmError(description);
    if (id === undefined) this.#fail(error);
    else this.#replies.get(id)?.reject(error);
  }

  #fail(error: VmmError): void {
    this.#closed ??= error;
    this.#greeting.reject(error);
    for (const waiting of this.#replies.values()) waiting.reject(error);
    this.#stream.destroy();
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
