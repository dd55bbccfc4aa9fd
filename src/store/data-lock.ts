/**
 * One server a data folder. The lock is SQLite's own exclusive one on an empty file: a POSIX record lock, which the kernel
 * drops when the process ends in whatever way, so that it is never stale. Node has no flock of its own.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LullError } from '../domain/errors.ts';

const SQLITE_BUSY = 5;
/** The low byte of an extended result code is its primary code. */
const PRIMARY_CODE = 0xff;

/**
 * Takes a data folder for this process until the lock is disposed of or the process ends. Hold on to it: one that
 * nothing refers to is collected, and lets go.
 * @param folder is made (0700) where it does not exist
 * @throws LullError conflict where another server has it, internal where it cannot be used at all
 */
export function lockDataFolder(folder: string): Disposable {
  const pidPath = join(folder, 'server.pid');
  const database = takeLock(folder, pidPath);
  // Only for the message of the next one; the lock does not rest on it.
  writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 });
  return {
    [Symbol.dispose]() {
      if (database.isOpen) database.close();
    },
  };
}

function takeLock(folder: string, pidPath: string): DatabaseSync {
  const lockPath = join(folder, 'server.lock');
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Made only where it is missing: closing a descriptor of it would drop a lock that this very process holds.
    if (!existsSync(lockPath)) writeFileSync(lockPath, '', { flag: 'a', mode: 0o600 });
    database = new DatabaseSync(lockPath, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (cause) {
    database?.close();
    const { errcode = 0, message } = cause as Error & { errcode?: number };
    if ((errcode & PRIMARY_CODE) !== SQLITE_BUSY) {
      throw new LullError('internal', `The data folder ${folder} cannot be locked: ${message}`, { cause });
    }
    throw new LullError(
      'conflict',
      `The data folder ${folder} is in use by another Lull server (pid ${readPid(pidPath) ?? 'unknown'}). ` +
        'Stop it first, or give another folder with --data.',
      { cause },
    );
  }
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return Number.isSafeInteger(pid) ? pid : undefined;
  } catch {
    return undefined;
  }
}
