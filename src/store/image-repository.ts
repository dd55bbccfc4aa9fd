/** Images and their versions in SQL. */
import { sql, type Insertable, type Kysely, type Selectable, type SelectQueryBuilder, type Transaction } from 'kysely';
import { LullError } from '../domain/errors.ts';
import {
  BUILDING_VERSION_STATES,
  SETTLED_IMAGE_STATES,
  type Image,
  type ImageState,
  type ImageVersion,
  type ImageVersionState,
} from '../domain/image.ts';
import { buildStream } from '../domain/log-stream.ts';
import { MICROVM_STATES } from '../domain/microvm.ts';
import type { ImageChange, ImageRepository, Page, PageRequest, Tags } from '../domain/ports.ts';
import { clientTokenReused, imageNameTaken, tooManyImages, tooManyVersions } from '../domain/refusals.ts';
import { requireConnectors } from './connector-repository.ts';
import { insertLogStream } from './log-repository.ts';
import { pageOf, positionBefore } from './page.ts';
import { toImage, toImageVersion } from './rows.ts';
import { uniqueViolation } from './sqlite-thread.ts';
import type { ImageTable, ImageVersionTable, Tables } from './tables.ts';

/** All that may still need the files of their image: a sleeper restores from them, a dying one has them mapped. */
const NEEDS_IMAGE = MICROVM_STATES.filter((state) => state !== 'TERMINATED');

