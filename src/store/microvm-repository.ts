/** MicroVMs in SQL. The table of states is checked inside the transaction that changes the row. */
import type { Insertable, Kysely, Transaction, Updateable } from 'kysely';
import { LullError } from '../domain/errors.ts';
import { microvmStream } from '../domain/log-stream.ts';
import { MICROVM_STATE_RULES, MICROVM_STATES, nextState, type Microvm, type MicrovmEvent, type MicrovmState } from '../domain/microvm.ts';
import type { MicrovmPatch, MicrovmRepository, Page, PageRequest } from '../domain/ports.ts';
import { clientTokenReused, microvmNotFound, noActiveVersion } from '../domain/refusals.ts';
import { requireConnectors } from './connector-repository.ts';
import { insertLogStream } from './log-repository.ts';
import { pageOf, positionBefore } from './page.ts';
import { jsonOrNull, toMicrovm } from './rows.ts';
import { uniqueViolation } from './sqlite-thread.ts';
import type { MicrovmTable, Tables } from './tables.ts';

const MEMORY_COUNTS = MICROVM_STATES.filter((state) => MICROVM_STATE_RULES[state].countsMemory);

type LivingState = Exclude<MicrovmState, 'TERMINATED'>;
const LIVING_STATES = MICROVM_STATES.filter((state) => state !== 'TERMINATED');

/** The microVMs of a store. */
export class SqlMicrovmRepository implements MicrovmRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(microvm: Microvm): Promise<void> {
    try {
      await this.#db.transaction().execute(async (tx) => {
        await requireConnectors(tx, microvm.egressConnectors);
        await requireLaunchable(tx, microvm);
        await tx.insertInto('microvms').values(toRow(microvm)).execute();
        await insertLogStream(tx, microvmStream(microvm));
      });
    } catch (error) {
      const columns = uniqueViolation(error);
      if (columns === 'microvms.client_token' && microvm.clientToken !== null) throw clientTokenReused(microvm.clientToken);
      if (columns !== undefined) throw new LullError('conflict', `The MicroVM ${microvm.microvmId} exists already.`, { cause: error });
      throw error;
    }
  }

  async get(microvmId: string): Promise<Microvm | undefined> {
    return this.#one('microvmId', microvmId);
  }

  async byEndpoint(endpointId: string): Promise<Microvm | undefined> {
    return this.#one('endpointId', endpointId);
  }

  async byClientToken(clientToken: string): Promise<Microvm | undefined> {
    return this.#one('clientToken', clientToken);
  }

  async list(filter: { imageArn?: string | undefined; imageVersion?: string | undefined }, page: PageRequest): Promise<Page<Microvm>> {
    let query = this.#db.selectFrom('microvms').selectAll().where('seq', '<', positionBefore(page));
    if (filter.imageArn !== undefined) query = query.where('imageArn', '=', filter.imageArn);
    if (filter.imageVersion !== undefined) query = query.where('imageVersion', '=', filter.imageVersion);
    const rows = await query
      .orderBy('seq', 'desc')
      .limit(page.limit + 1)
      .execute();
    return pageOf(rows, page, toMicrovm);
  }

  async inStates(states: readonly MicrovmState[]): Promise<readonly Microvm[]> {
    if (states.length === 0) return [];
    const rows = await this.#db.selectFrom('microvms').selectAll().where('state', 'in', states).execute();
    return rows.map(toMicrovm);
  }

  async countByState(): Promise<Record<LivingState, number>> {
    const rows = await this.#db
      .selectFrom('microvms')
      .select(({ fn }) => ['state', fn.countAll<number>().as('count')])
      .where('state', 'in', LIVING_STATES)
      .groupBy('state')
      .execute();
    const counts = new Map(rows.map(({ state, count }) => [state, count]));
    return Object.fromEntries(LIVING_STATES.map((state) => [state, counts.get(state) ?? 0])) as Record<LivingState, number>;
  }

  async apply(microvmId: string, event: MicrovmEvent, patch: Partial<MicrovmPatch> = {}): Promise<Microvm> {
    return this.#change(microvmId, patch, (microvm) => {
      const state = nextState(microvm.state, event);
      if (state !== undefined) return state;
      throw new LullError('conflict', `The MicroVM ${microvmId} is ${microvm.state}, where '${event}' cannot happen.`);
    });
  }

  async patch(microvmId: string, patch: Partial<MicrovmPatch>): Promise<Microvm> {
    return this.#change(microvmId, patch, (microvm) => microvm.state);
  }

  async allocatedMib(): Promise<number> {
    const { total } = await this.#db
      .selectFrom('allocatedMemory')
      .select(({ fn }) => fn.sum<number | null>('mib').as('total'))
      .where('state', 'in', MEMORY_COUNTS)
      .executeTakeFirstOrThrow();
    return total ?? 0;
  }

  async #one(column: 'microvmId' | 'endpointId' | 'clientToken', value: string): Promise<Microvm | undefined> {
    const row = await this.#db.selectFrom('microvms').selectAll().where(column, '=', value).executeTakeFirst();
    return row === undefined ? undefined : toMicrovm(row);
  }

  async #change(microvmId: string, patch: Partial<MicrovmPatch>, decide: (microvm: Microvm) => MicrovmState): Promise<Microvm> {
    return this.#db.transaction().execute(async (tx) => {
      const before = await locked(tx, microvmId);
      const state = decide(before);
      if (patch.lastGeneration !== undefined && patch.lastGeneration < before.lastGeneration) {
        throw new LullError('conflict', `Generation ${patch.lastGeneration} of ${microvmId} has been taken already.`);
      }
      const row = await tx
        .updateTable('microvms')
        .set({ state, ...toRowPatch(patch) })
        .where('microvmId', '=', microvmId)
        .returningAll()
        .executeTakeFirstOrThrow();
      return toMicrovm(row);
    });
  }
}

