/**
 * When each part of an application's output came: a file of pairs (position, moment) beside the file of the bytes, which
 * stay as they were printed. Positions count from the first byte that the microVM ever printed. A pair that is missing costs
 * a moment its exactness, and nothing else.
 */
import { constants, open, readFile, rename, rm, stat } from 'node:fs/promises';

/** From `position` on, bytes came at `atMs`. */
export interface OutputTime {
  readonly position: number;
  readonly atMs: number;
}

const PAIR_BYTES = 16;
/** So often may a file of output be stamped before the next one begins. */
const MAX_PAIRS = 128 * 1024;

/** The pairs of one file of output. */
export class OutputTimes {
  readonly #path: string;
  #count: number | undefined;
  #stampedMs: number | undefined;

  constructor(outputPath: string) {
    this.#path = timesPath(outputPath);
  }

  get isFull(): boolean {
    return (this.#count ?? 0) >= MAX_PAIRS;
  }

  /** Notes that what is written next came now; once for each millisecond. */
  async stamp({ position, atMs }: OutputTime): Promise<void> {
    if (this.#stampedMs === atMs) return;
    this.#count ??= await countPairs(this.#path);
    await using file = await open(this.#path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    // At its place: what a full disk has cut off is written over.
    const { bytesWritten } = await file.write(new Uint8Array(new Float64Array([position, atMs]).buffer), 0, PAIR_BYTES, this.#count * PAIR_BYTES);
    if (bytesWritten < PAIR_BYTES) throw new Error('nothing was written');
    this.#count += 1;
    this.#stampedMs = atMs;
  }

  /** The file of output has become `olderPath`: so do its times, and new ones begin. */
  async moveTo(olderPath: string): Promise<void> {
    await rename(this.#path, timesPath(olderPath)).catch(() => rm(timesPath(olderPath), { force: true }));
    this.#count = 0;
    this.#stampedMs = undefined;
  }

  /** The pairs beside a file of output, in order; none where there are none. */
  static async read(outputPath: string): Promise<readonly OutputTime[]> {
    const bytes = await readFile(timesPath(outputPath)).catch(() => Buffer.alloc(0));
    // Copied, so that it begins where a number may; a half-written pair is left out.
    const numbers = new Float64Array(Uint8Array.from(bytes.subarray(0, bytes.length - (bytes.length % PAIR_BYTES))).buffer);
    return Array.from({ length: numbers.length / 2 }, (_, at) => ({ position: numbers[2 * at]!, atMs: numbers[2 * at + 1]! }));
  }

  /** The first and the last pair beside a file of output; undefined where there are none. */
  static async bounds(outputPath: string): Promise<{ first: OutputTime; last: OutputTime } | undefined> {
    await using file = await open(timesPath(outputPath), 'r').catch(() => undefined);
    const count = file === undefined ? 0 : Math.floor((await file.stat()).size / PAIR_BYTES);
    if (file === undefined || count === 0) return undefined;
    const pairAt = async (at: number): Promise<OutputTime> => {
      const numbers = new Float64Array(2);
      await file.read(new Uint8Array(numbers.buffer), 0, PAIR_BYTES, at * PAIR_BYTES);
      return { position: numbers[0]!, atMs: numbers[1]! };
    };
    return { first: await pairAt(0), last: await pairAt(count - 1) };
  }

  static async remove(outputPath: string): Promise<void> {
    await rm(timesPath(outputPath), { force: true });
  }
}

const timesPath = (outputPath: string) => `${outputPath}.times`;

const countPairs = (path: string) =>
  stat(path).then(
    ({ size }) => Math.floor(size / PAIR_BYTES),
    () => 0,
  );
