/** Log groups and streams in SQL; their lines are files. */
import { sql, type Kysely, type Transaction } from 'kysely';
import { LullError } from '../domain/errors.ts';
import type { LogExtent, LogGroup, LogSource, LogStream, NewLogStream } from '../domain/log-stream.ts';
import type { LogRepository, LogStreamFilter, LogStreamOrder, OpenStreamFilter, Page, PageRequest } from '../domain/ports.ts';
import { keyRange } from './key-range.ts';
import { toLogGroup, toLogStream } from './rows.ts';
import type { Tables } from './tables.ts';

const DAY_MS = 24 * 3_600_000;
const EXPIRED_AT_ONCE = 200;

type Owner = Pick<LogStream, 'source' | 'sourceId'>;

/** Writes the stream of what is inserted in the same transaction, and its group where there is none. */
export async function insertLogStream(tx: Transaction<Tables>, { group, name, ...stream }: NewLogStream): Promise<void> {
  const taken = group !== null && (await streamOf(tx, group, name).select('seq').executeTakeFirst()) !== undefined;
  if (group !== null) {
    const row = { name: group, createdAtMs: stream.createdAtMs, retentionDays: null };
    await tx.insertInto('logGroups').values(row).onConflict((conflict) => conflict.doNothing()).execute();
  }
  const row = { ...stream, groupName: group, firstEventAtMs: null, lastEventAtMs: stream.createdAtMs, storedBytes: 0, hasEnded: 0 as const };
  // A stream has one writer: whoever asks for the name of another gets one beside it.
  await tx.insertInto('logStreams').values({ ...row, name: taken ? `${name}/${stream.sourceId}` : name }).execute();
}

const streamOf = (db: Kysely<Tables> | Transaction<Tables>, group: string, name: string) =>
  db.selectFrom('logStreams').where('groupName', '=', group).where('name', '=', name);

