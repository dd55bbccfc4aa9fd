/** Brings a store's layout to what this code knows: forward only, one transaction a step, a backup before the first. */
import { dirname } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { Files } from '../lib/files.ts';
import type { Migration } from './migrations.ts';
import type { StatementRunner } from './sqlite-thread.ts';

/** What {@link migrate} did. */
export interface MigrationReport {
  readonly from: number;
  readonly to: number;
  /** The copy that was made first; null where there was nothing worth a copy. */
  readonly backupPath: string | null;
}

/** A store that may have to be migrated. */
export interface MigrationJob {
  readonly path: string;
  readonly files?: Files;
  /** Oldest first. */
  readonly migrations: readonly Migration[];
}

/**
 * Runs the migrations that the store at `path` has not seen. A crash leaves it at the last complete step.
 * @throws LullError conflict where the store is newer than `migrations`
 */
export async function migrate(statements: StatementRunner, { path, files = new Files(), migrations }: MigrationJob): Promise<MigrationReport> {
  const from = await layoutVersion(statements);
  const newest = migrations.at(-1)?.version ?? 0;
  if (from > newest) {
    throw new LullError(
      'conflict',
      `The store at ${path} was written by a newer Lull (layout ${from}, this one knows ${newest}). ` +
        `Start that version again, or put back the copy it made (${backupPathOf(path, newest)}).`,
    );
  }
  const pending = migrations.filter(({ version }) => version > from);
  const worthACopy = from > 0 && pending.length > 0 && path !== ':memory:';
  const backupPath = worthACopy ? await backUp(statements, files, backupPathOf(path, from)) : null;
  for (const migration of pending) await runMigration(statements, migration);
  return { from, to: newest, backupPath };
}

/** Where the copy of a store is kept that was at layout `version`. */
export const backupPathOf = (path: string, version: number) => `${path}.layout-${version}.backup`;

async function layoutVersion(statements: StatementRunner): Promise<number> {
  const { rows } = await statements.run('PRAGMA user_version');
  return (rows[0] as { user_version: number }).user_version;
}

async function runMigration(statements: StatementRunner, migration: Migration): Promise<void> {
  await statements.run('begin immediate');
  try {
    for (const statement of migration.statements) await statements.run(statement);
    // A PRAGMA takes no parameters; the number is ours. It is part of the transaction.
    await statements.run(`PRAGMA user_version = ${migration.version}`);
    await statements.run('commit');
  } catch (cause) {
    await statements.run('rollback');
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new LullError('internal', `The store could not be brought to layout ${migration.version} (${migration.name}): ${detail}`, { cause });
  }
}

async function backUp(statements: StatementRunner, files: Files, target: string): Promise<string> {
  const partial = `${target}.partial`;
  await files.remove(partial);
  // SQLite accepts an empty file, and so the copy, which holds keys, is never readable to others.
  await files.create(partial, () => statements.run('VACUUM INTO ?', [partial]));
  await files.sync(partial);
  await files.rename(partial, target);
  await files.sync(dirname(target));
  return target;
}
