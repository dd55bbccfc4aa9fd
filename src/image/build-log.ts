/** The log of a version's build: NDJSON of {@link BuildEvent}, written while the build runs and kept with the version. */
import { EventEmitter, once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { z } from 'zod';
import type { BuildEvent, Clock } from '../domain/ports.ts';
import { openIfThere } from '../lib/open-file.ts';
import { OutputLines } from './output-lines.ts';

/** Lines beyond this are not kept, and the log says so; steps always are. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;
/** A build has about ten steps; this bounds a defect. */
const MAX_STEP_EVENTS = 1000;
const READ_BYTES = 64 * 1024;
/** An event is one line of at most 4096 characters; JSON may spend six bytes on one. */
const MAX_EVENT_BYTES = 64 * 1024;

const eventSchema = z.discriminatedUnion('type', [
  z.object({
    atMs: z.number(),
    type: z.literal('step'),
    step: z.string(),
    state: z.enum(['started', 'finished', 'failed']),
    ms: z.number().exactOptional(),
  }),
  z.object({ atMs: z.number(), type: z.literal('line'), step: z.string(), text: z.string() }),
]);

/** The log of a build that runs. Writing never throws: a full disk must not hide the build's own failure. */
export interface BuildLog extends Disposable {
  /** Runs one named step between its `started` and its `finished` or `failed`. */
  step<T>(step: string, work: () => Promise<T>): Promise<T>;
  line(step: string, text: string): void;
  /** A sink for a program's output. `end` writes what has no line end. */
  output(step: string): { write(chunk: Buffer): void; end(): void };
}

/** Writes and reads the logs of all builds of one server. */
export interface BuildLogs {
  /** Starts the log of a build in a new file. @throws the system's error where the file exists or cannot be made */
  open(path: string): BuildLog;
  /** What was kept, then, with `follow`, what comes until the build ends. Nothing where there is no such log. */
  events(path: string, options: { follow: boolean; signal: AbortSignal }): AsyncIterable<BuildEvent>;
}

/** @param options.maxLogBytes limit of the lines of one log */
export function createBuildLogs(options: { clock: Pick<Clock, 'nowMs'>; maxLogBytes?: number }): BuildLogs {
  const running = new Map<string, LiveLog>();
  return {
    open(path) {
      const log = new LiveLog({ path, clock: options.clock, maxBytes: options.maxLogBytes ?? MAX_LOG_BYTES, closed: () => running.delete(path) });
      running.set(path, log);
      return log;
    },
    events: (path, { follow, signal }) => readEvents({ path, live: follow ? running.get(path) : undefined, signal }),
  };
}

class LiveLog implements BuildLog {
  /** Tells followers that there is more in the file, or that it is complete. */
  readonly changes = new EventEmitter().setMaxListeners(0);
  ended = false;
  readonly #fd: number;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #maxBytes: number;
  readonly #closed: () => void;
  #bytes = 0;
  #full = false;
  #steps = 0;

  constructor(options: { path: string; clock: Pick<Clock, 'nowMs'>; maxBytes: number; closed: () => void }) {
    this.#fd = openSync(options.path, 'wx', 0o600);
    this.#clock = options.clock;
    this.#maxBytes = options.maxBytes;
    this.#closed = options.closed;
  }

  async step<T>(step: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const tell = (state: 'started' | 'finished' | 'failed', ms?: number): void => {
      this.#steps += 1;
      if (this.#steps <= MAX_STEP_EVENTS) this.#write({ atMs: this.#clock.nowMs(), type: 'step', step, state, ...(ms === undefined ? {} : { ms }) });
    };
    const elapsedMs = (): number => Math.round((performance.now() - start) * 10) / 10;
    tell('started');
    try {
      const result = await work();
      tell('finished', elapsedMs());
      return result;
    } catch (error) {
      tell('failed', elapsedMs());
      throw error;
    }
  }

  line(step: string, text: string): void {
    this.#lines(step, [text]);
  }

  output(step: string): { write(chunk: Buffer): void; end(): void } {
    let batch: string[] = [];
    const lines = new OutputLines((text) => batch.push(text));
    const flush = (): void => {
      this.#lines(step, batch);
      batch = [];
    };
    return {
      write: (chunk) => {
        // Once the log is full the rest is not even decoded: a flood costs the server next to nothing.
        if (this.#full) return;
        lines.write(chunk);
        flush();
      },
      end: () => {
        if (!this.#full) lines.end();
        flush();
      },
    };
  }

  [Symbol.dispose](): void {
    if (this.ended) return;
    this.ended = true;
    closeSync(this.#fd);
    this.#closed();
    this.changes.emit('change');
  }

  #lines(step: string, texts: readonly string[]): void {
    const atMs = this.#clock.nowMs();
    for (const text of texts) {
      if (this.#full) return;
      this.#full = this.#bytes > this.#maxBytes;
      this.#write({ atMs, type: 'line', step, text: this.#full ? `(the log is full at ${this.#maxBytes} bytes; what follows is not kept)` : text });
    }
  }

  #write(event: BuildEvent): void {
    if (this.ended) return;
    const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
    try {
      // Synchronous, into the page cache, and bounded in sum: order holds and nothing queues up.
      writeSync(this.#fd, bytes);
      this.#bytes += bytes.length;
    } catch {
      this.#full = true;
    }
    this.changes.emit('change');
  }
}

/** The file itself is the queue between writer and readers, so that a slow reader holds no memory. */
async function* readEvents(options: { path: string; live: LiveLog | undefined; signal: AbortSignal }): AsyncGenerator<BuildEvent> {
  const { path, live, signal } = options;
  await using file = await openIfThere(path);
  if (file === undefined) return;
  let offset = 0;
  let rest = Buffer.alloc(0);
  const buffer = Buffer.alloc(READ_BYTES);
  while (!signal.aborted) {
    const ended = live?.ended ?? true;
    const changed = live === undefined || ended ? undefined : once(live.changes, 'change', { signal }).catch(() => undefined);
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES, offset);
    if (bytesRead === 0) {
      if (changed === undefined) return;
      await changed;
      continue;
    }
    offset += bytesRead;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n')) {
      const event = parseEvent(rest.subarray(0, end).toString());
      rest = rest.subarray(end + 1);
      if (event !== undefined) yield event;
    }
    if (rest.length > MAX_EVENT_BYTES) return;
  }
}

/** A line that a crash left half written is skipped. */
export function parseEvent(line: string): BuildEvent | undefined {
  try {
    return eventSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