/** The images of a store. */
export class SqlImageRepository implements ImageRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(image: Image, first: ImageVersion, maximum = Infinity): Promise<void> {
    await this.#db
      .transaction()
      .execute(async (tx) => {
        await requireConnectors(tx, first.config.egressConnectors);
        await tx.insertInto('images').values(toImageRow(image)).execute();
        // Counted once it is in, so that of two faults the taken name is told.
        if ((await countOf(tx.selectFrom('images'))) > maximum) throw tooManyImages(maximum);
        await tx.insertInto('imageVersions').values(toVersionRow(first)).execute();
        await insertLogStream(tx, buildStream(first));
      })
      .catch((error: unknown) => rethrow(error, first));
  }

  async get(name: string): Promise<Image | undefined> {
    const row = await this.#db.selectFrom('images').selectAll().where('name', '=', name).executeTakeFirst();
    return row === undefined ? undefined : toImage(row);
  }

  async list(filter: { nameFilter?: string | undefined }, page: PageRequest): Promise<Page<Image>> {
    let query = this.#db.selectFrom('images').selectAll().where('seq', '<', positionBefore(page));
    const { nameFilter } = filter;
    if (nameFilter !== undefined) query = query.where(sql<boolean>`instr(name, ${nameFilter}) > 0`);
    const rows = await query
      .orderBy('seq', 'desc')
      .limit(page.limit + 1)
      .execute();
    return pageOf(rows, page, toImage);
  }

  async addVersion(version: ImageVersion, imageState: ImageState, maximum = Infinity): Promise<void> {
    await this.#db
      .transaction()
      .execute(async (tx) => {
        const image = await tx
          .updateTable('images')
          .set(({ eb }) => ({ state: imageState, updatedAtMs: version.createdAtMs, versionsMade: eb('versionsMade', '+', 1) }))
          .where('name', '=', version.imageName)
          .returning('imageArn')
          .executeTakeFirst();
        if (image === undefined) throw gone(version.imageName);
        await requireConnectors(tx, version.config.egressConnectors);
        await tx.insertInto('imageVersions').values(toVersionRow(version)).execute();
        await insertLogStream(tx, buildStream(version));
        const versions = tx.selectFrom('imageVersions').where('imageName', '=', version.imageName).where('state', '!=', 'DELETED');
        if ((await countOf(versions)) > maximum) throw tooManyVersions(image.imageArn, maximum);
      })
      .catch((error: unknown) => rethrow(error, version));
  }

  async versionByClientToken(clientToken: string): Promise<ImageVersion | undefined> {
    const row = await this.#db.selectFrom('imageVersions').selectAll().where('clientToken', '=', clientToken).executeTakeFirst();
    return row === undefined ? undefined : toImageVersion(row);
  }

  async version(name: string, version: string): Promise<ImageVersion | undefined> {
    const row = await versionRow(this.#db, name, version);
    return row === undefined ? undefined : toImageVersion(row);
  }

  async versionOfSnapshot(snapshotId: string): Promise<ImageVersion | undefined> {
    const row = await this.#db.selectFrom('imageVersions').selectAll().where('snapshotId', '=', snapshotId).executeTakeFirst();
    return row === undefined ? undefined : toImageVersion(row);
  }

  async versions(name: string, page: PageRequest): Promise<Page<ImageVersion>> {
    const rows = await this.#db
      .selectFrom('imageVersions')
      .selectAll()
      .where('imageName', '=', name)
      .where('state', '!=', 'DELETED')
      .where('seq', '<', positionBefore(page))
      .orderBy('seq', 'desc')
      .limit(page.limit + 1)
      .execute();
    return pageOf(rows, page, toImageVersion);
  }

  async newestActive(name: string): Promise<ImageVersion | undefined> {
    const row = await this.#db
      .selectFrom('imageVersions')
      .selectAll()
      .where('imageName', '=', name)
      .where('state', '=', 'SUCCESSFUL')
      .where('status', '=', 'ACTIVE')
      .orderBy('seq', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : toImageVersion(row);
  }

  async versionsInStates(states: readonly ImageVersionState[]): Promise<readonly ImageVersion[]> {
    if (states.length === 0) return [];
    const rows = await this.#db.selectFrom('imageVersions').selectAll().where('state', 'in', states).execute();
    return rows.map(toImageVersion);
  }

  async versionCount(name: string): Promise<number> {
    const row = await this.#db.selectFrom('images').select('versionsMade').where('name', '=', name).executeTakeFirst();
    return row?.versionsMade ?? 0;
  }

  async update(name: string, version: string, change: ImageChange): Promise<boolean> {
    return this.#db.transaction().execute(async (tx) => {
      const row = await versionRow(tx, name, version);
      if (row === undefined) throw gone(`${name}, version ${version}`);
      if (change.from?.includes(row.state) === false) return false;
      const stamp = change.atMs === undefined ? {} : { updatedAtMs: change.atMs };
      const build = { ...toImageVersion(row).build, ...change.build };
      await tx
        .updateTable('imageVersions')
        .set({ ...change.version, ...stamp, build: JSON.stringify(build) })
        .where('seq', '=', row.seq)
        .execute();
      const latest = change.version === undefined ? {} : await latestVersions(tx, name);
      const image = { ...change.image, ...latest };
      if (Object.keys(image).length === 0) return true;
      await tx
        .updateTable('images')
        .set({ ...image, ...stamp })
        .where('name', '=', name)
        .execute();
      return true;
    });
  }

  async markDeleting(name: string, atMs: number): Promise<'deleting' | 'busy' | 'in-use' | 'absent'> {
    return this.#db.transaction().execute(async (tx) => {
      const image = await tx.selectFrom('images').select('state').where('name', '=', name).executeTakeFirst();
      if (image === undefined) return 'absent';
      if (image.state === 'DELETING') return 'deleting';
      if (image.state === 'CREATING' || (image.state === 'UPDATING' && (await hasVersion(tx, name, 'DELETING')))) return 'busy';
      const user = await tx
        .selectFrom('microvms')
        .select('microvmId')
        .where('imageName', '=', name)
        .where('state', 'in', NEEDS_IMAGE)
        .limit(1)
        .executeTakeFirst();
      if (user !== undefined) return 'in-use';
      const deleting = { state: 'DELETING', updatedAtMs: atMs } as const;
      await tx.updateTable('images').set(deleting).where('name', '=', name).execute();
      await tx.updateTable('imageVersions').set(deleting).where('imageName', '=', name).execute();
      return 'deleting';
    });
  }

  async markVersionDeleting(name: string, version: string, atMs: number): Promise<'deleting' | 'busy' | 'last' | 'absent'> {
    return this.#db.transaction().execute(async (tx) => {
      const image = await tx.selectFrom('images').select('state').where('name', '=', name).executeTakeFirst();
      const row = await versionRow(tx, name, version);
      if (image === undefined || row === undefined) return 'absent';
      const shown = await tx.selectFrom('imageVersions').select('seq').where('imageName', '=', name).where('state', '!=', 'DELETED').limit(2).execute();
      if (shown.length < 2) return 'last';
      const isOwnBuild = image.state === 'UPDATING' && includes(BUILDING_VERSION_STATES, row.state);
      if (!isOwnBuild && !includes(SETTLED_IMAGE_STATES, image.state)) return 'busy';
      await tx.updateTable('imageVersions').set({ state: 'DELETING', updatedAtMs: atMs }).where('seq', '=', row.seq).execute();
      const latest = await latestVersions(tx, name);
      await tx.updateTable('images').set({ state: 'UPDATING', updatedAtMs: atMs, ...latest }).where('name', '=', name).execute();
      return 'deleting';
    });
  }

  async retireVersion(snapshotId: string, atMs: number): Promise<void> {
    await this.#db.transaction().execute(async (tx) => {
      // Its client token goes with it: a repeated update makes a new version.
      const retired = await tx
        .updateTable('imageVersions')
        .set({ state: 'DELETED', clientToken: null, requestFingerprint: null })
        .where('snapshotId', '=', snapshotId)
        .where('state', '=', 'DELETING')
        .returning('imageName')
        .executeTakeFirst();
      if (retired === undefined) return;
      const updated = { state: 'UPDATED', updatedAtMs: atMs } as const;
      await tx.updateTable('images').set(updated).where('name', '=', retired.imageName).where('state', '=', 'UPDATING').execute();
    });
  }

  async isUnused(snapshotId: string): Promise<boolean> {
    const version = this.#db.selectFrom('imageVersions').select('seq').where('snapshotId', '=', snapshotId).where('state', '=', 'DELETED');
    const user = this.#db.selectFrom('microvms').select('seq').where('snapshotId', '=', snapshotId).where('state', 'in', NEEDS_IMAGE).limit(1);
    // Once it is DELETED nobody new comes.
    const [deleted, used] = [await version.executeTakeFirst(), await user.executeTakeFirst()];
    return deleted !== undefined && used === undefined;
  }

  async removeVersion(snapshotId: string): Promise<void> {
    await this.#db.deleteFrom('imageVersions').where('snapshotId', '=', snapshotId).where('state', '=', 'DELETED').execute();
  }

  async inStates(states: readonly ImageState[]): Promise<readonly Image[]> {
    if (states.length === 0) return [];
    const rows = await this.#db.selectFrom('images').selectAll().where('state', 'in', states).execute();
    return rows.map(toImage);
  }

  async remove(name: string): Promise<void> {
    // The versions go with it (ON DELETE CASCADE).
    await this.#db.deleteFrom('images').where('name', '=', name).execute();
  }

  async changeTags(name: string, change: (tags: Tags) => Tags): Promise<Tags | undefined> {
    return this.#db.transaction().execute(async (tx) => {
      const row = await tx.selectFrom('images').selectAll().where('name', '=', name).executeTakeFirst();
      if (row === undefined) return undefined;
      const tags = change(toImage(row).tags);
      await tx.updateTable('images').set({ tags: JSON.stringify(tags) }).where('seq', '=', row.seq).execute();
      return tags;
    });
  }
}

