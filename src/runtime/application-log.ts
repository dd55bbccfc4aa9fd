/** The application's output on disk: bounded, append only, and followed by those who watch. The file is the queue between them. */
import { EventEmitter, once } from 'node:events';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MAX_EVENT_BYTES, type LogExtent, type LogLine } from '../domain/log-stream.ts';
import type { Clock, LogRange } from '../domain/ports.ts';
import { bytesOf, linesOf } from '../lib/file-lines.ts';
import { openIfThere } from '../lib/open-file.ts';
import { OutputTimes, type OutputTime } from './output-times.ts';

/** When a file has grown to this it becomes the older half and a new one begins: at most two are kept. */
const ROTATE_BYTES = 8 * 1024 * 1024;
/** What one reader holds in memory. */
const READ_BYTES = 64 * 1024;
const LINE_END = 0x0a;
const NOTHING = Buffer.alloc(0);
const PASSED_OVER = Buffer.from('\n[lull: output was passed over: it came faster than it was read]\n');

interface Half extends AsyncDisposable {
  readonly number: number;
  /** Undefined where nothing has been written to it yet. */
  readonly file: FileHandle | undefined;
  /** Files between the one that was asked for and this one are gone. */
  readonly isAfterGap: boolean;
}

export interface ReadOptions {
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** One file of output as a reader of lines found it. */
interface Part {
  readonly file: FileHandle;
  readonly sizeBytes: number;
  /** In order; the first is that of the first byte. */
  readonly times: readonly OutputTime[];
}

/** One microVM's log. */
export class ApplicationLog {
  readonly #path: string;
  readonly #rotateBytes: number;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #times: OutputTimes;
  /** Tells followers that there is more in the file, or that another has begun. */
  readonly #changes = new EventEmitter<{ change: [] }>().setMaxListeners(0);
  #changeCount = 0;
  /** Number of the file that is written to; the older half is the one before. */
  #number = 1;
  #sizeBytes: number | undefined;
  /** Position of the first byte of the file that is written to. */
  #base = 0;
  #isInLine = false;
  #lostBytes = 0;
  #lossReason = '';
  #tail: Promise<void> = Promise.resolve();

  /** @param options.rotateBytes how large a file grows before a new one begins */
  constructor(path: string, options: { clock: Pick<Clock, 'nowMs'>; rotateBytes?: number }) {
    this.#path = path;
    this.#clock = options.clock;
    this.#times = new OutputTimes(path);
    this.#rotateBytes = options.rotateBytes ?? ROTATE_BYTES;
  }

  /**
   * Adds output; resolves when it is in the file, so that the guest is not read faster than the disk takes it. Never
   * rejects: what the disk does not take is dropped and counted, and the file says so once it can.
   */
  append(chunk: Buffer): Promise<void> {
    return this.#inTurn(() => this.#write(chunk));
  }

