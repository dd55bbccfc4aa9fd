/** What was not brought to an end: builds and deletions that the end of a server cut off, or whose outcome could not be committed. */
import type { ImageVersion } from '../../domain/image.ts';
import type { BuildQueue } from './build-queue.ts';
import { buildTask, failVersion, INTERRUPTED, NOT_STORED } from './build-version.ts';
import type { ImageContext } from './context.ts';
import type { Deletions } from './deletions.ts';

/**
 * Ends interrupted builds as FAILED and removes their files, queues again the builds that had not begun, goes on deleting
 * what is DELETING, and removes the files of deleted versions that nothing rests on any more.
 */
export async function recoverImages(context: ImageContext, builds: BuildQueue, deletions: Deletions): Promise<void> {
  await goOn({ context, builds, deletions, stateReason: INTERRUPTED });
}

/**
 * The same while the server runs, for builds and deletions whose outcome could not be committed; and removes files that belong
 * to no version, or to none any more.
 * @returns what was done, by the id of the snapshot
 */
export async function reconcileImages(context: ImageContext, builds: BuildQueue, deletions: Deletions): Promise<ReadonlyMap<string, readonly string[]>> {
  const { store, builder } = context;
  // Looked for first: what is there and has no row by then never gets one.
  const present = await builder.present();
  const done = await goOn({ context, builds, deletions, stateReason: NOT_STORED });
  for (const snapshotId of present) {
    if (builds.has(snapshotId)) continue;
    const what = await tidied(context, snapshotId, await store.images.versionOfSnapshot(snapshotId));
    if (what.length > 0) done.set(snapshotId, [...(done.get(snapshotId) ?? []), ...what]);
  }
  return done;
}

async function tidied({ builder }: ImageContext, snapshotId: string, version: ImageVersion | undefined): Promise<readonly string[]> {
  if (version === undefined) {
    await builder.remove(snapshotId);
    return ['remains'];
  }
  if (version.state === 'SUCCESSFUL') return builder.tidy(snapshotId, 'snapshot');
  return version.state === 'FAILED' ? builder.tidy(snapshotId, 'log') : [];
}

interface Unfinished {
  readonly context: ImageContext;
  readonly builds: BuildQueue;
  readonly deletions: Deletions;
  /** What a build says that nobody goes on with. */
  readonly stateReason: string;
}

async function goOn({ context, builds, deletions, stateReason }: Unfinished): Promise<Map<string, readonly string[]>> {
  const { store } = context;
  const done = new Map<string, readonly string[]>();
  const unfinished = await store.images.versionsInStates(['IN_PROGRESS', 'PENDING', 'DELETING', 'DELETED']);
  const left = unfinished.filter(({ snapshotId }) => !builds.has(snapshotId)).toSorted((a, b) => a.createdAtMs - b.createdAtMs);
  for (const version of left) {
    const { snapshotId, state } = version;
    if (state === 'IN_PROGRESS') {
      if (await endInterrupted(context, version, stateReason)) done.set(snapshotId, [state]);
    } else if (state === 'PENDING') {
      builds.add(snapshotId, buildTask(context, version));
    } else if (state === 'DELETED') {
      deletions.collect(snapshotId);
    } else if ((await store.images.get(version.imageName))?.state === 'UPDATING') {
      deletions.finishVersion(version);
    }
  }
  // Their versions go with them.
  for (const { name } of await store.images.inStates(['DELETING'])) deletions.finishImage(name);
  return done;
}

/** @returns false where it has ended meanwhile */
async function endInterrupted(context: ImageContext, version: ImageVersion, stateReason: string): Promise<boolean> {
  const { builder, store, log } = context;
  const fields = { image: version.imageName, version: version.version, snapshotId: version.snapshotId };
  if ((await store.images.versionOfSnapshot(version.snapshotId))?.state !== 'IN_PROGRESS') return false;
  // Files first: should this end here too, the row still says what is left to do.
  await builder.remove(version.snapshotId).catch((err: unknown) => log.error({ ...fields, err }, 'files of a build could not be removed'));
  await failVersion(context, version, { stateReason });
  log.warn({ ...fields, stateReason }, 'image version failed: nobody went on building it');
  return true;
}
