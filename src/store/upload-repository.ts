/** Multipart uploads and their parts in SQL. An upload that ends takes its parts with it. */
import { type Kysely, type Transaction, sql } from 'kysely';
import type { MultipartUpload, StoredObject, UploadPosition, UploadRepository, UploadedPart, WriteCondition, WriteOutcome } from '../domain/object-store.ts';
import { keyRange } from './key-range.ts';
import { isForeignKeyViolation, putObject } from './object-repository.ts';
import { fromPart, fromUpload, toPart, toUpload } from './object-rows.ts';
import type { Tables } from './tables.ts';

/** The unfinished uploads of a store. */
export class SqlUploadRepository implements UploadRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async create(upload: MultipartUpload, maxOfBucket: number): Promise<'created' | 'no-bucket' | 'too-many'> {
    try {
      return await this.#db.transaction().execute(async (tx) => {
        const { count } = await tx
          .selectFrom('uploads')
          .select((row) => row.fn.countAll<number>().as('count'))
          .where('bucket', '=', upload.bucket)
          .executeTakeFirstOrThrow();
        if (count >= maxOfBucket) return 'too-many';
        await tx.insertInto('uploads').values(fromUpload(upload)).execute();
        return 'created';
      });
    } catch (error) {
      if (isForeignKeyViolation(error)) return 'no-bucket';
      throw error;
    }
  }

  async get(bucket: string, key: string, uploadId: string): Promise<MultipartUpload | undefined> {
    const row = await this.#db
      .selectFrom('uploads')
      .selectAll()
      .where('bucket', '=', bucket)
      .where('key', '=', key)
      .where('uploadId', '=', uploadId)
      .executeTakeFirst();
    return row === undefined ? undefined : toUpload(row);
  }

  async putPart(uploadId: string, part: UploadedPart): Promise<WriteOutcome> {
    const { uploadId: _uploadId, partNumber: _partNumber, ...replaced } = fromPart(uploadId, part);
    try {
      return await this.#db.transaction().execute(async (tx) => {
        const before = await tx
          .selectFrom('parts')
          .select('blobId')
          .where('uploadId', '=', uploadId)
          .where('partNumber', '=', part.partNumber)
          .executeTakeFirst();
        await tx
          .insertInto('parts')
          .values(fromPart(uploadId, part))
          .onConflict((conflict) => conflict.columns(['uploadId', 'partNumber']).doUpdateSet(replaced))
          .execute();
        return { outcome: 'stored', freed: before === undefined ? [] : [before.blobId] };
      });
    } catch (error) {
      if (isForeignKeyViolation(error)) return { outcome: 'no-upload' };
      throw error;
    }
  }

  async parts(uploadId: string, { after, limit }: { after: number; limit: number }): Promise<readonly UploadedPart[]> {
    const rows = await this.#db
      .selectFrom('parts')
      .selectAll()
      .where('uploadId', '=', uploadId)
      .where('partNumber', '>', after)
      .orderBy('partNumber')
      .limit(limit)
      .execute();
    return rows.map(toPart);
  }

  async list(bucket: string, options: { prefix: string; after: UploadPosition; limit: number }): Promise<readonly MultipartUpload[]> {
    const { prefix, after, limit } = options;
    const { from, inclusive, end } = keyRange(prefix, after.key);
    let query = this.#db.selectFrom('uploads').selectAll().where('bucket', '=', bucket);
    query = inclusive
      ? query.where('key', '>=', from)
      : query.where(sql<boolean>`(${sql.ref('key')}, ${sql.ref('uploadId')}) > (${from}, ${after.uploadId})`);
    if (end !== undefined) query = query.where('key', '<', end);
    const rows = await query.orderBy('key').orderBy('uploadId').limit(limit).execute();
    return rows.map(toUpload);
  }

  async complete(object: StoredObject, condition?: WriteCondition): Promise<WriteOutcome> {
    const { bucket, key, multipart } = object;
    return this.#db.transaction().execute(async (tx) => {
      const upload = { bucket, key, uploadId: multipart?.uploadId ?? '' };
      const parts = await partBlobs(tx, upload);
      if (parts === undefined) return { outcome: 'no-upload' };
      const written = await putObject(tx, object, condition);
      if (written.outcome !== 'stored') return written;
      await tx.deleteFrom('uploads').where('uploadId', '=', upload.uploadId).execute();
      return { outcome: 'stored', freed: [...written.freed, ...parts] };
    });
  }

  async abort(bucket: string, key: string, uploadId: string): Promise<readonly string[] | undefined> {
    return this.#db.transaction().execute(async (tx) => {
      const parts = await partBlobs(tx, { bucket, key, uploadId });
      if (parts !== undefined) await tx.deleteFrom('uploads').where('uploadId', '=', uploadId).execute();
      return parts;
    });
  }

  async forgetBefore(startedBeforeMs: number): Promise<void> {
    await this.#db.deleteFrom('uploads').where('startedAtMs', '<', startedBeforeMs).execute();
  }
}

/** Undefined where there is no such upload. */
async function partBlobs(tx: Transaction<Tables>, upload: { bucket: string; key: string; uploadId: string }): Promise<string[] | undefined> {
  const { bucket, key, uploadId } = upload;
  const found = await tx
    .selectFrom('uploads')
    .select('uploadId')
    .where('bucket', '=', bucket)
    .where('key', '=', key)
    .where('uploadId', '=', uploadId)
    .executeTakeFirst();
  if (found === undefined) return undefined;
  const rows = await tx.selectFrom('parts').select('blobId').where('uploadId', '=', uploadId).orderBy('partNumber').execute();
  return rows.map(({ blobId }) => blobId);
}
