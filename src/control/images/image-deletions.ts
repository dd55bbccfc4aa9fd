/** DeleteMicrovmImage: the answer is DELETING; files and rows go behind it. */
import type { Image } from '../../domain/image.ts';
import { imageBusy, imageInUse, imageNotFound } from '../../domain/refusals.ts';
import { nameImage, requireImage, type ImageContext } from './context.ts';

const VERSIONS_A_PAGE = 50;

/** Deletions under way. */
export class ImageDeletions {
  readonly #context: ImageContext;
  readonly #running = new Map<string, Promise<void>>();

  constructor(context: ImageContext) {
    this.#context = context;
  }

  /** @throws LullError not-found; validation while its build runs or a microVM of it lives */
  async request(imageIdentifier: string): Promise<Image> {
    const named = nameImage(this.#context, imageIdentifier);
    return this.#context.changes.run(named.name, async () => {
      const image = await requireImage(this.#context, named);
      const atMs = this.#context.clock.nowMs();
      const outcome = await this.#context.store.images.markDeleting(named.name, atMs);
      switch (outcome) {
        case 'absent':
          throw imageNotFound(named.arn);
        case 'building':
          throw imageBusy();
        case 'in-use':
          throw imageInUse();
        case 'deleting':
          this.finish(named.name);
          return { ...image, state: 'DELETING', updatedAtMs: atMs };
      }
      outcome satisfies never;
    });
  }

  /** Starts, or leaves alone where it runs already, the removal of an image that is DELETING. */
  finish(name: string): void {
    if (this.#running.has(name)) return;
    const removal = this.#remove(name).finally(() => this.#running.delete(name));
    this.#running.set(name, removal);
  }

  /** Resolves when no deletion is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  async #remove(name: string): Promise<void> {
    const { store, log } = this.#context;
    try {
      await this.#removeFiles(name);
      await store.images.remove(name);
      log.info({ image: name }, 'image deleted');
    } catch (err) {
      log.error({ image: name, err }, 'image could not be deleted');
      await this.#markFailed(name).catch((error: unknown) => log.error({ image: name, err: error }, 'that could not be stored either'));
    }
  }

  async #removeFiles(name: string): Promise<void> {
    let after: string | undefined;
    do {
      const page = await this.#context.store.images.versions(name, { limit: VERSIONS_A_PAGE, after });
      for (const { snapshotId } of page.items) await this.#context.builder.remove(snapshotId);
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
}