type Database = Kysely<Tables> | Transaction<Tables>;

/** A version that is not DELETED. */
function versionRow(db: Database, name: string, version: string): Promise<Selectable<ImageVersionTable> | undefined> {
  return db
    .selectFrom('imageVersions')
    .selectAll()
    .where('imageName', '=', name)
    .where('version', '=', version)
    .where('state', '!=', 'DELETED')
    .executeTakeFirst();
}

async function countOf<N extends keyof Tables>(rows: SelectQueryBuilder<Tables, N, object>): Promise<number> {
  const { count } = await rows.select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
  return count;
}

async function hasVersion(db: Database, name: string, state: ImageVersionState): Promise<boolean> {
  const row = await db.selectFrom('imageVersions').select('seq').where('imageName', '=', name).where('state', '=', state).limit(1).executeTakeFirst();
  return row !== undefined;
}

/** What the image names as its latest: the newest that may be launched, and the newest whose build failed. */
async function latestVersions(db: Database, name: string): Promise<{ latestActiveVersion: string | null; latestFailedVersion: string | null }> {
  const newest = db.selectFrom('imageVersions').select('version').where('imageName', '=', name).orderBy('seq', 'desc').limit(1);
  const active = await newest.where('state', '=', 'SUCCESSFUL').where('status', '=', 'ACTIVE').executeTakeFirst();
  const failed = await newest.where('state', '=', 'FAILED').executeTakeFirst();
  return { latestActiveVersion: active?.version ?? null, latestFailedVersion: failed?.version ?? null };
}

const includes = <T extends string>(states: readonly T[], state: string): boolean => (states as readonly string[]).includes(state);

const gone = (what: string) => new LullError('not-found', `The image ${what} does not exist.`);

/** Turns violated constraints into the refusals that they stand for. */
function rethrow(error: unknown, { imageName, version, request }: ImageVersion): never {
  const columns = uniqueViolation(error);
  if (columns === undefined) throw error;
  if (columns === 'images.name') throw imageNameTaken(imageName);
  if (columns === 'image_versions.client_token') throw clientTokenReused(request?.clientToken ?? '');
  throw new LullError('conflict', `Version ${version} of the image ${imageName} exists already.`, { cause: error });
}

function toImageRow(image: Image): Insertable<ImageTable> {
  return {
    id: image.id,
    name: image.name,
    imageArn: image.imageArn,
    state: image.state,
    createdAtMs: image.createdAtMs,
    updatedAtMs: image.updatedAtMs,
    latestActiveVersion: image.latestActiveVersion,
    latestFailedVersion: image.latestFailedVersion,
    tags: JSON.stringify(image.tags),
    versionsMade: 1,
  };
}

function toVersionRow(version: ImageVersion): Insertable<ImageVersionTable> {
  return {
    imageName: version.imageName,
    version: version.version,
    snapshotId: version.snapshotId,
    state: version.state,
    status: version.status,
    config: JSON.stringify(version.config),
    createdAtMs: version.createdAtMs,
    updatedAtMs: version.updatedAtMs,
    build: JSON.stringify(version.build),
    artifactBlobId: version.artifactBlobId,
    clientToken: version.request?.clientToken ?? null,
    requestFingerprint: version.request?.fingerprint ?? null,
  };
}
