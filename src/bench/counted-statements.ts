/** How much a call asks of the store: statements and rows, which no noise of the machine touches. */
import type { StatementRunner } from '../store/sqlite-thread.ts';

/** What was asked so far. */
export interface StatementCount {
  readonly statements: number;
  /** Rows that came back. */
  readonly rows: number;
}

/** Counts what another runner does. */
export class CountedStatements implements StatementRunner {
  readonly #runner: StatementRunner;
  #statements = 0;
  #rows = 0;

  constructor(runner: StatementRunner) {
    this.#runner = runner;
  }

  count(): StatementCount {
    return { statements: this.#statements, rows: this.#rows };
  }

  async run(sql: string, parameters?: readonly unknown[]): ReturnType<StatementRunner['run']> {
    const result = await this.#runner.run(sql, parameters);
    this.#statements += 1;
    this.#rows += result.rows.length;
    return result;
  }

  close(): Promise<void> {
    return this.#runner.close();
  }
}
