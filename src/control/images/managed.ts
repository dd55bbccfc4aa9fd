/** The base images on offer (section 2.1): Lull's own, and AWS's by name. */
import { managedImageArn, type Realm } from '../../domain/ids.ts';
import type { BaseImage } from '../../domain/platform.ts';
import type { ManagedImage } from '../control-plane.ts';

/** Section 2.1: the one base image that AWS has, with the dates of its versions. */
const AL2023 = {
  name: 'al2023-1',
  versions: [
    { version: '1', createdAtMs: Date.UTC(2026, 6, 21) },
    { version: '0', createdAtMs: Date.UTC(2026, 5, 17) },
  ],
} as const;

/**
 * What ListManagedMicrovmImages shows. `al2023-1` is among them because scripts written for AWS name it; what a build
 * starts from is what its Dockerfile says.
 * @param baseImages that set-up has made
 */
export function managedImages(realm: Realm, baseImages: readonly Pick<BaseImage, 'arnName' | 'createdAtMs'>[]): ManagedImage[] {
  const ours = baseImages.map(({ arnName, createdAtMs }) => ({
    imageArn: managedImageArn(realm, arnName),
    createdAtMs,
    versions: [{ version: '1', createdAtMs, status: 'AVAILABLE' as const }],
  }));
  const aws = {
    imageArn: managedImageArn(realm, AL2023.name),
    createdAtMs: AL2023.versions[1].createdAtMs,
    versions: AL2023.versions.map((version) => ({ ...version, status: 'AVAILABLE' as const })),
  };
  return [aws, ...ours];
}
