/** Statements of which each commit is an effect, named by what it writes. */
import { effect, type Effects } from '../lib/effects.ts';
import type { StatementRunner } from './sqlite-thread.ts';

const WRITES = /^\s*(insert into|update|delete from|create \w+|alter table|drop \w+)\s+(?:if (?:not )?exists )?"?(\w+)/i;
/** Reads, and what only opens or ends a transaction. */
const LEAVES_NO_MARK = /^\s*(select|with|pragma (?!user_version =)|begin|rollback|vacuum)/i;
/** Words in parameters that tell one commit from another: states. */
const STATE = /^[A-Z][A-Z_]+$/;

/** See the file's head. Statements come one transaction after the other, as Kysely gives them. */
export class CommitEffects implements StatementRunner {
  readonly #statements: StatementRunner;
  readonly #effects: Effects;
  /** What the open transaction writes; undefined outside of one. */
  #written: string[] | undefined;

  constructor(statements: StatementRunner, effects: Effects) {
    this.#statements = statements;
    this.#effects = effects;
  }

  async run(sql: string, parameters: readonly unknown[] = []): Promise<{ rows: readonly unknown[]; changes: number }> {
    const act = () => this.#statements.run(sql, parameters);
    if (/^begin/i.test(sql)) this.#written = [];
    if (sql === 'rollback') this.#written = undefined;
    if (sql === 'commit') {
      const written = this.#written ?? [];
      this.#written = undefined;
      return written.length === 0 ? act() : effect(this.#effects, { kind: 'commit', subject: written.join(', ') }, act);
    }
    if (LEAVES_NO_MARK.test(sql)) return act();
    const subject = nameOf(sql, parameters);
    if (this.#written === undefined) return effect(this.#effects, { kind: 'commit', subject }, act);
    if (!this.#written.includes(subject)) this.#written.push(subject);
    return act();
  }

  close(): Promise<void> {
    return this.#statements.close();
  }
}

/** `update microvms SUSPENDING`. */
function nameOf(sql: string, parameters: readonly unknown[]): string {
  const [, verb, table] = WRITES.exec(sql) ?? [undefined, sql.trim().split(/\s+/).slice(0, 2).join(' '), ''];
  const states = parameters.filter((value): value is string => typeof value === 'string' && STATE.test(value));
  return [verb.toLowerCase(), table, ...new Set(states)].filter((word) => word !== '').join(' ');
}
