/** What the scenario's images are made of. */
import type { Json, JsonObject } from './client.ts';
import { BUCKET } from './scenario-objects.ts';

export const BASE_IMAGE = 'arn:aws:lambda:${region}:aws:microvm-image:al2023-1';
export const BUILD_ROLE = 'arn:aws:iam::${account}:role/build-${client}';
export const INTERNET = 'arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:INTERNET_EGRESS';
const SMALL_MIB = 128;
/** More than the quota of the scenario's server: it builds, and cannot run. */
export const LARGE_MIB = 2048;

const HOOKS: Json = {
  port: 8080,
  microvmHooks: {
    run: 'ENABLED',
    resume: 'ENABLED',
    suspend: 'ENABLED',
    terminate: 'ENABLED',
    runTimeoutInSeconds: 10,
    resumeTimeoutInSeconds: 11,
    suspendTimeoutInSeconds: 12,
    terminateTimeoutInSeconds: 13,
  },
  microvmImageHooks: { ready: 'ENABLED', validate: 'DISABLED', readyTimeoutInSeconds: 60, validateTimeoutInSeconds: 61 },
};

/** Every member of a configuration, with a value that is not its default where there is one. */
export const CONFIGURATION = {
  baseImageArn: BASE_IMAGE,
  baseImageVersion: '1',
  buildRoleArn: BUILD_ROLE,
  codeArtifact: { uri: `s3://${BUCKET}/app.zip` },
  description: 'an image of ${client}',
  logging: { cloudWatch: { logGroup: '/scenario/${client}', logStream: 'build' } },
  egressNetworkConnectors: [INTERNET],
  cpuConfigurations: [{ architecture: 'ARM_64' }],
  resources: [{ minimumMemoryInMiB: SMALL_MIB }],
  additionalOsCapabilities: ['ALL'],
  hooks: HOOKS,
  environmentVariables: { GREETING: 'hello' },
} satisfies Record<string, Json>;

/** What is left out goes back to its default. */
export const MINIMAL = { baseImageArn: BASE_IMAGE, buildRoleArn: BUILD_ROLE, codeArtifact: CONFIGURATION.codeArtifact } satisfies Record<string, Json>;
export const NOT_BUILDABLE = { ...MINIMAL, codeArtifact: { uri: `s3://${BUCKET}/no-folder/kéy.zip` } };

/** As it is shown: versions of the base image get a minor number. */
export const SHOWN = { ...CONFIGURATION, baseImageVersion: '1.0' };

/** The operations on a version of an image, each with the rest of its input. */
export const ON_VERSIONS = (imageVersion: string): Readonly<Record<string, JsonObject>> => ({
  GetMicrovmImageVersion: { imageVersion },
  UpdateMicrovmImageVersion: { imageVersion, status: 'ACTIVE' },
  DeleteMicrovmImageVersion: { imageVersion },
  ListMicrovmImageBuilds: { imageVersion },
  GetMicrovmImageBuild: { imageVersion, buildId: '00000000-0000-4000-8000-000000000000' },
});
