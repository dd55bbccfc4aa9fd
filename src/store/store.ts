/** Opens the store: one SQLite file on a thread of its own. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { CamelCasePlugin, Kysely } from 'kysely';
import { LullError } from '../domain/errors.ts';
import type { Store } from '../domain/ports.ts';
import { Files } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import { CommitEffects } from './commit-effects.ts';
import { SqlConnectorRepository } from './connector-repository.ts';
import { SqlImageRepository } from './image-repository.ts';
import { SqlAccessKeyRepository, SqlTokenKeyRepository } from './key-repositories.ts';
import { SqlMicrovmRepository } from './microvm-repository.ts';
import { SqlLogRepository } from './log-repository.ts';
import { migrate } from './migrate.ts';
import { MIGRATIONS } from './migrations.ts';
import { SqlObjectRepository } from './object-repository.ts';
import { SqlRoleRepository } from './role-repository.ts';
import { sqliteThreadDialect } from './sqlite-dialect.ts';
import { SqliteThread, type StatementRunner } from './sqlite-thread.ts';
import type { Tables } from './tables.ts';
import { SqlUploadRepository } from './upload-repository.ts';

const OWNER_ONLY_FILE = 0o600;

/**
 * Opens a store, makes it where there is none, and brings its layout up to date.
 * @param options.path of the file, or `:memory:` for one that is gone when it is closed
 * @throws LullError conflict where the file is no store or a newer Lull wrote it; internal where it cannot be opened
 */
export async function openStore(options: { path: string; files?: Files; log?: Pick<Log, 'info'> }): Promise<Store> {
  const { path, files = new Files(), log } = options;
  if (path !== ':memory:') {
    await prepareFile(path, files).catch((cause: Error) => {
      throw new LullError('internal', `The store at ${path} cannot be used: ${cause.message}`, { cause });
    });
  }
  const statements = new CommitEffects(new SqliteThread(path), files.effects);
  try {
    const { from, to, backupPath } = await migrate(statements, { path, files, migrations: MIGRATIONS });
    if (from !== to) log?.info({ path, from, to, backupPath }, from === 0 ? 'store created' : 'store migrated');
  } catch (error) {
    await statements.close();
    throw error;
  }
  return storeOver(statements);
}

/** The store over a database that is up to date; disposing it closes the database. */
export function storeOver(statements: StatementRunner): Store {
  const db = new Kysely<Tables>({ dialect: sqliteThreadDialect(statements), plugins: [new CamelCasePlugin()] });
  return {
    microvms: new SqlMicrovmRepository(db),
    images: new SqlImageRepository(db),
    connectors: new SqlConnectorRepository(db),
    accessKeys: new SqlAccessKeyRepository(db),
    tokenKeys: new SqlTokenKeyRepository(db),
    objects: new SqlObjectRepository(db),
    roles: new SqlRoleRepository(db),
    uploads: new SqlUploadRepository(db),
    logs: new SqlLogRepository(db),
    async [Symbol.asyncDispose]() {
      await db.destroy();
      await statements.close();
    },
  };
}

/** SQLite gives a new file the umask's mode, and its log files the mode of the file: so the file is made first. */
async function prepareFile(path: string, files: Files): Promise<void> {
  const folder = dirname(path);
  await files.makeFolder(folder);
  // Never opened where it is there: closing any descriptor of it would drop the locks that this process holds on it.
  if (existsSync(path)) return files.chmod(path, OWNER_ONLY_FILE);
  await files.create(path, async () => undefined);
  await files.sync(folder);
}
