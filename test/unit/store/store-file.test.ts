import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, suite, test } from 'node:test';
import { backupPathOf, migrate } from '../../../src/store/migrate.ts';
import { MIGRATIONS, type Migration } from '../../../src/store/migrations.ts';
import { SqliteThread } from '../../../src/store/sqlite-thread.ts';
import { openStore, storeOver } from '../../../src/store/store.ts';
import { insertLaunchable, microvmRecord } from '../../fakes/records.ts';

const root = mkdtempSync(join(tmpdir(), 'lull-store-file-'));
after(() => rmSync(root, { recursive: true }));
let folders = 0;
const freshPath = () => join(root, `${++folders}`, 'lull.db');
const modeOf = (path: string) => statSync(path).mode & 0o777;
const rows = async (thread: SqliteThread, sql: string) => (await thread.run(sql)).rows;

/** The layout that this code knows. */
const NEWEST = MIGRATIONS.length;
const LOGS = MIGRATIONS.find(({ name }) => name === 'log groups and streams')!.version;
const NEXT: Migration = { version: NEWEST + 1, name: 'a test', statements: ['CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT', 'INSERT INTO more VALUES (1)'] };
const BROKEN: Migration = { version: NEWEST + 2, name: 'a broken one', statements: ['CREATE TABLE half (id INTEGER) STRICT', 'CREATE NONSENSE'] };

