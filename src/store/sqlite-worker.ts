/**
 * The thread that SQLite runs on: one database, one message a statement, answered in order. It parses nothing it is sent,
 * for its only peer is {@link SqliteThread} in the same process.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { SqliteReply, SqliteRequest } from './sqlite-thread.ts';

/** The house has fewer than a hundred different statements; the bound is for texts that vary with the length of a list. */
const STATEMENT_CACHE_LIMIT = 256;
/** How long another process (a backup tool) may hold the file before a statement fails. */
const BUSY_TIMEOUT_MS = 5_000;

const port = parentPort;
if (port === null) throw new Error('sqlite-worker runs as a worker thread only');

const database = new DatabaseSync((workerData as { path: string }).path, { timeout: BUSY_TIMEOUT_MS });
// FULL makes every commit wait for the disk: what was acknowledged survives a power cut.
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF');

const statements = new Map<string, StatementSync>();

function prepared(sql: string): StatementSync {
  const statement = statements.get(sql) ?? database.prepare(sql);
  // Moved to the end, so that the first key is always the one unused for longest.
  statements.delete(sql);
  statements.set(sql, statement);
  const oldest = statements.keys().next();
  if (statements.size > STATEMENT_CACHE_LIMIT && !oldest.done) statements.delete(oldest.value);
  return statement;
}

function execute({ id, sql, parameters }: SqliteRequest): SqliteReply {
  // After a full disk SQLite may have rolled back by itself; a second rollback would hide the true error.
  if (sql === 'rollback' && !database.isTransaction) return { id, rows: [], changes: 0 };
  const statement = prepared(sql);
  const values = parameters as SQLInputValue[];
  if (statement.columns().length > 0) return { id, rows: statement.all(...values), changes: 0 };
  return { id, rows: [], changes: Number(statement.run(...values).changes) };
}

function failure(id: number, error: unknown): SqliteReply {
  const { message, errcode } = error as { message?: string; errcode?: number };
  return { id, error: { message: message ?? String(error), code: errcode ?? 0 } };
}

port.on('message', (request: SqliteRequest | 'close') => {
  if (request === 'close') {
    statements.clear();
    database.close();
    port.close();
    return;
  }
  let reply: SqliteReply;
  try {
    reply = execute(request);
  } catch (error) {
    reply = failure(request.id, error);
  }
  port.postMessage(reply);
});