/** The log groups and streams of a store. */
export class SqlLogRepository implements LogRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async createGroup(name: string, createdAtMs: number): Promise<'created' | 'exists'> {
    const { numInsertedOrUpdatedRows } = await this.#db
      .insertInto('logGroups')
      .values({ name, createdAtMs, retentionDays: null })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 0n ? 'exists' : 'created';
  }

  async group(name: string): Promise<LogGroup | undefined> {
    const row = await this.#db.selectFrom('logGroups').selectAll().where('name', '=', name).executeTakeFirst();
    return row === undefined ? undefined : toLogGroup(row);
  }

  async groups(
    { prefix = '', contains = '' }: { prefix?: string | undefined; contains?: string | undefined },
    { limit, after = '' }: PageRequest,
  ): Promise<Page<LogGroup & { storedBytes: number }>> {
    const { from, inclusive, end } = keyRange(prefix, after);
    let query = this.#db
      .selectFrom('logGroups')
      .selectAll()
      .select((eb) =>
        eb
          .selectFrom('logStreams')
          .whereRef('groupName', '=', 'logGroups.name')
          .select(({ fn }) => fn.sum<number | null>('storedBytes').as('sum'))
          .as('bytes'),
      )
      .where('name', inclusive ? '>=' : '>', from)
      .where(sql<boolean>`instr(name, ${contains}) > 0`);
    if (end !== undefined) query = query.where('name', '<', end);
    const rows = await query
      .orderBy('name')
      .limit(limit + 1)
      .execute();
    const items = rows.slice(0, limit).map((row) => ({ ...toLogGroup(row), storedBytes: row.bytes ?? 0 }));
    return { items, next: rows.length > limit ? (items.at(-1)?.name ?? null) : null };
  }

  async setRetention(name: string, days: number | null): Promise<void> {
    await this.#db.updateTable('logGroups').set({ retentionDays: days }).where('name', '=', name).execute();
  }

  async removeGroup(name: string): Promise<'removed' | 'in-use' | 'absent'> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('logGroups')
      .where('name', '=', name)
      .where((eb) => eb.not(eb.exists(eb.selectFrom('logStreams').select('seq').where('groupName', '=', name))))
      .executeTakeFirstOrThrow();
    if (numDeletedRows > 0n) return 'removed';
    return (await this.group(name)) === undefined ? 'absent' : 'in-use';
  }

  async stream(group: string, name: string): Promise<LogStream | undefined> {
    const row = await streamOf(this.#db, group, name).selectAll().executeTakeFirst();
    return row === undefined ? undefined : toLogStream(row);
  }

  streams(group: string, order: LogStreamOrder, page: PageRequest): Promise<Page<LogStream>> {
    return order.orderBy === 'name' ? this.#byName(group, order, page) : this.#byLastEvent(group, order, page);
  }

  async #byName(group: string, { prefix = '', descending }: LogStreamOrder, { limit, after }: PageRequest): Promise<Page<LogStream>> {
    const { from, inclusive, end } = keyRange(prefix, descending ? '' : (after ?? ''));
    let query = this.#db.selectFrom('logStreams').selectAll().where('groupName', '=', group).where('name', inclusive ? '>=' : '>', from);
    if (end !== undefined) query = query.where('name', '<', end);
    if (descending && after !== undefined) query = query.where('name', '<', after);
    const rows = await query
      .orderBy('name', descending ? 'desc' : 'asc')
      .limit(limit + 1)
      .execute();
    return { items: rows.slice(0, limit).map(toLogStream), next: rows.length > limit ? (rows[limit - 1]?.name ?? null) : null };
  }

  async #byLastEvent(group: string, { descending }: LogStreamOrder, { limit, after }: PageRequest): Promise<Page<LogStream>> {
    let query = this.#db.selectFrom('logStreams').selectAll().where('groupName', '=', group);
    if (after !== undefined) {
      const [lastEventAtMs, seq] = momentAndSeq(after);
      query = query.where((eb) => eb(eb.refTuple('lastEventAtMs', 'seq'), descending ? '<' : '>', eb.tuple(lastEventAtMs, seq)));
    }
    const direction = descending ? 'desc' : 'asc';
    const rows = await query
      .orderBy('lastEventAtMs', direction)
      .orderBy('seq', direction)
      .limit(limit + 1)
      .execute();
    const last = rows[limit - 1];
    return { items: rows.slice(0, limit).map(toLogStream), next: rows.length > limit && last !== undefined ? `${last.lastEventAtMs}:${last.seq}` : null };
  }

  async overlapping(group: string, { names, prefix = '', startMs, endMs }: LogStreamFilter): Promise<readonly LogStream[]> {
    const { from, inclusive, end } = keyRange(prefix, '');
    let query = this.#db
      .selectFrom('logStreams')
      .selectAll()
      .where('groupName', '=', group)
      .where('lastEventAtMs', '>=', startMs)
      .where('firstEventAtMs', '<', endMs)
      .where('name', inclusive ? '>=' : '>', from);
    if (end !== undefined) query = query.where('name', '<', end);
    if (names !== undefined) query = query.where('name', 'in', names);
    const rows = await query.execute();
    return rows.map(toLogStream);
  }

  async open({ group, name }: OpenStreamFilter): Promise<readonly (LogStream & { isLive: boolean })[]> {
    let query = this.#db
      .selectFrom('logStreams')
      .selectAll('logStreams')
      .leftJoin('microvms', 'microvms.microvmId', 'logStreams.sourceId')
      .leftJoin('imageVersions', 'imageVersions.snapshotId', 'logStreams.sourceId')
      .select(['microvms.state as microvmState', 'imageVersions.state as versionState'])
      .where('hasEnded', '=', 0);
    if (group !== undefined) query = query.where('groupName', '=', group);
    if (name !== undefined) query = query.where('name', '=', name);
    const rows = await query.execute();
    return rows.map(({ microvmState, versionState, ...row }) => {
      const runs = microvmState !== null && microvmState !== 'TERMINATED';
      const builds = versionState === 'PENDING' || versionState === 'IN_PROGRESS';
      return { ...toLogStream(row), isLive: row.source === 'microvm' ? runs : builds };
    });
  }

  async measured({ source, sourceId }: Owner, { hasEnded, ...extent }: LogExtent & { hasEnded: boolean }): Promise<void> {
    await this.#db
      .updateTable('logStreams')
      .set({ ...extent, hasEnded: hasEnded ? 1 : 0 })
      .where('source', '=', source)
      .where('sourceId', '=', sourceId)
      .execute();
  }

  async expired(nowMs: number, daysKept: number): Promise<readonly LogStream[]> {
    const daysOfStream = sql<number>`coalesce(min(log_groups.retention_days, ${daysKept}), ${daysKept})`;
    const rows = await this.#db
      .selectFrom('logStreams')
      .selectAll('logStreams')
      .leftJoin('logGroups', 'logGroups.name', 'logStreams.groupName')
      .where('hasEnded', '=', 1)
      .where(sql<boolean>`last_event_at_ms < ${nowMs} - ${DAY_MS} * ${daysOfStream}`)
      .orderBy('lastEventAtMs')
      .limit(EXPIRED_AT_ONCE)
      .execute();
    return rows.map(toLogStream);
  }

  async oldestEnded(limit: number): Promise<readonly LogStream[]> {
    const rows = await this.#db.selectFrom('logStreams').selectAll().where('hasEnded', '=', 1).orderBy('lastEventAtMs').limit(limit).execute();
    return rows.map(toLogStream);
  }

  async totalBytes(): Promise<number> {
    const { total } = await this.#db
      .selectFrom('logStreams')
      .select(({ fn }) => fn.sum<number | null>('storedBytes').as('total'))
      .executeTakeFirstOrThrow();
    return total ?? 0;
  }

  async removeStream({ source, sourceId }: { source: LogSource; sourceId: string }): Promise<void> {
    await this.#db.deleteFrom('logStreams').where('source', '=', source).where('sourceId', '=', sourceId).execute();
  }
}

/** @throws LullError validation where an earlier page did not give it */
function momentAndSeq(after: string): [number, number] {
  const match = /^(\d{1,16}):(\d{1,16})$/.exec(after);
  if (match === null) throw new LullError('validation', 'The pagination token is not valid.');
  return [Number(match[1]), Number(match[2])];
}
