/** IAM roles in SQL. */
import { sql, type Insertable, type Kysely } from 'kysely';
import type { Page, PageRequest, RoleRepository } from '../domain/ports.ts';
import type { Role } from '../domain/role.ts';
import { toRole } from './rows.ts';
import type { RoleTable, Tables } from './tables.ts';

/** The roles of a store. The column of the name compares without case. */
export class SqlRoleRepository implements RoleRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(role: Role): Promise<'created' | 'exists'> {
    const { numInsertedOrUpdatedRows } = await this.#db
      .insertInto('roles')
      .values(toRow(role))
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 0n ? 'exists' : 'created';
  }

  async get(roleName: string): Promise<Role | undefined> {
    const row = await this.#db.selectFrom('roles').selectAll().where('roleName', '=', roleName).executeTakeFirst();
    return row === undefined ? undefined : toRole(row);
  }

  async list({ pathPrefix }: { pathPrefix: string }, { limit, after = '' }: PageRequest): Promise<Page<Role>> {
    const rows = await this.#db
      .selectFrom('roles')
      .selectAll()
      .where('roleName', '>', after)
      .where(sql<boolean>`substr(path, 1, length(${pathPrefix})) = ${pathPrefix}`)
      .orderBy('roleName')
      .limit(limit + 1)
      .execute();
    const items = rows.slice(0, limit).map(toRole);
    return { items, next: rows.length > limit ? (items.at(-1)?.roleName ?? null) : null };
  }

  async replace(role: Role): Promise<void> {
    await this.#db.updateTable('roles').set(toRow(role)).where('roleName', '=', role.roleName).execute();
  }

  async remove(roleName: string): Promise<void> {
    await this.#db.deleteFrom('roles').where('roleName', '=', roleName).execute();
  }
}

function toRow(role: Role): Insertable<RoleTable> {
  return {
    roleName: role.roleName,
    roleId: role.roleId,
    path: role.path,
    description: role.description,
    maxSessionSeconds: role.maxSessionSeconds,
    createdAtMs: role.createdAtMs,
    trustPolicy: role.trustPolicy,
    inlinePolicies: JSON.stringify(role.inlinePolicies),
    attachedPolicies: JSON.stringify(role.attachedPolicies),
    tags: JSON.stringify(role.tags),
  };
}
