/** Access keys of the API and keys of endpoint tokens. The store's file is readable to its owner only. */
import type { Kysely } from 'kysely';
import { LullError } from '../domain/errors.ts';
import type { AccessKey, AccessKeyRepository, TokenKey, TokenKeyRepository } from '../domain/ports.ts';
import { jsonOrNull, toAccessKey } from './rows.ts';
import { uniqueViolation } from './sqlite-thread.ts';
import type { Tables } from './tables.ts';

/** The access keys of a store. */
export class SqlAccessKeyRepository implements AccessKeyRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert({ session, ...key }: AccessKey): Promise<void> {
    const row = {
      ...key,
      session: jsonOrNull(session),
      sessionMicrovmId: session?.microvmId ?? null,
      sessionExpiresAtMs: session?.expiresAtMs ?? null,
    };
    const insert = this.#db.insertInto('accessKeys').values(row).execute();
    await insert.catch((error: unknown) => rethrowTaken(error, `The access key ${key.accessKeyId} exists already.`));
  }

  async get(accessKeyId: string): Promise<AccessKey | undefined> {
    const row = await this.#db.selectFrom('accessKeys').selectAll().where('accessKeyId', '=', accessKeyId).executeTakeFirst();
    return row === undefined ? undefined : toAccessKey(row);
  }

  async list(): Promise<readonly AccessKey[]> {
    const rows = await this.#db.selectFrom('accessKeys').selectAll().where('session', 'is', null).orderBy('seq', 'desc').execute();
    return rows.map(toAccessKey);
  }

  async newestOf(microvmId: string): Promise<AccessKey | undefined> {
    const ofMicrovm = this.#db.selectFrom('accessKeys').selectAll().where('sessionMicrovmId', '=', microvmId);
    const row = await ofMicrovm.orderBy('seq', 'desc').limit(1).executeTakeFirst();
    return row === undefined ? undefined : toAccessKey(row);
  }

  async revoke(accessKeyId: string): Promise<boolean> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('accessKeys')
      .where('accessKeyId', '=', accessKeyId)
      .where('session', 'is', null)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async revokeOf(microvmId: string): Promise<void> {
    await this.#db.deleteFrom('accessKeys').where('sessionMicrovmId', '=', microvmId).execute();
  }

  async removeExpired(nowMs: number): Promise<void> {
    await this.#db.deleteFrom('accessKeys').where('sessionExpiresAtMs', '<=', nowMs).execute();
  }
}

/** The token keys of a store. */
export class SqlTokenKeyRepository implements TokenKeyRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert({ kid, key, createdAtMs }: TokenKey): Promise<void> {
    const insert = this.#db.insertInto('tokenKeys').values({ kid, key, createdAtMs }).execute();
    await insert.catch((error: unknown) => rethrowTaken(error, `The token key ${kid} exists already.`));
  }

  async list(): Promise<readonly TokenKey[]> {
    const rows = await this.#db.selectFrom('tokenKeys').select(['kid', 'key', 'createdAtMs']).orderBy('seq', 'desc').execute();
    return rows.map(({ kid, key, createdAtMs }) => ({ kid, key: Buffer.from(key), createdAtMs }));
  }
}

function rethrowTaken(error: unknown, message: string): never {
  if (uniqueViolation(error) !== undefined) throw new LullError('conflict', message, { cause: error });
  throw error;
}
