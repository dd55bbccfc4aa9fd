/** Inputs and answers of the image operations: contract reference, sections 1.3, 1.4 and 1.10. */
import { z } from 'zod';
import { boundedList, boundedMap, nullable, optional, patterned, text } from './constraints.ts';
import {
  clientToken,
  connectorArn,
  imageIdentifier,
  imageVersion,
  logging,
  loggingAnswer,
  nonBlank,
  pageAnswer,
  pageInput,
  roleArn,
  tagMap,
  timestamp,
} from './microvms.ts';

/** Section 1.4. */
const architecture = z.enum(['ARM_64']);
const hookState = z.enum(['ENABLED', 'DISABLED']);
const runtimeTimeout = z.int().min(1).max(60);
const buildTimeout = z.int().min(1).max(3600);

const hooks = z.object({
  port: optional(z.int().min(1).max(65_535)),
  microvmHooks: optional(
    z.object({
      run: optional(hookState),
      resume: optional(hookState),
      suspend: optional(hookState),
      terminate: optional(hookState),
      runTimeoutInSeconds: optional(runtimeTimeout),
      resumeTimeoutInSeconds: optional(runtimeTimeout),
      suspendTimeoutInSeconds: optional(runtimeTimeout),
      terminateTimeoutInSeconds: optional(runtimeTimeout),
    }),
  ),
  microvmImageHooks: optional(
    z.object({
      ready: optional(hookState),
      validate: optional(hookState),
      readyTimeoutInSeconds: optional(buildTimeout),
      validateTimeoutInSeconds: optional(buildTimeout),
    }),
  ),
});

const configInput = {
  baseImageArn: nonBlank,
  buildRoleArn: roleArn,
  codeArtifact: z.object({ uri: nonBlank }),
  baseImageVersion: nullable(imageVersion),
  description: nullable(z.string()),
  logging,
  egressNetworkConnectors: nullable(boundedList(connectorArn, { max: 1 })),
  cpuConfigurations: nullable(boundedList(z.object({ architecture }))),
  resources: nullable(boundedList(z.object({ minimumMemoryInMiB: z.int() }), { max: 1 })),
  additionalOsCapabilities: nullable(boundedList(z.enum(['ALL']))),
  hooks: nullable(hooks),
  environmentVariables: nullable(boundedMap(patterned('[^\\s]+').min(1).max(256), text(0, 4096), 50)),
  clientToken,
};

export const createImageInput = z.object({
  name: patterned('[a-zA-Z0-9-_]+').min(1).max(64),
  ...configInput,
  tags: nullable(tagMap),
});

export const updateImageInput = z.object({ imageIdentifier, ...configInput });
export type ImageConfigWireInput = z.output<typeof updateImageInput>;

export const imageLabel = z.object({ imageIdentifier });
export const versionLabels = z.object({ imageIdentifier, imageVersion });
export const buildLabels = z.object({ imageIdentifier, imageVersion, buildId: nonBlank });
export const updateVersionInput = z.object({ imageIdentifier, imageVersion, status: z.enum(['ACTIVE', 'INACTIVE']) });
export const listImagesInput = z.object({ ...pageInput, nameFilter: optional(nonBlank) });
export const listVersionsInput = z.object({ imageIdentifier, ...pageInput });
export const listBuildsInput = z.object({
  imageIdentifier,
  imageVersion,
  ...pageInput,
  architecture: optional(architecture),
  chipset: optional(z.enum(['GRAVITON'])),
  chipsetGeneration: optional(nonBlank),
});
export const listManagedInput = z.object(pageInput);

const imageState = z.enum([
  'CREATING',
  'CREATED',
  'CREATE_FAILED',
  'UPDATING',
  'UPDATED',
  'UPDATE_FAILED',
  'DELETING',
  'DELETE_FAILED',
  'DELETED',
]);
const versionState = z.enum(['PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED', 'DELETING', 'DELETED', 'DELETE_FAILED']);

/** The configuration in answers; the last two members are unmodelled (section 1.10). */
const configAnswer = {
  baseImageArn: z.string(),
  baseImageVersion: z.string().nullable(),
  buildRoleArn: z.string(),
  codeArtifact: z.object({ uri: z.string() }),
  description: z.string().nullable(),
  logging: loggingAnswer.nullable(),
  egressNetworkConnectors: z.array(z.string()).nullable(),
  cpuConfigurations: z.array(z.object({ architecture: z.string() })).nullable(),
  resources: z.array(z.object({ minimumMemoryInMiB: z.int() })).nullable(),
  additionalOsCapabilities: z.array(z.string()).nullable(),
  hooks: z.looseObject({}).nullable(),
  environmentVariables: z.record(z.string(), z.string()).nullable(),
};
const unmodelledConfig = { buildPhaseOverrides: z.null(), roleConfiguration: z.null() };

const imageSummary = z.object({
  id: z.string(),
  imageArn: z.string(),
  name: z.string(),
  state: imageState,
  createdAt: timestamp,
  latestActiveImageVersion: z.string().nullable(),
  latestFailedImageVersion: z.string().nullable(),
});
export type ImageSummary = z.output<typeof imageSummary>;

export const getImageAnswer = z.object({
  ...imageSummary.shape,
  tags: z.record(z.string(), z.string()),
  updatedAt: timestamp.nullable(),
});

export const updateImageAnswer = z.object({
  ...imageSummary.shape,
  ...configAnswer,
  ...unmodelledConfig,
  imageVersion: z.string(),
  updatedAt: timestamp.nullable(),
});
export const createImageAnswer = z.object({ ...updateImageAnswer.shape, tags: z.record(z.string(), z.string()).nullable() });

export const listImagesAnswer = pageAnswer(imageSummary);
export const deleteImageAnswer = z.object({ imageIdentifier: z.string(), state: imageState });
export const deleteVersionAnswer = z.object({ imageIdentifier: z.string(), imageVersion: z.string(), state: versionState });

export const versionAnswer = z.object({
  imageArn: z.string(),
  imageVersion: z.string(),
  state: versionState,
  status: z.enum(['ACTIVE', 'INACTIVE']),
  ...configAnswer,
  createdAt: timestamp,
  updatedAt: timestamp.nullable(),
  stateReason: z.string().nullable(),
  tags: z.null(),
  versionStateTimeBucket: z.string(),
});
export const listVersionsAnswer = pageAnswer(versionAnswer);

const buildSummary = z.object({
  imageArn: z.string(),
  imageVersion: z.string(),
  buildId: z.string(),
  buildState: z.enum(['PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED']),
  architecture: z.string(),
  chipset: z.string(),
  chipsetGeneration: z.string(),
  createdAt: timestamp,
  stateReason: z.string().nullable(),
  terminationReasonCode: z.null(),
});
export const getBuildAnswer = z.object({
  ...buildSummary.shape,
  snapshotBuild: z
    .object({
      memorySnapshotSizeInBytes: z.number().nullable(),
      codeInstallSizeInBytes: z.number(),
      diskSnapshotSizeInBytes: z.number().nullable(),
    })
    .nullable(),
});
export const listBuildsAnswer = pageAnswer(buildSummary);

export const listManagedImagesAnswer = pageAnswer(
  z.object({ imageArn: z.string(), createdAt: timestamp, updatedAt: timestamp.nullable() }),
);
export const listManagedVersionsAnswer = pageAnswer(
  z.object({
    imageArn: z.string(),
    imageVersion: z.string(),
    createdAt: timestamp,
    status: z.enum(['AVAILABLE', 'DEPRECATED']),
    updatedAt: timestamp.nullable(),
  }),
);
