/** Buckets and objects in SQL. Keys are data: S3 lists them in UTF-8 order, which is how SQLite compares text. */
import type { Kysely, NotNull, Transaction } from 'kysely';
import type { Bucket, ListedObject, ObjectRepository, StoredObject, WriteCondition, WriteOutcome } from '../domain/object-store.ts';
import { keyRange } from './key-range.ts';
import { LISTED_COLUMNS, fromObject, toListedObject, toStoredObject } from './object-rows.ts';
import { SQLITE_CODES, SqliteError } from './sqlite-thread.ts';
import type { Tables } from './tables.ts';

/** The buckets and objects of a store. */
export class SqlObjectRepository implements ObjectRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async createBucket(bucket: string, createdAtMs: number): Promise<'created' | 'exists'> {
    const { numInsertedOrUpdatedRows } = await this.#db
      .insertInto('buckets')
      .values({ bucket, createdAtMs, publicAccessBlock: null })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 0n ? 'exists' : 'created';
  }

  async hasBucket(bucket: string): Promise<boolean> {
    return (await this.#db.selectFrom('buckets').select('bucket').where('bucket', '=', bucket).executeTakeFirst()) !== undefined;
  }

  async listBuckets({ prefix, after, limit }: { prefix: string; after: string; limit: number }): Promise<readonly Bucket[]> {
    const { from, inclusive, end } = keyRange(prefix, after);
    let query = this.#db.selectFrom('buckets').select(['bucket', 'createdAtMs']).where('bucket', inclusive ? '>=' : '>', from);
    if (end !== undefined) query = query.where('bucket', '<', end);
    return query.orderBy('bucket').limit(limit).execute();
  }

  async deleteBucket(bucket: string): Promise<readonly string[] | undefined> {
    try {
      return await this.#db.transaction().execute(async (tx) => {
        const parts = await tx
          .selectFrom('uploads')
          .innerJoin('parts', 'parts.uploadId', 'uploads.uploadId')
          .select('parts.blobId')
          .where('uploads.bucket', '=', bucket)
          .execute();
        await tx.deleteFrom('buckets').where('bucket', '=', bucket).execute();
        return parts.map(({ blobId }) => blobId);
      });
    } catch (error) {
      if (isForeignKeyViolation(error)) return undefined;
      throw error;
    }
  }

  async publicAccessBlock(bucket: string): Promise<string | null> {
    const row = await this.#db.selectFrom('buckets').select('publicAccessBlock').where('bucket', '=', bucket).executeTakeFirst();
    return row?.publicAccessBlock ?? null;
  }

  async keepPublicAccessBlock(bucket: string, block: string | null): Promise<void> {
    await this.#db.updateTable('buckets').set({ publicAccessBlock: block }).where('bucket', '=', bucket).execute();
  }

  async put(object: StoredObject, condition?: WriteCondition): Promise<WriteOutcome> {
    return this.#db.transaction().execute((tx) => putObject(tx, object, condition));
  }

  async get(bucket: string, key: string): Promise<StoredObject | undefined> {
    const row = await this.#db.selectFrom('objects').selectAll().where('bucket', '=', bucket).where('key', '=', key).executeTakeFirst();
    return row === undefined ? undefined : toStoredObject(row);
  }

  async delete(bucket: string, keys: readonly string[]): Promise<readonly string[]> {
    if (keys.length === 0) return [];
    const rows = await this.#db.deleteFrom('objects').where('bucket', '=', bucket).where('key', 'in', keys).returning('blobId').execute();
    return rows.map(({ blobId }) => blobId);
  }

  async list(bucket: string, { prefix, after, limit }: { prefix: string; after: string; limit: number }): Promise<readonly ListedObject[]> {
    const { from, inclusive, end } = keyRange(prefix, after);
    let query = this.#db
      .selectFrom('objects')
      .select(LISTED_COLUMNS)
      .where('bucket', '=', bucket)
      .where('key', inclusive ? '>=' : '>', from);
    if (end !== undefined) query = query.where('key', '<', end);
    const rows = await query.orderBy('key').limit(limit).execute();
    return rows.map(toListedObject);
  }

  async blobIds(): Promise<readonly string[]> {
    const objects = await this.#db.selectFrom('objects').select('blobId').orderBy('blobId').execute();
    const parts = await this.#db.selectFrom('parts').select('blobId').orderBy('blobId').execute();
    const artifacts = await this.#db
      .selectFrom('imageVersions')
      .select('artifactBlobId')
      .$narrowType<{ artifactBlobId: NotNull }>()
      .where('artifactBlobId', 'is not', null)
      .orderBy('artifactBlobId')
      .execute();
    return [...[...objects, ...parts].map(({ blobId }) => blobId), ...artifacts.map(({ artifactBlobId }) => artifactBlobId)];
  }
}

/** Puts an object as one step of a transaction; where it refuses, nothing was written. */
export async function putObject(tx: Transaction<Tables>, object: StoredObject, condition?: WriteCondition): Promise<WriteOutcome> {
  const { bucket, key, ...replaced } = fromObject(object);
  const before = await tx
    .selectFrom('objects')
    .select(['blobId', 'etag'])
    .where('bucket', '=', bucket)
    .where('key', '=', key)
    .executeTakeFirst();
  // The bucket may have gone since the caller looked.
  const home = await tx.selectFrom('buckets').select('bucket').where('bucket', '=', bucket).executeTakeFirst();
  if (home === undefined) return { outcome: 'no-bucket' };
  if (condition === 'absent' && before !== undefined) return { outcome: 'precondition-failed' };
  if (typeof condition === 'object') {
    if (before === undefined) return { outcome: 'no-key' };
    if (before.etag !== condition.etag) return { outcome: 'precondition-failed' };
  }
  await tx
    .insertInto('objects')
    .values({ bucket, key, ...replaced })
    .onConflict((conflict) => conflict.columns(['bucket', 'key']).doUpdateSet(replaced))
    .execute();
  return { outcome: 'stored', freed: before === undefined ? [] : [before.blobId] };
}

/** True where a row refers to what is not there, or is referred to. */
export const isForeignKeyViolation = (error: unknown) => error instanceof SqliteError && error.code === SQLITE_CODES.foreignKey;
