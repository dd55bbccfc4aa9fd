import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, appendFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { BuildEvent } from '../../../src/domain/ports.ts';
import { createBuildLogs } from '../../../src/image/build-log.ts';
import { OutputLines } from '../../../src/image/output-lines.ts';

const clock = { nowMs: () => 1000 };
const signal = AbortSignal.timeout(20_000);

describe('build log', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lull-log-'));
    path = join(folder, 'build.log');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function collect(events: AsyncIterable<BuildEvent>): Promise<BuildEvent[]> {
    return Array.fromAsync(events);
  }

  it('keeps steps and lines in order', async () => {
    const logs = createBuildLogs({ clock });
    const log = logs.open(path);
    await log.step('one', async () => log.line('one', 'hello'));
    await assert.rejects(log.step('two', () => Promise.reject(new Error('no'))));
    log[Symbol.dispose]();
    const events = await collect(logs.events(path, { follow: false, signal }));
    assert.deepEqual(
      events.map((event) => (event.type === 'step' ? `${event.step} ${event.state}` : event.text)),
      ['one started', 'hello', 'one finished', 'two started', 'two failed'],
    );
    assert.ok(events.every((event) => event.atMs === 1000));
  });

  it('follows until the build ends, however many read', async () => {
    const logs = createBuildLogs({ clock });
    const log = logs.open(path);
    log.line('s', 'before');
    const readers = [1, 2, 3].map(() => collect(logs.events(path, { follow: true, signal })));
    for (let n = 0; n < 1000; n++) {
      log.line('s', `line ${n}`);
      if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    log[Symbol.dispose]();
    for (const events of await Promise.all(readers)) {
      assert.equal(events.length, 1001);
      assert.deepEqual(events.at(-1), { atMs: 1000, type: 'line', step: 's', text: 'line 999' });
    }
  });

  it('stops following with its signal', async () => {
    const logs = createBuildLogs({ clock });
    using log = logs.open(path);
    log.line('s', 'first');
    const stop = new AbortController();
    const seen: BuildEvent[] = [];
    for await (const event of logs.events(path, { follow: true, signal: stop.signal })) {
      seen.push(event);
      stop.abort();
    }
    assert.equal(seen.length, 1);
  });

  it('is bounded and says so; steps are still told', async () => {
    const logs = createBuildLogs({ clock, maxLogBytes: 10_000 });
    const log = logs.open(path);
    const output = log.output('s');
    await log.step('s', async () => {
      for (let n = 0; n < 1000; n++) output.write(Buffer.from('y\n'.repeat(1000)));
      output.end();
    });
    log[Symbol.dispose]();
    assert.ok(statSync(path).size < 12_000);
    const events = await collect(logs.events(path, { follow: false, signal }));
    const last = events.at(-2);
    assert.ok(last?.type === 'line' && last.text.includes('the log is full'));
    assert.deepEqual(events.at(-1)?.type, 'step');
  });

  it('reads past what a crash left half written', async () => {
    writeFileSync(path, '{"atMs":1,"type":"line","step":"s","text":"whole"}\n{"nonsense"\n');
    appendFileSync(path, '{"atMs":2,"type":"line","step":"s","te');
    const events = await collect(createBuildLogs({ clock }).events(path, { follow: true, signal }));
    assert.deepEqual(events, [{ atMs: 1, type: 'line', step: 's', text: 'whole' }]);
    assert.deepEqual(await collect(createBuildLogs({ clock }).events(join(folder, 'none'), { follow: true, signal })), []);
  });

  it('never replaces a log', () => {
    writeFileSync(path, 'kept');
    assert.throws(() => createBuildLogs({ clock }).open(path), { code: 'EEXIST' });
    assert.equal(readFileSync(path, 'utf8'), 'kept');
  });
});

describe('output lines', () => {
  function lines(...chunks: (string | Buffer)[]): string[] {
    const out: string[] = [];
    const splitter = new OutputLines((line) => out.push(line));
    for (const chunk of chunks) splitter.write(Buffer.from(chunk));
    splitter.end();
    return out;
  }

  it('splits wherever chunks end', () => {
    assert.deepEqual(lines('a\nb', 'c\n', '\n', 'd'), ['a', 'bc', '', 'd']);
    assert.deepEqual(lines('a\r\nb\r', '\nc\rd\n'), ['a', 'b', 'c', 'd']);
    assert.deepEqual(lines(Buffer.from([0xc3]), Buffer.from([0xa4, 0x0a])), ['ä']);
  });

  it('survives bytes that are no text, and takes control characters out', () => {
    assert.deepEqual(lines(Buffer.from([0x61, 0xff, 0xfe, 0x0a])), ['a\ufffd\ufffd']);
    assert.deepEqual(lines('\x1b[31mred\x1b[0m \x07bell\tta\x00b \x1b]0;title\x07end\n'), ['red bell\ttab end']);
  });

  it('cuts lines without end', () => {
    const cut = lines('x'.repeat(10_000), 'x'.repeat(10_000));
    assert.ok(cut.every((line) => line.length <= 4096));
    assert.equal(cut.join('').length, 20_000);
  });
});
