/** CreateMicrovmImage and UpdateMicrovmImage: a new version is written to the store, and its build queued. */
import { imageArn, nextImageVersion } from '../../domain/ids.ts';
import { SETTLED_IMAGE_STATES, type ClientRequest, type Image, type ImageConfig, type ImageState, type ImageVersion } from '../../domain/image.ts';
import { imageNameTaken, imageUpdating } from '../../domain/refusals.ts';
import { clientRequest, requireSameRequest } from '../client-request.ts';
import type { CreateImageInput, ImageWithVersion, UpdateImageInput } from '../control-plane.ts';
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
  const { store, clock } = context;
  const named = nameImage(context, input.imageIdentifier);
  const request = clientRequest('UpdateMicrovmImage', input);
  return context.changes.run(named.name, async () => {
    const repeated = await repeatedRequest(context, request);
    if (repeated !== undefined) return repeated;
    const image = await requireImage(context, named);
    const config = completeImageConfig(input.config, context);
    await context.passRole(config.buildRoleArn);
    if (!canChange(image)) throw imageUpdating(image.state);
    using _place = builds.reserve();
    const number = nextImageVersion(await store.images.versionCount(image.name));
    const version = newVersion(context, { imageName: image.name, version: number, config, atMs: clock.nowMs(), request });
    await store.images.addVersion(version, 'UPDATING', context.limits.versionsPerImage);
    builds.add(version.snapshotId, buildTask(context, version));
    return { image: { ...image, state: 'UPDATING', updatedAtMs: version.createdAtMs }, version };
  });
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
  readonly request: ClientRequest | undefined;
}

function newVersion({ random }: ImageContext, { imageName, version, config, atMs, request }: NewVersion): ImageVersion {
  return {
    imageName,
    version,
    snapshotId: random.uuid(),
    state: 'PENDING',
    status: 'INACTIVE',
    config,
    createdAtMs: atMs,
    updatedAtMs: atMs,
    build: { buildId: random.uuid(), state: 'PENDING', stateReason: null, sizes: null, createdAtMs: atMs },
    ...(request === undefined ? {} : { request }),
  };
}
