/** What a suspend writes of a process's memory, and how it comes back: against real processes that map a file privately. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, it } from 'node:test';
import { mappingsOf, PAGE_BYTES, type MemoryMapping } from '../../src/host/memory.ts';
import { run } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import { restoreMemory } from '../../src/runtime/checked-memory.ts';
import { applyDiff, captureDiff, type CaptureResult, type Extent } from '../../src/runtime/memory-diff.ts';
import { MemoryWorkers } from '../../src/runtime/memory-workers.ts';

const HOLDER = join(import.meta.dirname, 'runtime-memory-holder.py');
const RUN_BYTES = 12;
const TRAILER_BYTES = 32;
const PAGES = 2048;
const LIMIT_MS = 30_000;
const pages = (count: number) => count * PAGE_BYTES;

/** The first quarter and the third hold data, each page its own; the rest is hole. */
const DATA: readonly Extent[] = [[0, pages(PAGES / 4)], [pages(PAGES / 2), pages(PAGES / 4)]];
const WHOLE: readonly Extent[] = [[0, pages(PAGES)]];
/** As a VMM with a gap below 4 GiB maps it; the parts are not neighbours in the process. */
const PARTS: readonly Extent[] = [[0, pages(700)], [pages(700), pages(900)], [pages(1600), pages(PAGES - 1600)]];

const withoutPython = await run(['python3', '-c', 'import ctypes, mmap']).then(
  () => false as const,
  () => 'python3 is not installed',
);

/** A process that holds the memory of `path`, led by lines. */
class Holder implements AsyncDisposable {
  readonly #child;
  readonly #lines;
  readonly #path: string;