  /** What is kept, oldest first, then, with `follow`, what comes until `signal`. A reader that falls two files behind is told. */
  async *read(options: ReadOptions): AsyncGenerator<Buffer> {
    const { follow, signal } = options;
    if (this.#lostBytes > 0) await this.append(NOTHING);
    const lastNumber = follow ? Number.POSITIVE_INFINITY : this.#number;
    for (let wanted = this.#number - 1; wanted <= lastNumber && !signal.aborted; ) {
      const changeCount = this.#changeCount;
      await using half = await this.#inTurn(() => this.#openFrom(wanted));
      if (half.isAfterGap) yield PASSED_OVER;
      if (half.file === undefined) {
        if (!follow) return;
        wanted = half.number;
        await this.#changeAfter(changeCount, signal);
      } else {
        yield* this.#contents(half.file, half.number, options);
        wanted = half.number + 1;
      }
    }
  }

  /** Lines that are kept, with the moment when each began to come. */
  async *lines(range: LogRange): AsyncGenerator<readonly LogLine[]> {
    if (this.#lostBytes > 0) await this.append(NOTHING);
    await using stack = new AsyncDisposableStack();
    const parts = await this.#inTurn(() => this.#openParts(stack));
    const times = ascending(parts.flatMap((part) => part.times));
    const first = times[0];
    if (first === undefined) return;
    const { position, before } = boundsOf(range, { times, end: endOf(parts.at(-1)!) });
    const isInLine = position !== range.from && position !== first.position;
    let at = 0;
    for await (const found of linesOf(bytesFrom(parts, position), { position, maxBytes: MAX_EVENT_BYTES, isInLine })) {
      const wanted = found.filter((line) => line.position < before && (line.isEnded || range.isComplete));
      const lines: LogLine[] = [];
      for (const line of wanted) {
        while (at + 1 < times.length && times[at + 1]!.position <= line.position) at += 1;
        if (line.bytes.length > 0) lines.push({ position: line.position, next: line.next, atMs: times[at]!.atMs, text: line.bytes.toString() });
      }
      yield lines;
      if (wanted.length < found.length) return;
    }
  }

  /** Undefined where nothing was ever printed. */
  async extent(): Promise<LogExtent | undefined> {
    return this.#inTurn(async () => {
      let extent: LogExtent | undefined;
      for (const path of [olderOf(this.#path), this.#path]) {
        const found = await stat(path).catch(() => undefined);
        if (found === undefined) continue;
        const bounds = await OutputTimes.bounds(path);
        extent = {
          firstEventAtMs: extent?.firstEventAtMs ?? bounds?.first.atMs ?? Math.floor(found.mtimeMs),
          lastEventAtMs: bounds?.last.atMs ?? Math.floor(found.mtimeMs),
          storedBytes: (extent?.storedBytes ?? 0) + found.size,
        };
      }
      return extent;
    });
  }

  /** Removes every file of it. */
  async remove(): Promise<void> {
    await this.#inTurn(async () => {
      for (const path of [olderOf(this.#path), this.#path]) {
        await rm(path, { force: true });
        await OutputTimes.remove(path);
      }
    });
  }

  /** What is kept, the older half first. One from before times were kept came when its file was last written. */
  async #openParts(stack: AsyncDisposableStack): Promise<readonly Part[]> {
    const parts: Part[] = [];
    let end = 0;
    for (const path of [olderOf(this.#path), this.#path]) {
      const file = await openIfThere(path);
      if (file === undefined) continue;
      stack.use(file);
      const { size, mtimeMs } = await file.stat();
      const times = await OutputTimes.read(path);
      const kept = times.length > 0 ? times : [{ position: end, atMs: Math.floor(mtimeMs) }];
      const part = { file, sizeBytes: size, times: kept };
      end = endOf(part);
      parts.push(part);
    }
    return parts;
  }

  async *#contents(file: FileHandle, number: number, { follow, signal }: ReadOptions): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (let offset = 0; !signal.aborted; ) {
      // Asked before the read: nothing is added to a file once the next has begun.
      const isComplete = this.#number > number;
      const changeCount = this.#changeCount;
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, offset);
      offset += bytesRead;
      if (bytesRead > 0) yield Buffer.from(buffer.subarray(0, bytesRead));
      else if (isComplete || !follow) return;
      else await this.#changeAfter(changeCount, signal);
    }
  }

  async #changeAfter(changeCount: number, signal: AbortSignal): Promise<void> {
    if (this.#changeCount === changeCount) await once(this.#changes, 'change', { signal }).catch(() => undefined);
  }

