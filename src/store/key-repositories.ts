/** Access keys of the API and keys of endpoint tokens. The store's file is readable to its owner only. */
import type { Kysely } from 'kysely';
import { LullError } from '../domain/errors.ts';
import type { AccessKey, AccessKeyRepository, TokenKey, TokenKeyRepository } from '../domain/ports.ts';
import { uniqueViolation } from './sqlite-thread.ts';
import type { Tables } from './tables.ts';

/** The access keys of a store. */
export class SqlAccessKeyRepository implements AccessKeyRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert({ accessKeyId, secretAccessKey, createdAtMs }: AccessKey): Promise<void> {
    const insert = this.#db.insertInto('accessKeys').values({ accessKeyId, secretAccessKey, createdAtMs }).execute();
    await insert.catch((error: unknown) => rethrowTaken(error, `The access key ${accessKeyId} exists already.`));
  }

  async get(accessKeyId: string): Promise<AccessKey | undefined> {
    return this.#select().where('accessKeyId', '=', accessKeyId).executeTakeFirst();
  }

  async list(): Promise<readonly AccessKey[]> {
    return this.#select().orderBy('seq', 'desc').execute();
  }

  #select() {
    return this.#db.selectFrom('accessKeys').select(['accessKeyId', 'secretAccessKey', 'createdAtMs']);
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
