/** Network connectors in SQL, and who uses them. */
import { sql, type Insertable, type Kysely, type Transaction } from 'kysely';
import { MICROVM_STATES } from '../domain/microvm.ts';
import { customerConnectorOf, type ConnectorState, type NetworkConnector } from '../domain/network-connector.ts';
import type { ConnectorRepository, Page, PageRequest, Tags } from '../domain/ports.ts';
import { clientTokenReused, connectorInUse, connectorNameTaken, connectorNotFound } from '../domain/refusals.ts';
import { pageOf, positionBefore } from './page.ts';
import { jsonOrNull, toConnector } from './rows.ts';
import { uniqueViolation } from './sqlite-thread.ts';
import type { ConnectorTable, Tables } from './tables.ts';

const NEEDS_CONNECTOR = MICROVM_STATES.filter((state) => state !== 'TERMINATED');

/** The connectors of a store. */
export class SqlConnectorRepository implements ConnectorRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(connector: NetworkConnector): Promise<void> {
    try {
      await this.#db.insertInto('connectors').values(toRow(connector)).execute();
    } catch (error) {
      const columns = uniqueViolation(error);
      if (columns === 'connectors.name') throw connectorNameTaken(connector.name);
      if (columns === 'connectors.client_token') throw clientTokenReused(connector.request.clientToken);
      throw error;
    }
  }

  async find(idOrName: string): Promise<NetworkConnector | undefined> {
    return (await this.#by('connectorId', idOrName)) ?? this.#by('name', idOrName);
  }

  async byClientToken(clientToken: string): Promise<NetworkConnector | undefined> {
    return this.#by('clientToken', clientToken);
  }

  async list({ state }: { state?: ConnectorState | undefined }, page: PageRequest): Promise<Page<NetworkConnector>> {
    let query = this.#db.selectFrom('connectors').selectAll().where('seq', '<', positionBefore(page));
    if (state !== undefined) query = query.where('state', '=', state);
    const rows = await query
      .orderBy('seq', 'desc')
      .limit(page.limit + 1)
      .execute();
    return pageOf(rows, page, toConnector);
  }

  async change(connectorId: string, change: (before: NetworkConnector) => NetworkConnector): Promise<NetworkConnector> {
    return this.#db.transaction().execute(async (tx) => {
      const row = await tx.selectFrom('connectors').selectAll().where('connectorId', '=', connectorId).executeTakeFirst();
      if (row === undefined) throw connectorNotFound(connectorId);
      const before = toConnector(row);
      const after = change(before);
      if (after === before) return before;
      await requireNoMicrovm(tx, before.arn);
      await tx.updateTable('connectors').set(toRow(after)).where('seq', '=', row.seq).execute();
      return after;
    });
  }

  async remove(connectorId: string): Promise<void> {
    await this.#db.transaction().execute(async (tx) => {
      const row = await tx.selectFrom('connectors').select('arn').where('connectorId', '=', connectorId).executeTakeFirst();
      if (row === undefined) throw connectorNotFound(connectorId);
      await requireNoMicrovm(tx, row.arn);
      const image = await tx
        .selectFrom('imageVersions')
        .select(['imageName', 'version'])
        .where(sql<string>`json_extract(config, '$.egressConnectors[0]')`, '=', row.arn)
        .limit(1)
        .executeTakeFirst();
      if (image !== undefined) throw connectorInUse(row.arn, `version ${image.version} of the MicroVM image ${image.imageName}`);
      await tx.deleteFrom('connectors').where('connectorId', '=', connectorId).execute();
    });
  }

  async changeTags(connectorId: string, change: (tags: Tags) => Tags): Promise<Tags | undefined> {
    return this.#db.transaction().execute(async (tx) => {
      const row = await tx.selectFrom('connectors').selectAll().where('connectorId', '=', connectorId).executeTakeFirst();
      if (row === undefined) return undefined;
      const tags = change(toConnector(row).tags);
      await tx.updateTable('connectors').set({ tags: JSON.stringify(tags) }).where('seq', '=', row.seq).execute();
      return tags;
    });
  }

  async #by(column: 'connectorId' | 'name' | 'clientToken', value: string): Promise<NetworkConnector | undefined> {
    const row = await this.#db.selectFrom('connectors').selectAll().where(column, '=', value).executeTakeFirst();
    return row === undefined ? undefined : toConnector(row);
  }
}

/**
 * For whoever writes down that it uses these connectors, in the same transaction.
 * @throws LullError not-found where one is a customer's and is not there
 */
export async function requireConnectors(tx: Transaction<Tables>, arns: readonly string[]): Promise<void> {
  for (const arn of arns) {
    const connectorId = customerConnectorOf(arn);
    if (connectorId === undefined) continue;
    const row = await tx.selectFrom('connectors').select('arn').where('connectorId', '=', connectorId).executeTakeFirst();
    if (row?.arn !== arn) throw connectorNotFound(arn);
  }
}

/** There are never more of these microVMs than the host's memory holds, so their lists are looked through. */
async function requireNoMicrovm(tx: Transaction<Tables>, arn: string): Promise<void> {
  const user = await tx
    .selectFrom('microvms')
    .select('microvmId')
    .where('state', 'in', NEEDS_CONNECTOR)
    .where(sql<boolean>`instr(egress_connectors, ${JSON.stringify(arn)}) > 0`)
    .limit(1)
    .executeTakeFirst();
  if (user !== undefined) throw connectorInUse(arn, `the MicroVM ${user.microvmId}`);
}

function toRow({ request, ...connector }: NetworkConnector): Insertable<ConnectorTable> {
  return {
    ...connector,
    configuration: JSON.stringify(connector.configuration),
    lastUpdate: jsonOrNull(connector.lastUpdate),
    tags: JSON.stringify(connector.tags),
    clientToken: request.clientToken,
    requestFingerprint: request.fingerprint,
  };
}