  /** Writes and opens come one after the other, so that no file is opened while it changes its name. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /** The file of that number, or the oldest after it that is kept. */
  async #openFrom(wanted: number): Promise<Half> {
    let number = Math.max(wanted, this.#number - 1);
    let file = number === this.#number ? undefined : await openIfThere(olderOf(this.#path));
    if (file === undefined) {
      number = this.#number;
      file = await openIfThere(this.#path);
    }
    return { number, file, isAfterGap: wanted < this.#number - 1, [Symbol.asyncDispose]: async () => file?.close() };
  }

  async #write(chunk: Buffer): Promise<void> {
    let left = chunk;
    try {
      await this.#rotateIfFull();
      await this.#times.stamp({ position: this.#base + (this.#sizeBytes ?? 0), atMs: this.#clock.nowMs() });
      await using file = await open(this.#path, 'a', 0o600);
      if (this.#lostBytes > 0) {
        const text = `${this.#isInLine ? '\n' : ''}[lull: ${this.#lostBytes} bytes of output lost: ${this.#lossReason}]\n`;
        for (let note = Buffer.from(text); note.length > 0; ) note = note.subarray(await this.#put(file, note));
        this.#lostBytes = 0;
      }
      while (left.length > 0) left = left.subarray(await this.#put(file, left));
    } catch (error) {
      this.#lostBytes += left.length;
      this.#lossReason = lossReasonOf(error);
    }
    this.#changeCount += 1;
    this.#changes.emit('change');
  }

  async #rotateIfFull(): Promise<void> {
    if (this.#sizeBytes === undefined) {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      this.#sizeBytes = await sizeOf(this.#path);
      this.#isInLine = this.#sizeBytes > 0;
      await using stack = new AsyncDisposableStack();
      const parts = await this.#openParts(stack);
      const last = parts.at(-1);
      this.#base = last === undefined ? 0 : last.times[0]!.position + (this.#sizeBytes === 0 ? last.sizeBytes : 0);
      // Without one for its first byte, nobody could tell later where a file begins.
      if (last !== undefined && this.#sizeBytes > 0 && (await OutputTimes.bounds(this.#path)) === undefined) await this.#times.stamp(last.times[0]!);
    }
    if (this.#sizeBytes < this.#rotateBytes && !this.#times.isFull) return;
    await rename(this.#path, olderOf(this.#path));
    await this.#times.moveTo(olderOf(this.#path));
    this.#base += this.#sizeBytes;
    this.#number += 1;
    this.#sizeBytes = 0;
    this.#isInLine = false;
  }

  /** One write. @returns how much of it the disk took */
  async #put(file: FileHandle, bytes: Buffer): Promise<number> {
    const { bytesWritten } = await file.write(bytes);
    if (bytesWritten === 0) throw new Error('nothing was written');
    this.#sizeBytes = (this.#sizeBytes ?? 0) + bytesWritten;
    this.#isInLine = bytes[bytesWritten - 1] !== LINE_END;
    return bytesWritten;
  }
}

const endOf = ({ times, sizeBytes }: Part) => times[0]!.position + sizeBytes;

/** A clock that was set back must not put a line before the one that it follows. */
function ascending(times: readonly OutputTime[]): readonly OutputTime[] {
  let latestMs = 0;
  return times.map(({ position, atMs }) => ({ position, atMs: (latestMs = Math.max(latestMs, atMs)) }));
}

/** Where to begin to read, and where lines no longer begin that are wanted. */
function boundsOf(range: LogRange, { times, end }: { times: readonly OutputTime[]; end: number }): { position: number; before: number } {
  const { from, startMs, endMs, lastBytes = Number.POSITIVE_INFINITY } = range;
  // One before, so that a line which began earlier is passed over and one which begins there is not.
  const since = startMs === undefined ? undefined : times.findLast(({ atMs }) => atMs < startMs);
  const until = endMs === undefined ? undefined : times.find(({ atMs }) => atMs >= endMs);
  const before = Math.min(range.before ?? end, until?.position ?? end, end);
  return { position: Math.max(from, since?.position ?? 0, times[0]?.position ?? 0, before - lastBytes), before };
}

/** The bytes of consecutive files from a position on. */
async function* bytesFrom(parts: readonly Part[], position: number): AsyncGenerator<Buffer> {
  for (const { file, sizeBytes, times } of parts) {
    const from = Math.max(position - times[0]!.position, 0);
    yield* bytesOf(file, { from, to: sizeBytes, readBytes: READ_BYTES });
  }
}

const olderOf = (path: string) => `${path}.1`;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

function lossReasonOf(error: unknown): string {
  const code = codeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk was full' : `it could not be written (${code ?? String(error)})`;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
