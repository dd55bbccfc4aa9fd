import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ApplicationLog } from '../../../src/runtime/application-log.ts';

const MIB = 1024 ** 2;
const clock = { nowMs: Date.now };
const signal = AbortSignal.timeout(30_000);

describe('application log', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lull-log-'));
    path = join(folder, 'microvm', 'log');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is kept in two files and read oldest first, by a later server too', async () => {
    const log = new ApplicationLog(path, { clock, rotateBytes: 10 });
    assert.equal(await textOf(log.read({ follow: false, signal })), '');
    for (const line of ['one two three\n', 'four five six\n', 'seven\n']) await log.append(Buffer.from(line));
    assert.equal(readFileSync(path, 'utf8'), 'seven\n');
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'four five six\n');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const later = new ApplicationLog(path, { clock, rotateBytes: 10 });
    await later.append(Buffer.from('eight\n'));
    assert.equal(await textOf(later.read({ follow: false, signal })), 'four five six\nseven\neight\n');
  });

  it('gives every follower each line once, across rotations', async () => {
    const log = new ApplicationLog(path, { clock, rotateBytes: 1000 });
    const lines = Array.from({ length: 500 }, (_, n) => `line ${n}\n`);
    const whole = lines.join('');
    const early = [1, 2, 3].map(() => follower(log));
    const reading = early.map((one) => one.until((text) => text.length >= whole.length));
    for (const [n, line] of lines.entries()) {
      await log.append(Buffer.from(line));
      // The file before the last is gone after a rotation: those who read are let catch up before it comes.
      await Promise.all(early.map((one) => one.until((text) => text.endsWith(line))));
      if (n !== 250) continue;
      const late = follower(log);
      const text = await late.until((seen) => seen.endsWith(line));
      assert.ok(whole.startsWith(text, whole.indexOf(text)) && text.length > 1000, 'both halves, in order');
      await late.end();
    }
    for (const text of await Promise.all(reading)) assert.equal(text, whole);
    await Promise.all(early.map((one) => one.end()));
  });

  it('loses and repeats nothing where a reader begins while much is written', async () => {
    const log = new ApplicationLog(path, { clock, rotateBytes: 64 * 1024 });
    const lines = Array.from({ length: 2000 }, (_, n) => `line ${n}\n`);
    const writing = (async () => {
      for (const line of lines) await log.append(Buffer.from(line));
    })();
    const one = follower(log);
    assert.equal(await one.until((text) => text.endsWith('line 1999\n')), lines.join(''));
    await writing;
    await one.end();
  });

  it('holds nothing in memory for a reader that stalls, and tells it what it has missed', async () => {
    const log = new ApplicationLog(path, { clock, rotateBytes: 4 * MIB });
    await log.append(Buffer.from('first\n'));
    const stalled = log.read({ follow: true, signal });
    assert.deepEqual((await stalled.next()).value, Buffer.from('first\n'));
    const before = heldBytes();
    for (let n = 0; n < 512; n += 1) await log.append(Buffer.alloc(64 * 1024, `${n % 10}`));
    const heldMib = (heldBytes() - before) / MIB;
    assert.ok(heldMib < 4, `${heldMib} MiB are held`);
    await log.append(Buffer.from('\nlast\n'));
    let length = 0;
    let gaps = 0;
    for await (const chunk of stalled) {
      length += chunk.length;
      if (chunk.includes('output was passed over')) gaps += 1;
      if (chunk.includes('last')) break;
    }
    assert.equal(gaps, 1);
    assert.ok(length < 13 * MIB, `${length} bytes`);
  });

  it('ends with its signal, before and after the first line', async () => {
    const log = new ApplicationLog(path, { clock });
    for (const line of ['', 'hello\n']) {
      await log.append(Buffer.from(line));
      const one = follower(log);
      if (line !== '') await one.until((text) => text === line);
      await one.end();
    }
    assert.deepEqual(await textOf(log.read({ follow: true, signal: AbortSignal.abort() })), '');
  });

  it('gives the lines of a log from before times were kept, and of one that goes on', async () => {
    const atMs = 1000;
    await new ApplicationLog(path, { clock: { nowMs: () => atMs } }).append(Buffer.from('old\nha'));
    rmSync(`${path}.times`);
    utimesSync(path, 5, 5);
    const later = new ApplicationLog(path, { clock: { nowMs: () => 9000 } });
    const lines = async (log: ApplicationLog, from = 0) => (await Array.fromAsync(log.lines({ from, isComplete: false }))).flat().map((line) => [line.position, line.atMs, line.text]);
    assert.deepEqual(await lines(later), [[0, 5000, 'old']]);
    await later.append(Buffer.from('lf\nnew\n'));
    const all = [[0, 5000, 'old'], [4, 5000, 'half'], [9, 9000, 'new']];
    assert.deepEqual(await lines(later), all);
    // A pair that a full disk has cut off.
    appendFileSync(`${path}.times`, 'half a pair'.slice(0, 8));
    const last = new ApplicationLog(path, { clock: { nowMs: () => 9500 } });
    await last.append(Buffer.from('last\n'));
    assert.deepEqual(await lines(last), [...all, [13, 9500, 'last']]);
    assert.deepEqual(await lines(last, 9), [[9, 9000, 'new'], [13, 9500, 'last']]);
    assert.deepEqual(await last.extent(), { firstEventAtMs: 5000, lastEventAtMs: 9500, storedBytes: 18 });
    await last.remove();
    assert.deepEqual([readdirSync(join(folder, 'microvm')), await last.extent()], [[], undefined]);
  });

  it('drops what a full disk does not take, and says how much', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, async () => {
    path = join(folder, 'log');
    symlinkSync('/dev/full', path);
    const log = new ApplicationLog(path, { clock });
    await log.append(Buffer.from('lost\n'));
    await log.append(Buffer.from('lost as well\n'));
    rmSync(path);
    await log.append(Buffer.from('kept'));
    assert.equal(readFileSync(path, 'utf8'), '[lull: 18 bytes of output lost: the disk was full]\nkept');
    await log.append(Buffer.from(' too\n'));
    assert.equal(await textOf(log.read({ follow: false, signal })), '[lull: 18 bytes of output lost: the disk was full]\nkept too\n');
  });

  it('says to a reader what was lost although nothing came after it, on a line of its own', async () => {
    writeFileSync(join(folder, 'microvm'), 'in the way of the folder');
    const log = new ApplicationLog(path, { clock });
    await log.append(Buffer.from('lost\n'));
    rmSync(join(folder, 'microvm'));
    assert.match(await textOf(log.read({ follow: false, signal })), /^\[lull: 5 bytes of output lost: it could not be written \(E[A-Z]+\)\]\n$/);
  });
});

async function textOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(chunks)).toString();
}

/** Reads on and on; `until` resolves with all that was read once it is as wanted. */
function follower(log: ApplicationLog): { until(isWanted: (text: string) => boolean): Promise<string>; end(): Promise<void> } {
  const stop = new AbortController();
  let text = '';
  const waits = new Set<() => void>();
  const done = (async () => {
    for await (const chunk of log.read({ follow: true, signal: AbortSignal.any([stop.signal, signal]) })) {
      text += chunk.toString();
      for (const look of waits) look();
    }
  })();
  return {
    until: (isWanted) =>
      new Promise((resolve) => {
        const look = () => {
          if (!isWanted(text)) return;
          waits.delete(look);
          resolve(text);
        };
        waits.add(look);
        look();
      }),
    end: async () => {
      stop.abort();
      await done;
      assert.ok(!signal.aborted, 'it ended with its own signal');
    },
  };
}

/** Bytes of buffers that something still refers to. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Buffers are swept beside the program; the second collection waits for the first one's sweep.
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}
