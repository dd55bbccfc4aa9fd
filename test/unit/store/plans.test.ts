import assert from 'node:assert/strict';
import { test } from 'node:test';
import { migrate } from '../../../src/store/migrate.ts';
import { MIGRATIONS } from '../../../src/store/migrations.ts';
import { SqliteThread, type StatementRunner } from '../../../src/store/sqlite-thread.ts';
import { storeOver } from '../../../src/store/store.ts';
import { connectorRecord, objectRecord, partRecord, uploadRecord } from '../../fakes/records.ts';

const PAGE = { limit: 2 };
const NEXT = { limit: 2, after: '9' };

test('every look-up and listing is answered by an index, in its order, without a sort', async () => {
  const thread = new SqliteThread(':memory:');
  await migrate(thread, ':memory:', MIGRATIONS);
  const seen = new Map<string, readonly unknown[]>();
  const recording: StatementRunner = {
    run: (sql, parameters = []) => {
      if (/^(select|delete)/i.test(sql)) seen.set(sql, parameters);
      return thread.run(sql, parameters);
    },
    close: () => thread.close(),
  };
  await using store = storeOver(recording);
  const { microvms, images, connectors, objects, uploads, accessKeys, tokenKeys, roles, logs } = store;
  for (const page of [PAGE, NEXT]) {
    await microvms.list({}, page);
    await microvms.list({ imageArn: 'a' }, page);
    await microvms.list({ imageVersion: '1.0' }, page);
    await microvms.list({ imageArn: 'a', imageVersion: '1.0' }, page);
    await images.list({}, page);
    await images.list({ nameFilter: 'a' }, page);
    await images.versions('a', page);
    await connectors.list({}, page);
    await connectors.list({ state: 'ACTIVE' }, page);
  }
  await microvms.get('a');
  await microvms.byEndpoint('a');
  await microvms.byClientToken('a');
  await microvms.inStates(['RUNNING', 'WAKING']);
  await microvms.allocatedMib();
  await images.get('a');
  await images.byClientToken('a');
  await images.versionByClientToken('a');
  await images.version('a', '1.0');
  await images.newestActive('a');
  await images.versionsInStates(['PENDING', 'IN_PROGRESS']);
  await images.inStates(['DELETING']);
  await images.markDeleting('a', 1);
  await images.changeTags('a', (tags) => tags);
  await connectors.find('a');
  await connectors.byClientToken('a');
  await connectors.changeTags('a', (tags) => tags);
  const connector = connectorRecord('a');
  await connectors.insert(connector);
  await connectors.replace(connector);
  await connectors.remove(connector.connectorId);
  await objects.list('b', { prefix: 'p/', after: '', limit: 5 });
  await objects.list('b', { prefix: '', after: 'x', limit: 5 });
  await objects.get('b', 'k');
  await objects.hasBucket('b');
  await objects.publicAccessBlock('b');
  await objects.listBuckets({ prefix: 'p', after: '', limit: 5 });
  await objects.listBuckets({ prefix: '', after: 'x', limit: 5 });
  await objects.put(objectRecord('b', 'k'));
  await objects.deleteBucket('b');
  await uploads.create(uploadRecord('k', 'u'), 5);
  await uploads.get('b', 'k', 'u');
  await uploads.forgetBefore(1);
  await objects.delete('b', ['k', 'l']);
  await uploads.putPart('u', partRecord(1));
  await uploads.parts('u', { after: 1, limit: 5 });
  await uploads.list('b', { prefix: 'p/', after: { key: '', uploadId: '' }, limit: 5 });
  await uploads.list('b', { prefix: '', after: { key: 'x', uploadId: 'u' }, limit: 5 });
  await accessKeys.get('a');
  await roles.get('a');
  await roles.list({ pathPrefix: '/' }, { limit: 2, after: 'a' });
  await logs.group('a');
  await logs.groups({ prefix: 'a', contains: 'b' }, { limit: 2, after: 'a' });
  await logs.stream('a', 'b');
  for (const descending of [false, true]) {
    await logs.streams('a', { prefix: 'a', orderBy: 'name', descending }, { limit: 2, after: 'a' });
    await logs.streams('a', { orderBy: 'last-event', descending }, { limit: 2, after: '1:2' });
  }
  await logs.overlapping('a', { startMs: 1, endMs: 2 });
  await logs.overlapping('a', { names: ['b'], startMs: 1, endMs: 2 });
  await logs.open();
  await logs.expired(1, 2);
  await logs.oldestEnded(1);
  for (const [sql, parameters] of seen) {
    const { rows } = await thread.run(`EXPLAIN QUERY PLAN ${sql}`, parameters);
    for (const { detail } of rows as { detail: string }[]) assert.match(detail, /^(SEARCH |CORRELATED SCALAR SUBQUERY )/, `${detail}\n${sql}`);
  }
  assert.ok(seen.size >= 30);

  // These read a whole table because they give out the whole table; they still take its order from it.
  seen.clear();
  await objects.blobIds();
  await accessKeys.list();
  await tokenKeys.list();
  for (const [sql] of seen) {
    const { rows } = await thread.run(`EXPLAIN QUERY PLAN ${sql}`);
    for (const { detail } of rows as { detail: string }[]) assert.doesNotMatch(detail, /TEMP B-TREE/, `${detail}\n${sql}`);
  }
});