async function locked(tx: Transaction<Tables>, microvmId: string): Promise<Microvm> {
  const row = await tx.selectFrom('microvms').selectAll().where('microvmId', '=', microvmId).executeTakeFirst();
  if (row === undefined) throw microvmNotFound(microvmId);
  return toMicrovm(row);
}

/** Since it was chosen it may have been deactivated, or deleted: an image that is deleted takes its versions along. */
async function requireLaunchable(tx: Transaction<Tables>, { snapshotId, imageArn, imageVersion }: Microvm): Promise<void> {
  const version = await tx
    .selectFrom('imageVersions')
    .select('seq')
    .where('snapshotId', '=', snapshotId)
    .where('state', '=', 'SUCCESSFUL')
    .where('status', '=', 'ACTIVE')
    .executeTakeFirst();
  if (version === undefined) throw noActiveVersion(imageArn, imageVersion);
}

function toRowPatch({ process, ...columns }: Partial<MicrovmPatch>): Updateable<MicrovmTable> {
  return process === undefined ? columns : { ...columns, process: jsonOrNull(process) };
}

function toRow(microvm: Microvm): Insertable<MicrovmTable> {
  return {
    microvmId: microvm.microvmId,
    endpointId: microvm.endpointId,
    state: microvm.state,
    stateReason: microvm.stateReason,
    imageName: microvm.imageName,
    imageArn: microvm.imageArn,
    imageVersion: microvm.imageVersion,
    snapshotId: microvm.snapshotId,
    baselineMib: microvm.baselineMib,
    executionRoleArn: microvm.executionRoleArn,
    idlePolicy: jsonOrNull(microvm.idlePolicy),
    maximumDurationSeconds: microvm.maximumDurationSeconds,
    ingressConnectors: JSON.stringify(microvm.ingressConnectors),
    egressConnectors: JSON.stringify(microvm.egressConnectors),
    logging: jsonOrNull(microvm.logging),
    runHookPayload: microvm.runHookPayload,
    clientToken: microvm.clientToken,
    requestFingerprint: microvm.requestFingerprint,
    startedAtMs: microvm.startedAtMs,
    suspendedAtMs: microvm.suspendedAtMs,
    terminatedAtMs: microvm.terminatedAtMs,
    generation: microvm.generation,
    lastGeneration: microvm.lastGeneration,
    process: jsonOrNull(microvm.process),
  };
}
