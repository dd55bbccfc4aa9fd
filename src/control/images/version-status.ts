/** UpdateMicrovmImageVersion: which versions may be launched. */
import { LullError } from '../../domain/errors.ts';
import type { ImageVersionStatus } from '../../domain/image.ts';
import { imageUpdating, imageVersionNotFound } from '../../domain/refusals.ts';
import type { ImageWithVersion } from '../control-plane.ts';
import { nameImage, requireImage, type ImageContext } from './context.ts';
import { canChange } from './make-version.ts';

const VERSIONS_A_PAGE = 50;

/** The version that is to change, and what it becomes. */
export interface VersionStatusChange {
  readonly imageIdentifier: string;
  readonly version: string;
  readonly status: ImageVersionStatus;
}

/**
 * Switches a version on or off; running microVMs are not touched.
 * @throws LullError not-found; conflict while a build or a deletion is under way; validation for a version that never succeeded
 */
export async function setVersionStatus(
  context: ImageContext,
  { imageIdentifier, version: number, status }: VersionStatusChange,
): Promise<ImageWithVersion> {
  const { store, clock } = context;
  const named = nameImage(context, imageIdentifier);
  return context.changes.run(named.name, async () => {
    const image = await requireImage(context, named);
    const version = await store.images.version(named.name, number);
    if (version === undefined) throw imageVersionNotFound(named.arn, number);
    if (!canChange(image)) throw imageUpdating(image.state);
    if (version.status === status) return { image, version };
    if (version.state !== 'SUCCESSFUL') {
      throw new LullError('validation', `Version ${number} of MicroVM image ${named.arn} is in state ${version.state} and cannot be ACTIVE.`);
    }
    const atMs = clock.nowMs();
    const latestActiveVersion = await newestUsable(context, named.name, { version: number, status });
    await store.images.update(named.name, number, { atMs, image: { latestActiveVersion }, version: { status } });
    return { image: { ...image, latestActiveVersion, updatedAtMs: atMs }, version: { ...version, status, updatedAtMs: atMs } };
  });
}

/** The newest version that may be launched once `changed` has its new status. */
async function newestUsable(
  { store }: ImageContext,
  name: string,
  changed: { version: string; status: ImageVersionStatus },
): Promise<string | null> {
  let after: string | undefined;
  do {
    const page = await store.images.versions(name, { limit: VERSIONS_A_PAGE, after });
    const usable = page.items.find(({ version, state, status }) => {
      return state === 'SUCCESSFUL' && (version === changed.version ? changed.status : status) === 'ACTIVE';
    });
    if (usable !== undefined) return usable.version;
    after = page.next ?? undefined;
  } while (after !== undefined);
  return null;
}
