/** The main thread's end of the SQLite worker: statements go out, answers come back, the event loop never waits for a disk. */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { LullError } from '../domain/errors.ts';

/** One statement for the worker. */
export interface SqliteRequest {
  readonly id: number;
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** What the worker answers. */
export type SqliteReply =
  | { readonly id: number; readonly rows: readonly unknown[]; readonly changes: number }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: number } };

/** Extended result codes that the repositories tell apart (sqlite.org/rescode.html). */
export const SQLITE_CODES = {
  full: 13,
  notADatabase: 26,
  foreignKey: 787,
  primaryKey: 1555,
  unique: 2067,
} as const;

/** A statement that SQLite refused; `code` is its extended result code. */
export class SqliteError extends Error {
  override readonly name = 'SqliteError';
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

/**
 * The column list of a violated unique constraint (`table.column, …`), or undefined where the error is something else.
 * SQLite tells it in the message only.
 */
export function uniqueViolation(error: unknown): string | undefined {
  if (!(error instanceof SqliteError)) return undefined;
  if (error.code !== SQLITE_CODES.unique && error.code !== SQLITE_CODES.primaryKey) return undefined;
  return error.message.replace(/^UNIQUE constraint failed: /, '');
}

/** Whoever runs statements, one after the other. */
export interface StatementRunner {
  /**
   * Runs one statement.
   * @throws SqliteError where SQLite refuses it; LullError insufficient-capacity on a full disk, internal when the store is closed
   */
  run(sql: string, parameters?: readonly unknown[]): Promise<{ rows: readonly unknown[]; changes: number }>;
  /** Lets the statements under way end, then closes the file. */
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (reply: SqliteReply) => void;
  readonly reject: (error: unknown) => void;
}

/** A database on its own thread. Statements run in the order in which they are given. */
export class SqliteThread implements StatementRunner {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  #gone: LullError | undefined;

  /** @param path of the database file, or `:memory:` */
  constructor(path: string) {
    // The sources run as .ts in a checkout and as .js in the package.
    this.#worker = new Worker(new URL(`./sqlite-worker${extname(import.meta.filename)}`, import.meta.url), {
      workerData: { path },
      name: 'lull-store',
    });
    this.#worker.on('message', (reply: SqliteReply) => this.#settle(reply));
    this.#worker.on('error', (error) => this.#fail(threadFailure(path, error)));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#fail(new LullError('internal', 'The store is closed.'));
        resolve();
      });
    });
    // Only a statement under way keeps the process alive.
    this.#worker.unref();
  }

  async run(sql: string, parameters: readonly unknown[] = []): Promise<{ rows: readonly unknown[]; changes: number }> {
    if (this.#gone !== undefined) throw this.#gone;
    const id = ++this.#lastId;
    const reply = await new Promise<SqliteReply>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, sql, parameters } satisfies SqliteRequest);
    });
    if (!('error' in reply)) return reply;
    const cause = new SqliteError(reply.error.message, reply.error.code);
    if (cause.code === SQLITE_CODES.full) {
      throw new LullError('insufficient-capacity', 'The disk that holds the store is full.', { cause });
    }
    throw cause;
  }

  async close(): Promise<void> {
    this.#worker.ref();
    this.#worker.postMessage('close');
    await this.#exited;
  }

  #settle(reply: SqliteReply): void {
    this.#waiting.get(reply.id)?.resolve(reply);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
  }

  #fail(error: LullError): void {
    this.#gone ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
  }
}

function threadFailure(path: string, cause: unknown): LullError {
  const code = (cause as { errcode?: number }).errcode;
  if (code === SQLITE_CODES.notADatabase) {
    return new LullError('conflict', `${path} is not a Lull store. Move it away, or give another data folder with --data.`, { cause });
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new LullError('internal', `The store at ${path} cannot be used: ${detail}`, { cause });
}
