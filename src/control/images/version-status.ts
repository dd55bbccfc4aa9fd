/** UpdateMicrovmImageVersion: which versions may be launched. */
import { LullError } from '../../domain/errors.ts';
import type { ImageVersionStatus } from '../../domain/image.ts';
import { imageUpdating, imageVersionNotFound } from '../../domain/refusals.ts';
import type { ImageWithVersion } from '../control-plane.ts';
import { findVersion, nameImage, requireImage, type ImageContext } from './context.ts';
import { canChange } from './make-version.ts';

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
    await store.images.update(named.name, number, { atMs: clock.nowMs(), version: { status } });
    return findVersion(context, imageIdentifier, number);
  });
}
