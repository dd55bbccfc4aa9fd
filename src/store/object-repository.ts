/** What the object store keeps about its buckets and objects; the bytes are files (`blobs.ts`). */
import type { Kysely } from 'kysely';
import { LullError } from '../domain/errors.ts';
import type { ObjectRepository, StoredObject } from '../domain/ports.ts';
import { toStoredObject } from './rows.ts';
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
      .values({ bucket, createdAtMs })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 0n ? 'exists' : 'created';
  }

  async hasBucket(bucket: string): Promise<boolean> {
    return (await this.#db.selectFrom('buckets').select('bucket').where('bucket', '=', bucket).executeTakeFirst()) !== undefined;
  }

  async listBuckets(): Promise<readonly { bucket: string; createdAtMs: number }[]> {
    return this.#db.selectFrom('buckets').selectAll().orderBy('bucket').execute();
  }

  async deleteBucket(bucket: string): Promise<boolean> {
    return this.#db
      .deleteFrom('buckets')
      .where('bucket', '=', bucket)
      .execute()
      .then(
        () => true,
        (error: unknown) => {
          if (isForeignKeyViolation(error)) return false;
          throw error;
        },
      );
  }

  async put(object: StoredObject): Promise<string | undefined> {
    const row = { ...object, metadata: JSON.stringify(object.metadata), checksums: JSON.stringify(object.checksums) };
    try {
      return await this.#db.transaction().execute(async (tx) => {
        const before = await tx
          .selectFrom('objects')
          .select('blobId')
          .where('bucket', '=', object.bucket)
          .where('key', '=', object.key)
          .executeTakeFirst();
        const { bucket: _bucket, key: _key, ...replaced } = row;
        await tx
          .insertInto('objects')
          .values(row)
          .onConflict((conflict) => conflict.columns(['bucket', 'key']).doUpdateSet(replaced))
          .execute();
        return before?.blobId;
      });
    } catch (error) {
      // The bucket went between the caller's check and here.
      if (isForeignKeyViolation(error)) throw new LullError('not-found', 'The specified bucket does not exist', { cause: error });
      throw error;
    }
  }

  async get(bucket: string, key: string): Promise<StoredObject | undefined> {
    const row = await this.#db.selectFrom('objects').selectAll().where('bucket', '=', bucket).where('key', '=', key).executeTakeFirst();
    return row === undefined ? undefined : toStoredObject(row);
  }

  async delete(bucket: string, key: string): Promise<string | undefined> {
    const row = await this.#db
      .deleteFrom('objects')
      .where('bucket', '=', bucket)
      .where('key', '=', key)
      .returning('blobId')
      .executeTakeFirst();
    return row?.blobId;
  }

  async list(bucket: string, { prefix, after, limit }: { prefix: string; after: string; limit: number }): Promise<readonly StoredObject[]> {
    // SQLite compares text as UTF-8 bytes, which is the order asked for.
    let query = this.#db.selectFrom('objects').selectAll().where('bucket', '=', bucket);
    query = isBefore(after, prefix) ? query.where('key', '>=', prefix) : query.where('key', '>', after);
    const end = prefixEnd(prefix);
    if (end !== undefined) query = query.where('key', '<', end);
    const rows = await query.orderBy('key').limit(limit).execute();
    return rows.map(toStoredObject);
  }

  async blobIds(): Promise<readonly string[]> {
    const rows = await this.#db.selectFrom('objects').select('blobId').orderBy('blobId').execute();
    return rows.map(({ blobId }) => blobId);
  }
}

const isForeignKeyViolation = (error: unknown) => error instanceof SqliteError && error.code === SQLITE_CODES.foreignKey;

const isBefore = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;

const LAST_CODE_POINT = 0x10ffff;

/** The first text, in code point order, after all that start with `prefix`; undefined where nothing can come after. */
function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === LAST_CODE_POINT) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // Surrogates (U+D800 to U+DFFF) are no characters of their own.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
