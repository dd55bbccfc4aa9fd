import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { LogCatalogue } from '../../../src/control/logs/log-catalogue.ts';
import { createLogUseCases, type LogUseCases } from '../../../src/control/logs/log-use-cases.ts';
import type { StreamQuery } from '../../../src/control/logs/stream-events.ts';
import type { LogFiles } from '../../../src/domain/ports.ts';
import { insertLaunchable, microvmRecord } from '../../fakes/records.ts';
import { startApi, type ApiBed } from './bed.ts';

const GROUP = '/aws/lambda-microvms/app';
const T0 = Date.UTC(2026, 10, 27, 12);
const KIB = 1024;
const MIB = 1024 * KIB;
const LINE = 'abcdefghijklmno';
const BLOCK = `${LINE}\n`.repeat((64 * KIB) / 16);

describe('reading of logs', () => {
  let bed: ApiBed;
  let logs: LogUseCases;
  let readBytes = 0;
  const measuredIds = new Set<string>();
  beforeEach(async () => {
    bed = await startApi();
    bed.logTime.nowMs = T0;
    await insertLaunchable(bed.store, 'app', { createdAtMs: T0 });
    const counted: LogFiles = {
      async *lines(id, range) {
        for await (const lines of bed.applicationLogs.lines(id, range)) {
          readBytes += lines.length === 0 ? 0 : lines.at(-1)!.next - lines[0]!.position;
          yield lines;
        }
      },
      extent: (id) => {
        measuredIds.add(id);
        return bed.applicationLogs.extent(id);
      },
      remove: (id) => bed.applicationLogs.remove(id),
    };
    logs = createLogUseCases(new LogCatalogue({ streams: bed.store.logs, files: { microvm: counted, build: counted } }), { nowMs: () => T0 });
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  const launch = async (name: string) => {
    const record = microvmRecord(name, { state: 'RUNNING', startedAtMs: bed.logTime.nowMs });
    await bed.store.microvms.insert(record);
    return record.microvmId;
  };
  const print = (microvmId: string, text: string, atMs: number) => {
    bed.logTime.nowMs = atMs;
    return bed.applicationLogs.hold(microvmId).append(Buffer.from(text));
  };
  /** What a call answered, and how much it read for that. */
  const measured = async <T>(call: Promise<T>) => {
    readBytes = 0;
    return { answer: await call, get readBytes() { return readBytes; } };
  };
  const read = (id: string, more: Partial<StreamQuery>) =>
    measured(
      logs.events({ group: GROUP, stream: `2026/11/27[1.0]${id}`, startMs: undefined, endMs: undefined, limit: 10, startFromHead: false, nextToken: undefined, ...more }),
    );
  const filter = (pattern: string, page: { limit: number; after?: string | undefined }) =>
    measured(logs.filter({ group: GROUP, streamNames: undefined, streamPrefix: undefined, startMs: undefined, endMs: undefined, pattern }, page));
  /** All pages of a search, each of which must not have read more than its share. */
  const search = async (pattern: string) => {
    const texts: string[] = [];
    let after: string | null | undefined;
    let emptyPages = 0;
    for (let pages = 0; after !== null; pages += 1) {
      assert.ok(pages < 100, 'a search comes to its end');
      const { answer, readBytes: bytes } = await filter(pattern, { limit: 1000, after });
      assert.ok(bytes <= 5 * MIB, `${bytes} bytes read for one page`);
      texts.push(...answer.items.map(({ text }) => text));
      if (answer.items.length === 0 && answer.next !== null) emptyPages += 1;
      after = answer.next;
    }
    return { texts, emptyPages };
  };

  test('a page costs what it holds, at either end of a log', async () => {
    const id = await launch('one');
    for (let at = 0; at < 12 * 16; at += 1) await print(id, BLOCK, T0 + at);
    const newest = await read(id, {});
    assert.equal(newest.answer.events.length, 10);
    assert.ok(newest.readBytes <= 3 * MIB, `${newest.readBytes} bytes read backwards`);
    const oldest = await read(id, { startFromHead: true });
    assert.ok(oldest.readBytes <= 64 * KIB, `${oldest.readBytes} bytes read forwards`);
    const early = await read(id, { limit: undefined, startFromHead: true, endMs: T0 + 1 });
    assert.equal(early.answer.events.length, BLOCK.length / 16);
    assert.ok(early.readBytes <= 64 * KIB, `${early.readBytes} bytes read up to a moment`);
    const first = await filter('', { limit: 10 });
    assert.equal(first.answer.items.length, 10);
    assert.ok(first.readBytes <= 128 * KIB, `${first.readBytes} bytes searched for the first page`);
    const later = await filter('', { limit: 10, after: `${T0 + 100}:0:` });
    assert.ok(later.readBytes <= 192 * KIB, `${later.readBytes} bytes searched for a later page`);
  });

  test('a search that finds little comes in short pages and misses nothing, in order of time', async () => {
    const ids = [await launch('one'), await launch('two'), await launch('three')];
    const expected: string[] = [];
    for (let at = 0; at < 4 * 16; at += 1) {
      for (const [n, id] of ids.entries()) {
        const isRare = at % 20 === 5 * n;
        await print(id, isRare ? `${BLOCK}rare ${at} of ${n}\n` : BLOCK, T0 + 10 * at + n);
        if (isRare) expected.push(`rare ${at} of ${n}`);
      }
    }
    const { texts } = await search('rare');
    assert.deepEqual(texts, expected);
    const none = await search('nowhere');
    assert.deepEqual(none.texts, []);
    assert.ok(none.emptyPages >= 2, 'what was read is given up in between');
  });

  test('many streams of one moment are searched to their end', async () => {
    for (let n = 0; n < 80; n += 1) await print(await launch(`n${String(n).padStart(2, '0')}`), `event ${n}\n`, T0);
    const { answer } = await filter('event', { limit: 1000 });
    assert.equal(answer.next, null, 'little is read for each');
    assert.deepEqual(answer.items.map(({ text }) => text), Array.from({ length: 80 }, (_, n) => `event ${n}`));
  });

  test('backwards it goes past long lines and empty ones, and cuts a long line as forwards', async () => {
    const id = await launch('one');
    const long = 'é'.repeat(1.5 * MIB);
    for (const text of [`first\n${long.slice(0, MIB)}`, `${long.slice(MIB)}\n`, '\n'.repeat(2.5 * MIB), 'last\n']) await print(id, text, T0);
    const forwards: string[] = [];
    for (let token: string | undefined, last = ''; token !== last; ) {
      last = token ?? '';
      const { answer } = await read(id, { limit: 3, startFromHead: true, nextToken: token });
      forwards.push(...answer.events.map(({ text }) => text));
      token = answer.nextForwardToken;
    }
    const backwards: string[] = [];
    for (let token: string | undefined, last = ''; token !== last; ) {
      last = token ?? '';
      const { answer } = await read(id, { limit: 3, nextToken: token });
      backwards.unshift(...answer.events.map(({ text }) => text));
      token = answer.nextBackwardToken;
    }
    assert.deepEqual([forwards[0], forwards.slice(1, -1).join(''), forwards.at(-1)], ['first', long, 'last']);
    assert.ok(backwards.length === forwards.length && backwards.every((text, at) => text === forwards[at]), 'the same events both ways');
  });

  test('a call measures the streams that it asks for, and no others', async () => {
    const ids = [await launch('one'), await launch('two')];
    const other = microvmRecord('three', { state: 'RUNNING', startedAtMs: T0, logging: { cloudWatch: { logGroup: 'other' } } });
    await bed.store.microvms.insert(other);
    const measuredBy = async (call: Promise<unknown>) => {
      measuredIds.clear();
      await call;
      return [...measuredIds].toSorted();
    };
    const listing = { orderBy: 'name', descending: false } as const;
    await logs.streams(GROUP, listing, { limit: 9 });
    assert.deepEqual(await measuredBy(read(ids[0]!, {})), [ids[0]]);
    assert.deepEqual(await measuredBy(filter('', { limit: 9 })), ids);
    assert.deepEqual(await measuredBy(logs.streams('other', listing, { limit: 9 })), [other.microvmId]);
    assert.deepEqual(await measuredBy(logs.groups({}, { limit: 9 })), []);
    await logs.createGroup('empty');
    assert.deepEqual(await measuredBy(logs.deleteGroup('empty')), []);
  });

  test('a clock that is set back puts no line before the one that it follows', async () => {
    const id = await launch('one');
    for (const [n, atMs] of [T0 + 500, T0 + 100, T0 + 600].entries()) await print(id, `line ${n}\n`, atMs);
    const { answer } = await filter('', { limit: 10 });
    assert.deepEqual(answer.items.map(({ text, atMs }) => [text, atMs]), [['line 0', T0 + 500], ['line 1', T0 + 500], ['line 2', T0 + 600]]);
  });
});
