/** CreateMicrovmImage, UpdateMicrovmImage, and `lull images rebuild`: a new version is written to the store, and its build queued. */
import { LullError } from '../../domain/errors.ts';
import { imageArn, nextImageVersion } from '../../domain/ids.ts';
import { SETTLED_IMAGE_STATES, type ClientRequest, type Image, type ImageConfig, type ImageState, type ImageVersion } from '../../domain/image.ts';
import { imageNameTaken, imageUpdating, imageVersionNotFound } from '../../domain/refusals.ts';
import { clientRequest, requireSameRequest } from '../client-request.ts';
import type { CreateImageInput, ImageWithVersion, RebuildImageInput, UpdateImageInput } from '../control-plane.ts';
import { changedTags } from '../tags.ts';
import type { BuildQueue } from './build-queue.ts';
import { buildTask } from './build-version.ts';
import { nameImage, requireImage, type ImageContext } from './context.ts';
import { completeImageConfig } from './image-config.ts';

/**
 * Makes an image with its first version.
 * @throws LullError validation, conflict (client token), quota-exceeded (builds, images)
 */
export async function createImage(context: ImageContext, builds: BuildQueue, input: CreateImageInput): Promise<ImageWithVersion> {
  const { store, clock, random, realm } = context;
  const request = clientRequest('CreateMicrovmImage', input);
  return context.changes.run(input.name, async () => {
    const repeated = await repeatedRequest(context, request);
    if (repeated !== undefined) return repeated;
    const config = completeImageConfig(input.config, context);
    await context.passRole(config.buildRoleArn);
    if ((await store.images.get(input.name)) !== undefined) throw imageNameTaken(input.name);
    using _place = builds.reserve();
    const atMs = clock.nowMs();
    const image: Image = {
      id: random.uuid(),
      name: input.name,
      imageArn: imageArn(realm, input.name),
      state: 'CREATING',
      createdAtMs: atMs,
      updatedAtMs: atMs,
      latestActiveVersion: null,
      latestFailedVersion: null,
      tags: changedTags({}, { add: input.tags }),
    };
    const version = newVersion(context, { imageName: image.name, version: nextImageVersion(0), config, atMs, request });
    await store.images.insert(image, version, context.limits.images);
    builds.add(version.snapshotId, buildTask(context, version));
    return { image, version };
  });
}

/**
 * Adds a version that replaces the whole configuration.
 * @throws LullError not-found, validation, conflict (a build or a deletion is under way; client token), quota-exceeded (builds, versions)
 */
export async function updateImage(context: ImageContext, builds: BuildQueue, input: UpdateImageInput): Promise<ImageWithVersion> {
  const named = nameImage(context, input.imageIdentifier);
  const request = clientRequest('UpdateMicrovmImage', input);
  return context.changes.run(named.name, async () => {
    const repeated = await repeatedRequest(context, request);
    if (repeated !== undefined) return repeated;
    const image = await requireImage(context, named);
    const config = completeImageConfig(input.config, context);
    return addVersion(context, builds, { image, config, request });
  });
}

/**
 * Adds a version from the code and the configuration of another one, as they were when that was made.
 * @param imageVersion of that one; null for the newest that may be launched, or else the newest
 * @throws LullError not-found; validation where the code was not kept; conflict (a build or a deletion is under way); quota-exceeded
 */
export async function rebuildImage(context: ImageContext, builds: BuildQueue, { imageIdentifier, imageVersion }: RebuildImageInput): Promise<ImageWithVersion> {
  const { store, blobs } = context;
  const named = nameImage(context, imageIdentifier);
  return context.changes.run(named.name, async () => {
    const image = await requireImage(context, named);
    const newest = async () => (await store.images.newestActive(named.name)) ?? (await store.images.versions(named.name, { limit: 1 })).items[0];
    const source = imageVersion === null ? await newest() : await store.images.version(named.name, imageVersion);
    if (source === undefined) throw imageVersionNotFound(named.arn, imageVersion ?? 'newest');
    const artifactBlobId = source.artifactBlobId === null ? undefined : await blobs.join([source.artifactBlobId]);
    if (artifactBlobId === undefined) throw artifactNotKept(source);
    try {
      return await addVersion(context, builds, { image, config: source.config, artifactBlobId });
    } catch (error) {
      await blobs.remove(artifactBlobId);
      throw error;
    }
  });
}

const artifactNotKept = ({ imageName, version }: ImageVersion) =>
  new LullError('validation', `The code of version ${version} of the image ${imageName} was not kept: build a new one from its folder (\`lull build\`, or UpdateMicrovmImage).`);

interface AddedVersion {
  readonly image: Image;
  readonly config: ImageConfig;
  readonly artifactBlobId?: string;
  readonly request?: ClientRequest | undefined;
}

async function addVersion(context: ImageContext, builds: BuildQueue, { image, ...made }: AddedVersion): Promise<ImageWithVersion> {
  const { store, clock } = context;
  await context.passRole(made.config.buildRoleArn);
  if (!canChange(image)) throw imageUpdating(image.state);
  using _place = builds.reserve();
  const number = nextImageVersion(await store.images.versionCount(image.name));
  const version = newVersion(context, { ...made, imageName: image.name, version: number, atMs: clock.nowMs() });
  await store.images.addVersion(version, 'UPDATING', context.limits.versionsPerImage);
  builds.add(version.snapshotId, buildTask(context, version));
  return { image: { ...image, state: 'UPDATING', updatedAtMs: version.createdAtMs }, version };
}

/** No build and no deletion is under way, and none broke off half-way. */
export function canChange({ state }: Image): boolean {
  return (SETTLED_IMAGE_STATES as readonly ImageState[]).includes(state);
}

/**
 * What an earlier call with the same token and parameters made, as it is now.
 * @throws LullError conflict where the token belongs to another call
 */
async function repeatedRequest({ store }: ImageContext, request: ClientRequest | undefined): Promise<ImageWithVersion | undefined> {
  if (request === undefined) return undefined;
  const version = await store.images.versionByClientToken(request.clientToken);
  if (version === undefined) return undefined;
  requireSameRequest(request, version.request?.fingerprint);
  const image = await store.images.get(version.imageName);
  return image === undefined ? undefined : { image, version };
}

interface NewVersion {
  readonly imageName: string;
  readonly version: string;
  readonly config: ImageConfig;
  readonly atMs: number;
  readonly artifactBlobId?: string;
  readonly request?: ClientRequest | undefined;
}

function newVersion({ random }: ImageContext, { imageName, version, config, atMs, artifactBlobId, request }: NewVersion): ImageVersion {
  return {
    imageName,
    version,
    snapshotId: random.uuid(),
    state: 'PENDING',
    status: 'INACTIVE',
    config,
    createdAtMs: atMs,
    updatedAtMs: atMs,
    artifactBlobId: artifactBlobId ?? null,
    build: { buildId: random.uuid(), state: 'PENDING', stateReason: null, sizes: null, createdAtMs: atMs },
    ...(request === undefined ? {} : { request }),
  };
}
