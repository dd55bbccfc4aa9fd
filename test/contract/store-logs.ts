/** The contract of `Store.logs`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogStream } from '../../src/domain/log-stream.ts';
import type { OpenStreamFilter, Page, Store } from '../../src/domain/ports.ts';
import { imageConfig, insertLaunchable, microvmRecord, versionRecord } from '../fakes/records.ts';

const GROUP = '/aws/lambda-microvms/app';
const DAY_MS = 24 * 3_600_000;

export function logContract(open: () => Promise<Store>): void {
  test('microVMs and versions bring their streams, in the same transaction or not at all', async () => {
    await using store = await open();
    await insertLaunchable(store, 'app', { createdAtMs: 0 });
    await store.images.addVersion(versionRecord('app', '2.0', { createdAtMs: DAY_MS, config: imageConfig({ logging: { disabled: {} } }) }), 'UPDATING');
    await store.microvms.insert(microvmRecord('one', { startedAtMs: 0, clientToken: 'token' }));
    await assert.rejects(store.microvms.insert(microvmRecord('two', { startedAtMs: 0, clientToken: 'token' })), { kind: 'conflict' });
    const { items } = await store.logs.streams(GROUP, { orderBy: 'name', descending: false }, { limit: 9 });
    assert.deepEqual(items.map(({ name, source, sourceId }) => [name, source, sourceId]), [
      ['1970/01/01[1.0]build-build-app-1.0', 'build', 'snapshot-app-1.0'],
      ['1970/01/01[1.0]microvm-one', 'microvm', 'microvm-one'],
    ]);
    const live = async () => new Map((await store.logs.open({})).map(({ sourceId, group, isLive }) => [sourceId, [group, isLive]]));
    assert.deepEqual(await live(), new Map([['snapshot-app-1.0', [GROUP, false]], ['snapshot-app-2.0', [null, true]], ['microvm-one', [GROUP, true]]]));
    const openOnes = async (filter: OpenStreamFilter) => (await store.logs.open(filter)).map(({ sourceId }) => sourceId).toSorted();
    assert.deepEqual(await openOnes({ group: GROUP }), ['microvm-one', 'snapshot-app-1.0']);
    assert.deepEqual(await openOnes({ group: GROUP, name: '1970/01/01[1.0]microvm-one' }), ['microvm-one']);
    assert.deepEqual(await openOnes({ group: 'another' }), []);
    await store.microvms.apply('microvm-one', 'terminate');
    await store.microvms.apply('microvm-one', 'terminated');
    await store.images.update('app', '2.0', { version: { state: 'FAILED' } });
    assert.deepEqual(await live(), new Map([['snapshot-app-1.0', [GROUP, false]], ['snapshot-app-2.0', [null, false]], ['microvm-one', [GROUP, false]]]));
    await store.images.remove('app');
    assert.deepEqual([...(await live()).keys()], ['microvm-one'], 'a microVM’s log outlives its image');
  });

  test('what was measured is kept; a group goes once no stream is in it', async () => {
    await using store = await open();
    await insertLaunchable(store, 'app', { config: imageConfig({ logging: { disabled: {} } }) });
    await store.microvms.insert(microvmRecord('one', { startedAtMs: 5 }));
    const stream = { source: 'microvm', sourceId: 'microvm-one' } as const;
    await store.logs.measured(stream, { firstEventAtMs: 6, lastEventAtMs: 7, storedBytes: 8, hasEnded: true });
    const kept = await store.logs.stream(GROUP, '1970/01/01[1.0]microvm-one');
    assert.deepEqual(kept, { group: GROUP, name: '1970/01/01[1.0]microvm-one', ...stream, createdAtMs: 5, firstEventAtMs: 6, lastEventAtMs: 7, storedBytes: 8, hasEnded: true });
    assert.equal(await store.logs.totalBytes(), 8);
    assert.deepEqual((await store.logs.groups({}, { limit: 5 })).items, [{ name: GROUP, createdAtMs: 5, retentionDays: null, storedBytes: 8 }]);
    assert.deepEqual(await store.logs.overlapping(GROUP, { startMs: 8, endMs: 9 }), []);
    assert.deepEqual(await store.logs.overlapping(GROUP, { startMs: 7, endMs: 9 }), [kept]);
    assert.equal(await store.logs.removeGroup(GROUP), 'in-use');
    await store.logs.removeStream(stream);
    assert.deepEqual(await store.logs.oldestEnded(5), []);
    assert.equal(await store.logs.removeGroup(GROUP), 'removed');
    assert.equal(await store.logs.group(GROUP), undefined);
    assert.equal(await store.logs.removeGroup(GROUP), 'absent');
  });

  test('retention: what has ended is due by its group or by the usual time, the oldest first; what is written to is not', async () => {
    await using store = await open();
    await insertLaunchable(store, 'app', { createdAtMs: 0, config: imageConfig({ logging: { disabled: {} } }) });
    for (const [id, logGroup] of [['one', 'short'], ['two', 'usual'], ['three', 'usual'], ['four', 'usual']] as const) {
      await store.microvms.insert(microvmRecord(id, { startedAtMs: 0, logging: { cloudWatch: { logGroup } } }));
    }
    const ended = (id: string, lastEventAtMs: number) =>
      store.logs.measured({ source: 'microvm', sourceId: `microvm-${id}` }, { firstEventAtMs: 0, lastEventAtMs, storedBytes: 1, hasEnded: true });
    await ended('one', 8 * DAY_MS);
    await ended('two', 6 * DAY_MS);
    await ended('three', 2 * DAY_MS);
    await store.logs.setRetention('short', 1);
    const due = async () => (await store.logs.expired(10 * DAY_MS, 3)).map(({ sourceId }) => sourceId);
    assert.deepEqual(await due(), ['microvm-three', 'microvm-two', 'microvm-one']);
    await store.logs.setRetention('short', null);
    assert.deepEqual(await due(), ['microvm-three', 'microvm-two']);
    assert.equal((await store.logs.group('short'))?.retentionDays, null);
    const byLastEvent = async (descending: boolean, after?: string) => {
      const { items, next } = await store.logs.streams('usual', { orderBy: 'last-event', descending }, { limit: 2, after });
      return { ids: items.map(({ sourceId }) => sourceId), next };
    };
    const newest = await byLastEvent(true);
    assert.deepEqual(newest.ids, ['microvm-two', 'microvm-three']);
    assert.deepEqual((await byLastEvent(true, newest.next!)).ids, ['microvm-four']);
    assert.deepEqual((await byLastEvent(false)).ids, ['microvm-four', 'microvm-three']);
  });

  test('names are found by any prefix, up to the last character that there is', async () => {
    await using store = await open();
    await insertLaunchable(store, 'app', { config: imageConfig({ logging: { disabled: {} } }) });
    const names = ['a', 'a\u{10ffff}', 'a\u{10ffff}z', 'b', '\u{10ffff}\u{10ffff}'];
    for (const [n, logStream] of names.entries()) {
      await store.microvms.insert(microvmRecord(`m${n}`, { startedAtMs: 5, logging: { cloudWatch: { logGroup: logStream, logStream } } }));
      await store.microvms.insert(microvmRecord(`all${n}`, { startedAtMs: 5, logging: { cloudWatch: { logGroup: 'all', logStream } } }));
      await store.logs.measured({ source: 'microvm', sourceId: `microvm-all${n}` }, { firstEventAtMs: 6, lastEventAtMs: 7, storedBytes: 8, hasEnded: false });
    }
    for (const prefix of ['', 'a', 'a\u{10ffff}', 'b', '\u{10ffff}', 'c']) {
      const wanted = names.filter((name) => name.startsWith(prefix));
      const named = (items: readonly { name: string }[]) => items.map(({ name }) => name);
      for (const descending of [false, true]) {
        const pages: string[] = [];
        for (let after: string | null | undefined; after !== null; ) {
          const page: Page<LogStream> = await store.logs.streams('all', { prefix, orderBy: 'name', descending }, { limit: 2, after });
          pages.push(...named(page.items));
          after = page.next;
        }
        assert.deepEqual(pages, descending ? wanted.toReversed() : wanted);
      }
      assert.deepEqual(named(await store.logs.overlapping('all', { prefix, startMs: 0, endMs: 9 })).toSorted(), wanted.toSorted());
      const { items } = await store.logs.groups({ prefix }, { limit: 9 });
      assert.deepEqual(named(items).filter((name) => name !== 'all' && !name.startsWith('/')), wanted);
      assert.deepEqual(named((await store.logs.groups({ prefix }, { limit: 9, after: 'a' })).items).filter((name) => name !== 'all'), wanted.filter((name) => name !== 'a'));
    }
  });
}