suite('the file of a store', () => {
  test('is for its owner only, whatever the umask, and so is all that SQLite puts beside it', async () => {
    const path = freshPath();
    const umask = process.umask(0);
    try {
      await using store = await openStore({ path });
      await insertLaunchable(store);
      await store.microvms.insert(microvmRecord('a'));
      const names = await readdir(join(path, '..'));
      assert.ok(names.includes('lull.db-wal'));
      for (const name of names) assert.equal(modeOf(join(path, '..', name)), 0o600, name);
      assert.equal(modeOf(join(path, '..')), 0o700);
    } finally {
      process.umask(umask);
    }
  });

  test('is written through: WAL, FULL, foreign keys', async () => {
    const thread = new SqliteThread(freshPath().replace('/lull.db', '.db'));
    assert.deepEqual(await rows(thread, 'PRAGMA journal_mode'), [{ journal_mode: 'wal' }]);
    assert.deepEqual(await rows(thread, 'PRAGMA synchronous'), [{ synchronous: 2 }]);
    assert.deepEqual(await rows(thread, 'PRAGMA foreign_keys'), [{ foreign_keys: 1 }]);
    await thread.close();
  });

  test('that is something else is refused and left alone', async () => {
    const path = join(root, 'other.db');
    writeFileSync(path, 'not a database, but long enough to have a header that could be one '.repeat(20));
    const before = readFileSync(path);
    await assert.rejects(openStore({ path }), { kind: 'conflict', message: `${path} is not a Lull store. Move it away, or give another data folder with --data.` });
    assert.deepEqual(readFileSync(path), before);
  });

  test('that cannot be made is a clear error', async () => {
    const path = join(root, 'a-file', 'lull.db');
    writeFileSync(join(root, 'a-file'), '');
    await assert.rejects(openStore({ path }), { kind: 'internal', message: /^The store at .*lull\.db cannot be used: / });
  });

  test('keeps what was acknowledged when its process is killed', { timeout: 60_000 }, async () => {
    const path = freshPath();
    const writer = spawn(process.execPath, [join(import.meta.dirname, 'endless-writer.ts'), path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const acknowledged: string[] = [];
    for await (const line of createInterface({ input: writer.stdout })) {
      acknowledged.push(line);
      if (acknowledged.length === 40) writer.kill('SIGKILL');
    }
    if (writer.exitCode === null && writer.signalCode === null) await once(writer, 'exit');
    assert.equal(writer.signalCode, 'SIGKILL');
    await using store = await openStore({ path });
    for (const id of acknowledged) assert.equal((await store.microvms.get(id))?.state, 'RUNNING', id);
    // What was under way is there in a state that was committed, or not at all.
    const { items } = await store.microvms.list({}, { limit: 1000 });
    for (const { state, generation, lastGeneration } of items) assert.ok(['PENDING', 'RUNNING'].includes(state) && generation === 0 && lastGeneration <= 1);
    assert.ok(items.length - acknowledged.length <= 40);
  });

  test('a closed or crashed thread rejects what waits and what comes', async () => {
    const thread = new SqliteThread(':memory:');
    const waiting = thread.run('SELECT 1');
    const closed = thread.close();
    assert.deepEqual((await waiting).rows, [{ 1: 1 }]);
    await closed;
    await assert.rejects(thread.run('SELECT 1'), { kind: 'internal', message: 'The store is closed.' });
    await thread.close();
  });

  test('that is full is said to be full, and the store goes on', async () => {
    const thread = new SqliteThread(freshPath().replace('/lull.db', '.db'));
    await thread.run('CREATE TABLE t (x BLOB) STRICT');
    await thread.run('PRAGMA max_page_count = 20');
    await thread.run('begin immediate');
    await assert.rejects(thread.run('INSERT INTO t VALUES (zeroblob(1000000))'), { kind: 'insufficient-capacity', message: 'The disk that holds the store is full.' });
    await thread.run('rollback');
    await thread.run('rollback');
    await thread.run('INSERT INTO t VALUES (?)', [Buffer.from('small')]);
    assert.deepEqual(await rows(thread, 'SELECT count(*) AS n FROM t'), [{ n: 1 }]);
    await thread.close();
  });
});

suite('migrations', () => {
  test('what an earlier Lull has left gets log groups and streams', async () => {
    const thread = new SqliteThread(':memory:');
    await migrate(thread, { path: ':memory:', migrations: MIGRATIONS.filter(({ version }) => version < LOGS) });
    const microvm = (id: string, logging: string | null) =>
      thread.run(
        `INSERT INTO microvms (microvm_id, endpoint_id, state, image_name, image_arn, image_version, snapshot_id, baseline_mib, maximum_duration_seconds,
           ingress_connectors, egress_connectors, logging, started_at_ms, generation, last_generation)
         VALUES (?, ?, 'TERMINATED', 'app', 'arn', '1.0', 's', 512, 60, '[]', '[]', ?, 86400000, 0, 0)`,
        [id, id, logging],
      );
    await microvm('microvm-1', null);
    await microvm('microvm-2', '{"cloudWatch":{"logGroup":"mine"}}');
    await microvm('microvm-3', '{"disabled":{}}');
    await thread.run("INSERT INTO images VALUES (1, 'i', 'app', 'arn', 'CREATED', 0, 0, NULL, NULL, '{}', NULL, 1)");
    await thread.run("INSERT INTO image_versions VALUES (1, 'app', '1.0', 's', 'SUCCESSFUL', 'ACTIVE', '{\"logging\":null}', 0, 0, '{\"buildId\":\"b\"}', NULL, NULL)");
    await migrate(thread, { path: ':memory:', migrations: MIGRATIONS });
    await using store = storeOver(thread);
    const streams = await store.logs.open({});
    assert.deepEqual(
      streams.map(({ group, name, sourceId, isLive }) => [group, name, sourceId, isLive]).toSorted((a, b) => (String(a[2]) < String(b[2]) ? -1 : 1)),
      [
        ['/aws/lambda-microvms/app', '1970/01/02[1.0]microvm-1', 'microvm-1', false],
        ['mine', '1970/01/02[1.0]microvm-2', 'microvm-2', false],
        [null, '1970/01/02[1.0]microvm-3', 'microvm-3', false],
        ['/aws/lambda-microvms/app', '1970/01/01[1.0]build-b', 's', false],
      ],
    );
    assert.deepEqual((await store.logs.groups({}, { limit: 5 })).items.map(({ name }) => name), ['/aws/lambda-microvms/app', 'mine']);
  });

  test('are numbered without gaps', () => {
    assert.deepEqual(MIGRATIONS.map(({ version }) => version), MIGRATIONS.map((_, n) => n + 1));
  });

  test('run once, each whole or not at all, after a copy that only the owner reads', async () => {
    const path = freshPath();
    await using first = await openStore({ path });
    await insertLaunchable(first);
    await first.microvms.insert(microvmRecord('a'));
    await first[Symbol.asyncDispose]();
    const thread = new SqliteThread(path);
    assert.deepEqual(await migrate(thread, { path, migrations: MIGRATIONS }), { from: NEWEST, to: NEWEST, backupPath: null });
    await assert.rejects(migrate(thread, { path, migrations: [...MIGRATIONS, NEXT, BROKEN] }), { kind: 'internal', message: new RegExp(`layout ${NEWEST + 2} \\(a broken one\\)`) });
    assert.deepEqual(await rows(thread, 'PRAGMA user_version'), [{ user_version: NEWEST + 1 }]);
    assert.deepEqual(await rows(thread, "SELECT name FROM sqlite_schema WHERE name IN ('more', 'half')"), [{ name: 'more' }]);
    await thread.close();

    const newer = `The store at ${path} was written by a newer Lull (layout ${NEWEST + 1}, this one knows ${NEWEST}). Start that version again, or put back the copy it made (${path}.layout-${NEWEST}.backup).`;
    await assert.rejects(openStore({ path }), { kind: 'conflict', message: newer });

    const copy = backupPathOf(path, NEWEST);
    assert.equal(modeOf(copy), 0o600);
    await using store = await openStore({ path: copy });
    assert.deepEqual(await store.microvms.get('microvm-a'), microvmRecord('a'));
  });

  test('the sum of allocated memory starts from the rows that are there', async () => {
    const thread = new SqliteThread(':memory:');
    const before = MIGRATIONS.findIndex(({ name }) => name === 'allocated memory');
    await migrate(thread, { path: ':memory:', migrations: MIGRATIONS.slice(0, before) });
    const insert = `INSERT INTO microvms (microvm_id, endpoint_id, state, image_name, image_arn, image_version, snapshot_id, baseline_mib,
      maximum_duration_seconds, ingress_connectors, egress_connectors, started_at_ms, generation, last_generation)
      VALUES (?, ?, ?, 'app', 'arn', '1.0', 's', ?, 1, '[]', '[]', 1, 0, 0)`;
    for (const [n, state] of ['RUNNING', 'RUNNING', 'SUSPENDED', 'TERMINATED'].entries()) await thread.run(insert, [`m${n}`, `e${n}`, state, 2 ** n]);
    await migrate(thread, { path: ':memory:', migrations: MIGRATIONS });
    await using store = storeOver(thread);
    assert.equal(await store.microvms.allocatedMib(), 1 + 2 + 4);
    await store.microvms.apply('m0', 'terminate');
    assert.equal(await store.microvms.allocatedMib(), 2 + 4);
  });

  test('a store in memory and a new one need no copy', async () => {
    const thread = new SqliteThread(':memory:');
    assert.deepEqual(await migrate(thread, { path: ':memory:', migrations: MIGRATIONS }), { from: 0, to: NEWEST, backupPath: null });
    assert.deepEqual(await migrate(thread, { path: ':memory:', migrations: [...MIGRATIONS, NEXT] }), { from: NEWEST, to: NEWEST + 1, backupPath: null });
    await thread.close();
  });
});
