/**
 * Every statement of the store is answered by an index, in its order. Which statements there are is not written down here:
 * the store's contract runs over a store that notes them, and a call site that it did not come to is a failure too.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { Session, type Profiler } from 'node:inspector/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { migrate } from '../../../src/store/migrate.ts';
import { MIGRATIONS } from '../../../src/store/migrations.ts';
import { SqliteThread, type StatementRunner } from '../../../src/store/sqlite-thread.ts';
import { storeOver } from '../../../src/store/store.ts';
import { storeContract } from '../../contract/store.ts';

const STORE = join(import.meta.dirname, '../../../src/store');

/** Statements that read a whole table because they give it out, or count what a quota bounds; all of them in an order of its own. */
const WHOLE_TABLE: readonly RegExp[] = [
  /^select "blob_id" from "(objects|parts)" order by "blob_id"$/,
  /^select "artifact_blob_id" from "image_versions" where "artifact_blob_id" is not null order by "artifact_blob_id"$/,
  /^select \* from "access_keys" where "session" is null order by "seq" desc$/,
  /^select "kid", "key", "created_at_ms" from "token_keys" order by "seq" desc$/,
  /^select count\(\*\) as "count" from "images"$/,
  /^select sum\("stored_bytes"\) as "total" from "log_streams"$/,
];

const PLANNED = /^(select|update|delete|with)\b/i;

/** Every statement that was run, with parameters of one of its runs. */
const seen = new Map<string, readonly unknown[]>();

function noting(runner: StatementRunner): StatementRunner {
  return {
    run: (sql, parameters = []) => {
      if (PLANNED.test(sql)) seen.set(sql, parameters);
      return runner.run(sql, parameters);
    },
    close: () => runner.close(),
  };
}

async function migrated(): Promise<SqliteThread> {
  const thread = new SqliteThread(':memory:');
  await migrate(thread, { path: ':memory:', migrations: MIGRATIONS });
  return thread;
}

suite('plans of the statements', () => {
  const session = new Session();
  session.connect();
  before(async () => {
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  });
  after(() => session.disconnect());

  storeContract('noted statements', async () => storeOver(noting(await migrated())));

  test('the contract came to every call site that makes one', async () => {
    const { result } = await session.post('Profiler.takePreciseCoverage');
    const files = readdirSync(STORE).filter((name) => readFileSync(join(STORE, name), 'utf8').includes("from 'kysely'"));
    const missed = files.flatMap((name) => {
      const path = join(STORE, name);
      const coverage = result.find(({ url }) => url === pathToFileURL(path).href);
      return callSites(readFileSync(path, 'utf8')).filter(({ at }) => !wasRun(coverage, at)).map(({ line }) => `${name}:${line}`);
    });
    assert.deepEqual(missed, []);
  });

  test('each is a search of an index, and none sorts', async () => {
    const thread = await migrated();
    const plans = new Map<string, string[]>();
    for (const [sql, parameters] of seen) {
      const { rows } = await thread.run(`EXPLAIN QUERY PLAN ${sql}`, parameters);
      plans.set(sql, (rows as { detail: string }[]).map(({ detail }) => detail));
    }
    await thread.close();
    assert.ok(plans.size > 0);
    const slow = [...plans].filter(([sql, details]) => {
      const isWhole = WHOLE_TABLE.some((known) => known.test(sql));
      return details.some((detail) => detail.includes('TEMP B-TREE') || (detail.startsWith('SCAN') && !isWhole));
    });
    assert.deepEqual(slow, []);
    // A reason that fits nothing any more is none.
    assert.deepEqual(WHOLE_TABLE.filter((known) => ![...seen.keys()].some((sql) => known.test(sql))), []);
  });
});

/** Where a source makes a statement. */
const callSites = (source: string) =>
  [...source.matchAll(/\.(selectFrom|updateTable|deleteFrom)\(/g)].map(({ index }) => ({ at: index, line: source.slice(0, index).split('\n').length }));

/** By the innermost range of the coverage. Node strips types to blanks, so offsets are those of the source. */
function wasRun(coverage: Profiler.ScriptCoverage | undefined, at: number): boolean {
  const around = (coverage?.functions ?? []).flatMap(({ ranges }) => ranges).filter(({ startOffset, endOffset }) => startOffset <= at && at < endOffset);
  const innermost = around.toSorted((a, b) => a.endOffset - a.startOffset - (b.endOffset - b.startOffset))[0];
  return (innermost?.count ?? 0) > 0;
}
