/** DeleteMicrovmImage and DeleteMicrovmImageVersion: the answer is DELETING; builds, files and rows go behind it (section 2.2). */
import type { Image, ImageVersion } from '../../domain/image.ts';
import { imageBusy, imageInUse, imageNotFound, imageUpdating, imageVersionNotFound, lastVersion } from '../../domain/refusals.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import { commitOutcome } from '../commit-outcome.ts';
import type { ImageWithVersion } from '../control-plane.ts';
import type { BuildQueue } from './build-queue.ts';
import { nameImage, requireImage, type ImageContext } from './context.ts';

const VERSIONS_A_PAGE = 50;

/** Deletions under way, and what is left of deleted versions. */
export class Deletions {
  readonly #context: ImageContext;
  readonly #builds: BuildQueue;
  /** One thing at a time for each image and each snapshot. */
  readonly #work = new KeyedQueue();

  constructor(context: ImageContext, builds: BuildQueue) {
    this.#context = context;
    this.#builds = builds;
  }

  /**
   * Ends the build of a new version too, where one waits or runs.
   * @throws LullError not-found; validation while its first build or the deletion of a version is under way, or a microVM of it lives
   */
  async image(imageIdentifier: string): Promise<Image> {
    const named = nameImage(this.#context, imageIdentifier);
    return this.#context.changes.run(named.name, async () => {
      const image = await requireImage(this.#context, named);
      const atMs = this.#context.clock.nowMs();
      const outcome = await this.#context.store.images.markDeleting(named.name, atMs);
      switch (outcome) {
        case 'absent':
          throw imageNotFound(named.arn);
        case 'busy':
          throw imageBusy(named.arn);
        case 'in-use':
          throw imageInUse();
        case 'deleting':
          this.finishImage(named.name);
          return { ...image, state: 'DELETING', updatedAtMs: atMs };
      }
      outcome satisfies never;
    });
  }

  /**
   * Ends its build too, where that waits or runs. Its files stay for the microVMs that rest on them.
   * @throws LullError not-found; validation for the last version; conflict while something else is under way with the image
   */
  async version(imageIdentifier: string, number: string): Promise<ImageWithVersion> {
    const { store, clock, changes } = this.#context;
    const named = nameImage(this.#context, imageIdentifier);
    return changes.run(named.name, async () => {
      const atMs = clock.nowMs();
      const outcome = await store.images.markVersionDeleting(named.name, number, atMs);
      const image = await store.images.get(named.name);
      const version = await store.images.version(named.name, number);
      if (outcome === 'absent' || image === undefined || version === undefined) throw imageVersionNotFound(named.arn, number);
      if (outcome === 'last') throw lastVersion();
      if (outcome === 'busy') throw imageUpdating(image.state);
      this.finishVersion(version);
      return { image, version };
    });
  }

  /** Starts the removal of an image that is DELETING. */
  finishImage(name: string): void {
    void this.#work.run(`image ${name}`, () => this.#removeImage(name));
  }

  /** Starts the removal of a version that is DELETING. */
  finishVersion(version: ImageVersion): void {
    void this.#work.run(version.snapshotId, () => this.#retire(version));
    this.collect(version.snapshotId);
  }

  /** Removes the files of a version once it is deleted and no microVM rests on them any more; to be called when one has ended. */
  collect(snapshotId: string): void {
    void this.#work.run(snapshotId, () => this.#removeUnused(snapshotId));
  }

  /** Resolves when no deletion is under way. */
  idle(): Promise<void> {
    return this.#work.idle();
  }

  async #removeImage(name: string): Promise<void> {
    const { store, log } = this.#context;
    try {
      // Asked for twice, it may be gone by now, and its name another's.
      if ((await store.images.get(name))?.state !== 'DELETING') return;
      for await (const version of this.#versions(name)) {
        await this.#builds.cancel(version.snapshotId);
        await this.#removeFiles(version);
      }
      await store.images.remove(name);
      log.info({ image: name }, 'image deleted');
    } catch (err) {
      log.error({ image: name, err }, 'image could not be deleted');
      await this.#markFailed(name).catch((error: unknown) => log.error({ image: name, err: error }, 'that could not be stored either'));
    }
  }

  async *#versions(name: string): AsyncIterable<ImageVersion> {
    let after: string | undefined;
    do {
      const page = await this.#context.store.images.versions(name, { limit: VERSIONS_A_PAGE, after });
      yield* page.items;
      after = page.next ?? undefined;
    } while (after !== undefined);
  }

  /** It can be deleted again from there. */
  async #markFailed(name: string): Promise<void> {
    const { store, clock } = this.#context;
    const [newest] = (await store.images.versions(name, { limit: 1 })).items;
    if (newest === undefined) return;
    await store.images.update(name, newest.version, { atMs: clock.nowMs(), image: { state: 'DELETE_FAILED' } });
  }

  async #retire({ imageName, version, snapshotId }: ImageVersion): Promise<void> {
    const { store, clock, log } = this.#context;
    const fields = { image: imageName, version, snapshotId };
    try {
      await this.#builds.cancel(snapshotId);
      await commitOutcome(
        () => store.images.retireVersion(snapshotId, clock.nowMs()),
        (err) => log.warn({ ...fields, err }, 'the deletion of an image version could not be committed yet'),
      );
      log.info(fields, 'image version deleted');
    } catch (err) {
      log.error({ ...fields, err }, 'image version could not be deleted');
      await this.#markVersionFailed(imageName, version).catch((error: unknown) => log.error({ ...fields, err: error }, 'that could not be stored either'));
    }
  }

  /** As {@link #markFailed}: its image is free again. */
  async #markVersionFailed(imageName: string, version: string): Promise<void> {
    const { store, clock } = this.#context;
    await store.images.update(imageName, version, {
      from: ['DELETING'],
      atMs: clock.nowMs(),
      image: { state: 'UPDATED' },
      version: { state: 'DELETE_FAILED' },
    });
  }

  /** Its snapshot and its hold of the code. From DELETING on, no build gives it another. */
  async #removeFiles({ snapshotId, artifactBlobId }: ImageVersion): Promise<void> {
    const { builder, blobs } = this.#context;
    await builder.remove(snapshotId);
    if (artifactBlobId !== null) await blobs.remove(artifactBlobId);
  }

  /** Files first: should it end between the two, the row still says what is left to do. */
  async #removeUnused(snapshotId: string): Promise<void> {
    const { store, log } = this.#context;
    try {
      const version = await store.images.versionOfSnapshot(snapshotId);
      if (version === undefined || !(await store.images.isUnused(snapshotId))) return;
      await this.#removeFiles(version);
      await store.images.removeVersion(snapshotId);
      log.info({ snapshotId }, 'files of a deleted image version removed');
    } catch (err) {
      log.error({ snapshotId, err }, 'files of a deleted image version could not be removed yet: the next start tries again');
    }
  }
}
