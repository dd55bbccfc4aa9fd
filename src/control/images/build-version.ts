/** The life of one build, from PENDING to SUCCESSFUL or FAILED: every step is in the store before it is done. */
import {
  BUILD_FAILURES,
  BUILDING_VERSION_STATES,
  BuildFailure,
  IMAGE_AFTER_BUILD,
  type Image,
  type ImageVersion,
  type SnapshotSizes,
} from '../../domain/image.ts';
import type { ImageChange } from '../../domain/ports.ts';
import { commitOutcome } from '../commit-outcome.ts';
import type { BuildTask } from './build-queue.ts';
import type { ImageContext } from './context.ts';
import { parseS3Uri } from './image-config.ts';

/** The step in which a build looks for its artifact. */
const ARTIFACT_STEP = 'artifact';
/** An object may be replaced between its look-up and the grip on its bytes; more often than this nobody does by chance. */
const ARTIFACT_TRIES = 5;

/** What a build says that the end of the server cut off. */
export const INTERRUPTED = `${BUILD_FAILURES.INTERNAL_PLATFORM_ERROR} Lull stopped while it ran: update the image to build it again.`;

/** What a build says whose outcome the store did not take. */
export const NOT_STORED = `${BUILD_FAILURES.INTERNAL_PLATFORM_ERROR} Its outcome could not be stored: update the image to build it again.`;

/** The work of building `version`. It never rejects for a build that fails; that is an outcome. */
export function buildTask(context: ImageContext, { imageName, version }: Pick<ImageVersion, 'imageName' | 'version'>): BuildTask {
  return async (signal, reachedBuilder) => {
    const { store, clock, log } = context;
    const image = await store.images.get(imageName);
    const record = await store.images.version(imageName, version);
    if (image === undefined || record === undefined) return;
    const fields = { image: imageName, version, snapshotId: record.snapshotId };
    let built = false;
    try {
      const begun = await store.images.update(imageName, version, {
        from: ['PENDING'],
        atMs: clock.nowMs(),
        version: { state: 'IN_PROGRESS' },
        build: { state: 'IN_PROGRESS' },
      });
      if (!begun) return;
      const sizes = await buildSnapshot(context, { image, version: record, signal, reachedBuilder });
      built = true;
      const kept = await succeed(context, record, sizes);
      log.info(fields, kept ? 'image version built' : UNWANTED);
    } catch (error) {
      const failure = { stateReason: reasonOf(error, signal), codeBytes: error instanceof BuildFailure ? error.codeBytes : undefined };
      const isWanted = await failVersion(context, record, failure);
      const step = error instanceof BuildFailure ? error.step : undefined;
      if (!isWanted) log.info(fields, UNWANTED);
      else log[step === undefined ? 'error' : 'info']({ ...fields, step, stateReason: failure.stateReason, err: error }, 'image version failed');
      // A snapshot that could not be entered in the store: only now is it sure that no row promises it.
      if (built) await context.builder.remove(record.snapshotId);
    }
  };
}

/** Its files go with the version. */
const UNWANTED = 'image version given up while it was built: it is being deleted';

/** Why a build failed, and what was installed by then. */
interface BuildOutcome {
  readonly stateReason: string;
  readonly codeBytes?: number | undefined;
}

/** Writes the failure of a build at all three levels. @returns false where its version is being deleted */
export async function failVersion(context: ImageContext, { imageName, version }: ImageVersion, { stateReason, codeBytes }: BuildOutcome): Promise<boolean> {
  const { store, clock } = context;
  const image = await store.images.get(imageName);
  return commit(context, { imageName, version }, {
    from: BUILDING_VERSION_STATES,
    atMs: clock.nowMs(),
    image: stateAfter(image, 'failed'),
    version: { state: 'FAILED', status: 'INACTIVE' },
    build: { state: 'FAILED', stateReason, sizes: codeBytes === undefined ? null : { codeBytes } },
  });
}

async function succeed(context: ImageContext, { imageName, version }: ImageVersion, sizes: SnapshotSizes): Promise<boolean> {
  const { store, clock } = context;
  const image = await store.images.get(imageName);
  return commit(context, { imageName, version }, {
    from: BUILDING_VERSION_STATES,
    atMs: clock.nowMs(),
    image: stateAfter(image, 'succeeded'),
    version: { state: 'SUCCESSFUL', status: 'ACTIVE' },
    build: { state: 'SUCCESSFUL', sizes },
  });
}

/** What was built, or failed, has happened: a store that cannot write for a while must not undo it. */
function commit({ store, log }: ImageContext, { imageName, version }: Pick<ImageVersion, 'imageName' | 'version'>, change: ImageChange): Promise<boolean> {
  return commitOutcome(
    () => store.images.update(imageName, version, change),
    (err) => log.warn({ image: imageName, version, err }, 'the outcome of a build could not be committed yet'),
  );
}

function stateAfter(image: Image | undefined, outcome: 'succeeded' | 'failed') {
  if (image?.state !== 'CREATING' && image?.state !== 'UPDATING') return {};
  return { state: IMAGE_AFTER_BUILD[image.state][outcome] };
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return INTERRUPTED;
  return error instanceof BuildFailure ? error.message : BUILD_FAILURES.INTERNAL_PLATFORM_ERROR;
}

interface SnapshotBuild {
  readonly image: Image;
  readonly version: ImageVersion;
  readonly signal: AbortSignal;
  readonly reachedBuilder: () => void;
}

async function buildSnapshot(context: ImageContext, { image, version, signal, reachedBuilder }: SnapshotBuild): Promise<SnapshotSizes> {
  const { builder, blobs, realm } = context;
  const artifact = version.artifactBlobId ?? (await holdArtifact(context, version));
  signal.throwIfAborted();
  const building = builder.build(
    {
      imageName: image.name,
      imageArn: image.imageArn,
      imageVersion: version.version,
      snapshotId: version.snapshotId,
      config: version.config,
      artifactPath: blobs.path(artifact),
      region: realm.region,
    },
    signal,
  );
  reachedBuilder();
  return await building;
}

/** The version takes hold of its artifact's bytes, so that it can be made again whatever becomes of the object. */
async function holdArtifact(context: ImageContext, { imageName, version, config }: ImageVersion): Promise<string> {
  const { store, blobs } = context;
  const held = await secondNameOf(context, config.codeArtifactUri);
  try {
    const isWanted = await store.images.update(imageName, version, { from: ['IN_PROGRESS'], version: { artifactBlobId: held } });
    if (!isWanted) throw new Error('the version is being deleted');
    return held;
  } catch (error) {
    await blobs.remove(held);
    throw error;
  }
}

async function secondNameOf({ store, blobs }: ImageContext, uri: string): Promise<string> {
  const address = parseS3Uri(uri);
  if (address === undefined || !(await store.objects.hasBucket(address.bucket))) throw new BuildFailure('S3_NO_SUCH_BUCKET', ARTIFACT_STEP);
  for (let tries = 0; tries < ARTIFACT_TRIES; tries += 1) {
    const object = await store.objects.get(address.bucket, address.key);
    if (object === undefined) break;
    const held = await blobs.join([object.blobId]);
    if (held !== undefined) return held;
  }
  throw new BuildFailure('S3_NO_SUCH_KEY', ARTIFACT_STEP);
}