  private constructor(path: string, parts: readonly Extent[]) {
    this.#path = path;
    this.#child = spawn('python3', [HOLDER, path, ...parts.map(([offset, length]) => `${offset}:${length}`)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  static async start(path: string, parts: readonly Extent[]): Promise<Holder> {
    const holder = new Holder(path, parts);
    assert.equal(await holder.#line(), 'mapped');
    return holder;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get mappings(): MemoryMapping[] {
    return mappingsOf(this.pid, this.#path);
  }

  async do(...words: readonly (string | number)[]): Promise<string> {
    this.#child.stdin.write(`${words.join(' ')}\n`);
    return this.#line();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #line(): Promise<string> {
    const { value } = await within('an answer of the process', LIMIT_MS, this.#lines.next());
    return value as string;
  }
}

describe('memory difference', { skip: withoutPython }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lull-memory-'));
  after(() => rmSync(folder, { recursive: true }));
  const imagePath = join(folder, 'memory');
  writeFileSync(imagePath, '');
  truncateSync(imagePath, pages(PAGES));
  const image = Buffer.alloc(pages(PAGES));
  for (const [offset, length] of DATA) {
    for (let at = offset; at < offset + length; at += PAGE_BYTES) image.fill(`page ${at / PAGE_BYTES} `, at, at + PAGE_BYTES);
  }
  writeFileSync(imagePath, image, { flag: 'r+' });
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

  let captures = 0;
  const capture = (holder: Holder): { path: string; result: CaptureResult; sha256: string } => {
    const outPath = join(folder, `diff-${++captures}`);
    const result = captureDiff({ pid: holder.pid, mappings: holder.mappings, imagePath, imageExtents: DATA, outPath });
    return { path: outPath, result, sha256: hash(readFileSync(outPath)) };
  };
  const workers = new MemoryWorkers();
  after(() => workers[Symbol.asyncDispose]());
  const apply = (holder: Holder, path: string, sha256: string) => restoreMemory(workers, { pid: holder.pid, mappings: holder.mappings, path }, sha256);

  /** Changes of every kind, each on pages of its own. */
  const change = async (holder: Holder) => {
    await holder.do('fill', 10, 1, 0xab);
    await holder.do('fill', 100, 300, 0x01); // beyond one chunk
    await holder.do('fill', 20, 5, 0); // data that became zeros
    await holder.do('touch', 50, 7); // its own pages, the image's bytes
    await holder.do('fill', 600, 4, 0); // zeros over a hole
    await holder.do('fill', 640, 1, 0x7f); // data over a hole
    await holder.do('fill', 698, 4, 0x22); // across two mappings
    await holder.do('fill', PAGES - 1, 1, 0x33);
  };
  const KEPT = 1 + 300 + 1 + 4 + 1;
  const ZEROED = 5;

  it('keeps what differs, drops what is equal, and only lists zeros', async () => {
    await using holder = await Holder.start(imagePath, WHOLE);
    await change(holder);
    const { path, result } = capture(holder);
    assert.deepEqual([result.keptPages, result.zeroPages], [KEPT, ZEROED]);
    assert.equal(result.scannedPages, KEPT + ZEROED + 7 + 4);
    const bytes = readFileSync(path);
    assert.equal(bytes.length, result.sizeBytes);
    const runs = bytes.readUInt32LE(bytes.length - TRAILER_BYTES + 8);
    assert.equal(bytes.length, pages(KEPT) + runs * RUN_BYTES + TRAILER_BYTES);
    assert.equal(runs, 6);
    assert.equal(bytes.toString('latin1', bytes.length - TRAILER_BYTES, bytes.length - TRAILER_BYTES + 8), 'LULLDIF1');
  });

  for (const [name, from, to] of [
    ['one mapping', WHOLE, WHOLE],
    ['several mappings', PARTS, PARTS],
    ['a process that maps it otherwise', PARTS, WHOLE],
  ] as const) {
    it(`brings a process's memory back in another: ${name}`, async () => {
      await using holder = await Holder.start(imagePath, from);
      await change(holder);
      assert.equal(holder.mappings.length, from.length);
      const { path, result, sha256 } = capture(holder);
      assert.deepEqual([result.keptPages, result.zeroPages], [KEPT, ZEROED]);
      await using other = await Holder.start(imagePath, to);
      assert.equal(await other.do('digest'), hash(image));
      await apply(other, path, sha256);
      assert.equal(await other.do('digest'), await holder.do('digest'));
      // What was applied is private too, and differs from the image in just the same pages.
      assert.equal(capture(other).sha256, sha256);
      assert.equal(hash(readFileSync(imagePath)), hash(image), 'the image is as it was');
    });
  }

  it('writes next to nothing of a process that changed nothing', async () => {
    await using holder = await Holder.start(imagePath, WHOLE);
    await holder.do('digest');
    const { path, result, sha256 } = capture(holder);
    assert.deepEqual([result.keptPages, result.zeroPages, result.sizeBytes], [0, 0, TRAILER_BYTES]);
    await using other = await Holder.start(imagePath, WHOLE);
    await apply(other, path, sha256);
    assert.equal(await other.do('digest'), hash(image));
  });

  it('refuses a file that is not what was written, wherever it was changed', async () => {
    await using holder = await Holder.start(imagePath, PARTS);
    await change(holder);
    const { path, sha256 } = capture(holder);
    const whole = readFileSync(path);
    const runs = whole.readUInt32LE(whole.length - TRAILER_BYTES + 8);
    const index = whole.length - TRAILER_BYTES - runs * RUN_BYTES;
    const trailer = whole.length - TRAILER_BYTES;
    const flipped = (position: number) => {
      const bytes = Buffer.from(whole);
      bytes[position] = bytes[position]! ^ 1;
      return bytes;
    };
    const word = (position: number, value: number) => {
      const bytes = Buffer.from(whole);
      bytes.writeUInt32LE(value, position);
      return bytes;
    };
    const damages: Record<string, Buffer> = {
      empty: Buffer.alloc(0),
      'shorter than a trailer': whole.subarray(0, TRAILER_BYTES - 1),
      'its first half': whole.subarray(0, pages(KEPT >> 1)),
      'one byte short': whole.subarray(0, -1),
      'one byte long': Buffer.concat([whole, Buffer.of(0)]),
      'one page short': whole.subarray(PAGE_BYTES),
      'a bit of the first page': flipped(0),
      'a bit of the last page': flipped(index - 1),
      'a page number': flipped(index),
      'a count': flipped(index + 4),
      'a kind': flipped(index + 8),
      'an unknown kind': word(index + 8, 7),
      'no page in a run': word(index + 4, 0),
      'a run beyond the memory': word(index + 4, PAGES + 1),
      'a page number near the end of numbers': word(index, 0xffffffff),
      'the magic': flipped(trailer),
      'the number of runs': flipped(trailer + 8),
      'all the runs there can be': word(trailer + 8, 0xffffffff),
      'the number of pages': flipped(trailer + 12),
      'all the pages there can be': word(trailer + 12, 0xffffffff),
      'the empty end': flipped(whole.length - 1),
    };
    for (const [name, bytes] of Object.entries(damages)) {
      await using other = await Holder.start(imagePath, PARTS);
      writeFileSync(path, bytes);
      await assert.rejects(apply(other, path, sha256), /is damaged|unexpected end of file/, name);
    }
    writeFileSync(path, whole);
    await using other = await Holder.start(imagePath, PARTS);
    await assert.rejects(apply(other, path, hash(Buffer.of())), /is damaged/, 'another checksum');
  });

  it('refuses an index that promises what cannot be, even where the checksum agrees', async () => {
    const path = join(folder, 'forged');
    const forged = (runs: readonly [first: number, count: number, kind: number][], keptPages: number, bytes = keptPages) => {
      const index = Buffer.alloc(runs.length * RUN_BYTES + TRAILER_BYTES);
      runs.flat().forEach((value, at) => index.writeUInt32LE(value, at * 4));
      index.write('LULLDIF1', runs.length * RUN_BYTES, 'latin1');
      index.writeUInt32LE(runs.length, runs.length * RUN_BYTES + 8);
      index.writeUInt32LE(keptPages, runs.length * RUN_BYTES + 12);
      const whole = Buffer.concat([Buffer.alloc(pages(bytes), 0x41), index]);
      writeFileSync(path, whole);
      return hash(whole);
    };
    const forgeries: Record<string, string> = {};
    const check = async (name: string, sha256: string) => {
      await using holder = await Holder.start(imagePath, WHOLE);
      await assert.rejects(apply(holder, path, sha256), /is damaged|unexpected end of file/, name);
      forgeries[name] = sha256;
    };
    await check('the page after the last', forged([[PAGES, 1, 1]], 1));
    await check('pages that wrap around', forged([[0xfffffffe, 4, 0]], 0));
    await check('more kept pages than there are', forged([[0, 3, 1]], 2));
    await check('fewer kept pages than there are', forged([[0, 1, 1]], 2));
    await check('an unknown kind', forged([[0, 1, 2]], 0));
    assert.equal(Object.keys(forgeries).length, 5);
  });

  it('writes over nothing, and says so when the process is gone', async () => {
    const holder = await Holder.start(imagePath, WHOLE);
    await holder.do('fill', 1, 1, 5);
    const { path } = capture(holder);
    const job = { pid: holder.pid, mappings: holder.mappings, imagePath, imageExtents: DATA };
    assert.throws(() => captureDiff({ ...job, outPath: path }), { code: 'EEXIST' });
    await holder[Symbol.asyncDispose]();
    assert.throws(() => captureDiff({ ...job, outPath: join(folder, 'late') }), { code: 'ENOENT' });
    assert.throws(() => applyDiff({ ...job, path }), { code: 'ENOENT' });
  });
});
