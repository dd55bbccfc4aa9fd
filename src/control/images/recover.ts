/** What a server finds at its start: builds and deletions that the end of the last one cut off. */
import type { ImageVersion } from '../../domain/image.ts';
import type { BuildQueue } from './build-queue.ts';
import { buildTask, failVersion, INTERRUPTED } from './build-version.ts';
import type { ImageContext } from './context.ts';
import type { Deletions } from './deletions.ts';

/**
 * Ends interrupted builds as FAILED and removes their files, queues again the builds that had not begun, goes on deleting
 * what is DELETING, and removes the files of deleted versions that nothing rests on any more.
 */
export async function recoverImages(context: ImageContext, builds: BuildQueue, deletions: Deletions): Promise<void> {
  const { store } = context;
  for (const version of await store.images.versionsInStates(['IN_PROGRESS'])) await endInterrupted(context, version);
  const waiting = await store.images.versionsInStates(['PENDING']);
  for (const version of waiting.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) {
    builds.add(version.snapshotId, buildTask(context, version));
  }
  for (const { name } of await store.images.inStates(['DELETING'])) deletions.finishImage(name);
  for (const version of await store.images.versionsInStates(['DELETING'])) {
    // Else it goes with its image.
    if ((await store.images.get(version.imageName))?.state === 'UPDATING') deletions.finishVersion(version);
  }
  for (const { snapshotId } of await store.images.versionsInStates(['DELETED'])) deletions.collect(snapshotId);
}

async function endInterrupted(context: ImageContext, version: ImageVersion): Promise<void> {
  const { builder, log } = context;
  const fields = { image: version.imageName, version: version.version, snapshotId: version.snapshotId };
  // Files first: should this end here too, the row still says what is left to do.
  await builder.remove(version.snapshotId).catch((err: unknown) => log.error({ ...fields, err }, 'files of a build could not be removed'));
  await failVersion(context, version, { stateReason: INTERRUPTED });
  log.warn(fields, 'image version failed: the server had stopped while it was built');
}
