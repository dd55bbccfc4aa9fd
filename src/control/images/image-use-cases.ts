/** Everything that can be asked of images. */
import type { ImageVersion } from '../../domain/image.ts';
import type { BuildEvent } from '../../domain/ports.ts';
import { within } from '../../lib/deadline.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { ImageUseCases } from '../control-plane.ts';
import { BuildQueue } from './build-queue.ts';
import { findVersion, nameImage, requireImage, type ImageContext, type ImagePorts } from './context.ts';
import { Deletions } from './deletions.ts';
import { createImage, rebuildImage, updateImage } from './make-version.ts';
import { reconcileImages, recoverImages } from './recover.ts';
import { setVersionStatus } from './version-status.ts';

/** A build ends its child processes and removes its files when it is aborted; longer than this it hangs. */
const STOP_LIMIT_MS = 30_000;

/** The use-cases, and what the wiring needs of them. */
export interface ImageControl extends ImageUseCases, AsyncDisposable {
  /** Finishes what an earlier server left: call once, before the first request. Resolves when the store is consistent. */
  recover(): Promise<void>;
  /** For the {@link Reconciler}. */
  reconcile(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** A microVM with these files has ended: if it was the last of a deleted version, they go. */
  microvmEnded(snapshotId: string): void;
  /** Resolves when no build and no deletion runs or waits. */
  idle(): Promise<void>;
}

/** Puts the use-cases together. Disposing aborts running builds (they end FAILED); waiting ones go on at the next start. */
export function createImageUseCases(ports: ImagePorts): ImageControl {
  const context: ImageContext = { ...ports, changes: new KeyedQueue() };
  const { store, builder, managed, log } = context;
  const builds = new BuildQueue(ports.limits, (err) => log.error({ err }, 'a build could not be brought to an end'));
  const deletions = new Deletions(context, builds);
  let isStopping = false;
  const idle = async () => {
    await context.changes.idle();
    await builds.idle();
    await deletions.idle();
  };
  return {
    create: (input) => createImage(context, builds, input),
    update: (input) => updateImage(context, builds, input),
    rebuild: (input) => rebuildImage(context, builds, input),
    get: async (imageIdentifier) => requireImage(context, nameImage(context, imageIdentifier)),
    list: (filter, page) => store.images.list(filter, page),
    delete: (imageIdentifier) => deletions.image(imageIdentifier),
    deleteVersion: (imageIdentifier, version) => deletions.version(imageIdentifier, version),
    version: (imageIdentifier, version) => findVersion(context, imageIdentifier, version),
    versions: async (imageIdentifier, page) => {
      const image = await requireImage(context, nameImage(context, imageIdentifier));
      return { ...(await store.images.versions(image.name, page)), image };
    },
    setVersionStatus: (imageIdentifier, version, status) => setVersionStatus(context, { imageIdentifier, version, status }),
    managed: () => managed,
    buildEvents: async (imageIdentifier, version, options) => {
      const found = await findVersion(context, imageIdentifier, version);
      const events = () => builder.events(found.version.snapshotId, options);
      return options.follow ? eventsOnceBuilding(builds, found.version, { ...options, events }) : events();
    },
    recover: () => recoverImages(context, builds, deletions),
    reconcile: () => reconcileImages(context, builds, deletions),
    microvmEnded: (snapshotId) => {
      if (!isStopping) deletions.collect(snapshotId);
    },
    idle,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      const ended = builds.stop().then(idle);
      // What does not end in time is found IN_PROGRESS or DELETING at the next start.
      await within('ending image builds', STOP_LIMIT_MS, ended).catch((err: unknown) => log.error({ err }, 'image builds did not end'));
    },
  };
}

/** A build that waits has no events yet, and its builder does not know it: whoever follows waits with it. */
async function* eventsOnceBuilding(
  builds: BuildQueue,
  { snapshotId }: ImageVersion,
  { signal, events }: { signal: AbortSignal; events: () => AsyncIterable<BuildEvent> },
): AsyncIterable<BuildEvent> {
  if (await builds.reachedBuilder(snapshotId, signal)) yield* events();
}
