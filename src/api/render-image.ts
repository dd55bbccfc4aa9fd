/** Images, versions and builds as AWS shows them: contract reference, sections 1.3 and 1.10. */
import type { ImageSummary } from '../contract/images.ts';
import type { OperationAnswer } from '../contract/operations.ts';
import type { ImageWithVersion } from '../control/control-plane.ts';
import type { Image, ImageConfig, ImageVersion } from '../domain/image.ts';
import { epochSeconds } from './render-microvm.ts';

/** One build per version; AWS names its chips (section 1.4), and clients know no other. */
const ARCHITECTURE = 'ARM_64';
const CHIPSET = { chipset: 'GRAVITON', chipsetGeneration: '4' } as const;

export const renderImageSummary = (image: Image): ImageSummary => ({
  id: image.id,
  imageArn: image.imageArn,
  name: image.name,
  state: image.state,
  createdAt: epochSeconds(image.createdAtMs),
  latestActiveImageVersion: image.latestActiveVersion,
  latestFailedImageVersion: image.latestFailedVersion,
});

export const renderImage = (image: Image): OperationAnswer<'GetMicrovmImage'> => ({
  ...renderImageSummary(image),
  tags: { ...image.tags },
  updatedAt: epochSeconds(image.updatedAtMs),
});

function renderConfig(config: ImageConfig) {
  return {
    baseImageArn: config.baseImageArn,
    baseImageVersion: config.baseImageVersion,
    buildRoleArn: config.buildRoleArn,
    codeArtifact: { uri: config.codeArtifactUri },
    description: config.description,
    logging: config.logging,
    egressNetworkConnectors: [...config.egressConnectors],
    cpuConfigurations: config.cpuArchitectures?.map((architecture) => ({ architecture })) ?? null,
    resources: [{ minimumMemoryInMiB: config.minimumMemoryMib }],
    additionalOsCapabilities: config.additionalOsCapabilities === null ? null : [...config.additionalOsCapabilities],
    hooks: config.hooks === null ? null : { ...config.hooks },
    environmentVariables: config.environmentVariables === null ? null : { ...config.environmentVariables },
  };
}

/** Answer of an update; section 1.10: the latest active version is still the old one. */
export const renderUpdatedImage = ({ image, version }: ImageWithVersion): OperationAnswer<'UpdateMicrovmImage'> => ({
  ...renderImageSummary(image),
  ...renderConfig(version.config),
  buildPhaseOverrides: null,
  roleConfiguration: null,
  imageVersion: version.version,
  updatedAt: epochSeconds(image.updatedAtMs),
});

/** Answer of a creation: `tags` is null where none were given (section 1.10). */
export function renderCreatedImage(created: ImageWithVersion): OperationAnswer<'CreateMicrovmImage'> {
  const { tags } = created.image;
  return { ...renderUpdatedImage(created), tags: Object.keys(tags).length === 0 ? null : { ...tags } };
}

/** `"SUCCESSFUL#YYMMDDHH"`: section 1.10. */
const stateBucket = (version: ImageVersion) =>
  `${version.state}#${new Date(version.updatedAtMs).toISOString().replace(/\D/g, '').slice(2, 10)}`;

/** Section 2.2: the reason of a failure is on the build only. */
export const renderVersion = (imageArn: string, version: ImageVersion): OperationAnswer<'GetMicrovmImageVersion'> => ({
  imageArn,
  imageVersion: version.version,
  state: version.state,
  status: version.status,
  ...renderConfig(version.config),
  createdAt: epochSeconds(version.createdAtMs),
  updatedAt: epochSeconds(version.updatedAtMs),
  stateReason: null,
  tags: null,
  versionStateTimeBucket: stateBucket(version),
});

export type BuildItem = OperationAnswer<'ListMicrovmImageBuilds'>['items'][number];

export const renderBuildItem = ({ image, version }: ImageWithVersion): BuildItem => ({
  imageArn: image.imageArn,
  imageVersion: version.version,
  buildId: version.build.buildId,
  buildState: version.build.state,
  architecture: version.config.cpuArchitectures?.[0] ?? ARCHITECTURE,
  ...CHIPSET,
  createdAt: epochSeconds(version.build.createdAtMs),
  stateReason: version.build.stateReason,
  terminationReasonCode: null,
});

export function renderBuild(found: ImageWithVersion): OperationAnswer<'GetMicrovmImageBuild'> {
  const { sizes } = found.version.build;
  const snapshotBuild =
    sizes === null
      ? null
      : {
          memorySnapshotSizeInBytes: sizes.memoryBytes ?? null,
          codeInstallSizeInBytes: sizes.codeBytes,
          diskSnapshotSizeInBytes: sizes.diskBytes ?? null,
        };
  return { ...renderBuildItem(found), snapshotBuild };
}
