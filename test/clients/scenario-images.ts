/** The scenario's image: built, looked at, and updated. */
import type { Json } from './client.ts';
import { BASE_IMAGE, CONFIGURATION, INTERNET, LARGE_MIB, MINIMAL, NOT_BUILDABLE, ON_VERSIONS, SHOWN } from './scenario-image-inputs.ts';
import { recorded, type Step } from './scenario-run.ts';

const microvms = { service: 'lambda-microvms' } as const;
const imageIdentifier = '${imageArn}';
const absent: Json = { $absent: true };
const timestamp: Json = { $is: 'timestamp' };

export const IMAGE_BEGIN: readonly Step[] = [
  {
    id: 'create an image',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'app-${client}', ...CONFIGURATION, tags: { team: 'red', stage: 'test' }, clientToken: 'create-${client}' },
    expect: {
      ...SHOWN,
      imageArn: 'arn:aws:lambda:${region}:${account}:microvm-image:app-${client}',
      name: 'app-${client}',
      state: 'CREATING',
      imageVersion: '1.0',
      createdAt: timestamp,
      latestActiveImageVersion: absent,
      latestFailedImageVersion: absent,
    },
    save: { imageArn: 'imageArn' },
  },
  {
    id: 'create it again with its token',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'app-${client}', ...CONFIGURATION, tags: { team: 'red', stage: 'test' }, clientToken: 'create-${client}' },
    expect: { imageArn: '${imageArn}', state: 'CREATING' },
  },
  {
    id: 'the token with other parameters',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'other-${client}', ...CONFIGURATION, clientToken: 'create-${client}' },
    error: { type: 'ConflictException', status: 409, message: { $matches: 'client token' } },
  },
  {
    id: 'create another of its name',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'app-${client}', ...CONFIGURATION },
    error: recorded('image name taken', { name: 'app-${client}' }),
  },
  { id: 'delete it while it is built', ...microvms, operation: 'DeleteMicrovmImage', input: { imageIdentifier }, error: recorded('image being built') },
  {
    id: 'its version is built',
    ...microvms,
    operation: 'GetMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0' },
    expect: { state: 'IN_PROGRESS', status: 'INACTIVE' },
    repeat: true,
  },
  {
    id: 'its build is under way',
    ...microvms,
    operation: 'ListMicrovmImageBuilds',
    input: { imageIdentifier, imageVersion: '1.0' },
    expect: { items: { $each: { imageArn: '${imageArn}', imageVersion: '1.0', buildState: 'IN_PROGRESS', architecture: 'ARM_64', chipset: 'GRAVITON' } } },
    repeat: true,
  },
  { id: 'run it before it is there', ...microvms, operation: 'RunMicrovm', input: { imageIdentifier }, error: recorded('no active version', { arn: '${imageArn}' }) },
];

export const IMAGE_BUILT: readonly Step[] = [
  {
    id: 'the image is there',
    ...microvms,
    operation: 'GetMicrovmImage',
    input: { imageIdentifier },
    expect: { state: 'CREATED', name: 'app-${client}', latestActiveImageVersion: '1.0', latestFailedImageVersion: absent, tags: { team: 'red', stage: 'test' }, createdAt: timestamp, updatedAt: timestamp },
    repeat: true,
  },
  {
    id: 'its version',
    ...microvms,
    operation: 'GetMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0' },
    expect: { ...SHOWN, imageArn: '${imageArn}', imageVersion: '1.0', state: 'SUCCESSFUL', status: 'ACTIVE', createdAt: timestamp, updatedAt: timestamp, stateReason: absent },
  },
  {
    id: 'its versions',
    ...microvms,
    operation: 'ListMicrovmImageVersions',
    input: { imageIdentifier, maxResults: 50 },
    expect: { items: [{ ...SHOWN, imageVersion: '1.0', state: 'SUCCESSFUL', status: 'ACTIVE' }], nextToken: absent },
  },
  {
    id: 'its builds',
    ...microvms,
    operation: 'ListMicrovmImageBuilds',
    input: { imageIdentifier, imageVersion: '1.0', architecture: 'ARM_64', chipset: 'GRAVITON', chipsetGeneration: '4', maxResults: 1 },
    expect: { items: [{ buildState: 'SUCCESSFUL', chipsetGeneration: '4', stateReason: absent, createdAt: timestamp }] },
    save: { buildId: 'items.0.buildId' },
  },
  {
    id: 'its build',
    ...microvms,
    operation: 'GetMicrovmImageBuild',
    input: { imageIdentifier, imageVersion: '1.0', buildId: '${buildId}' },
    expect: {
      buildId: '${buildId}',
      buildState: 'SUCCESSFUL',
      snapshotBuild: { memorySnapshotSizeInBytes: { $is: 'size' }, codeInstallSizeInBytes: { $is: 'size' }, diskSnapshotSizeInBytes: { $is: 'size' } },
    },
  },
  ...Object.entries(ON_VERSIONS('9.0')).map(([operation, input]): Step => ({
    id: `${operation} of no version`,
    ...microvms,
    operation,
    input: { imageIdentifier, ...input },
    error: recorded('version not found', { arn: '${imageArn}', version: '9.0' }),
  })),
  {
    id: 'images, by name',
    ...microvms,
    operation: 'ListMicrovmImages',
    input: { nameFilter: 'app-${client}', maxResults: 50 },
    expect: { items: { $has: { imageArn: '${imageArn}', name: 'app-${client}', state: 'CREATED', latestActiveImageVersion: '1.0', createdAt: timestamp } } },
  },
];

/** Base images, page by page. */
export const BASES: readonly Step[] = [
  {
    id: 'base images',
    ...microvms,
    operation: 'ListManagedMicrovmImages',
    input: { maxResults: 1 },
    expect: { items: [{ imageArn: BASE_IMAGE, createdAt: { $is: 'time' } }], nextToken: { $is: 'string' } },
    save: { nextBases: 'nextToken' },
  },
  {
    id: 'the next page of base images',
    ...microvms,
    operation: 'ListManagedMicrovmImages',
    input: { maxResults: 50, nextToken: '${nextBases}' },
    expect: { items: { $has: { imageArn: 'arn:aws:lambda:${region}:aws:microvm-image:lull-python' } }, nextToken: absent },
  },
  {
    id: 'versions of a base image',
    ...microvms,
    operation: 'ListManagedMicrovmImageVersions',
    input: { imageIdentifier: BASE_IMAGE, maxResults: 1 },
    expect: { items: [{ imageArn: BASE_IMAGE, imageVersion: '1', createdAt: { $is: 'time' } }], nextToken: { $is: 'string' } },
    save: { nextBaseVersions: 'nextToken' },
  },
  {
    id: 'whether they may be used',
    ...microvms,
    operation: 'ListManagedMicrovmImageVersions',
    input: { imageIdentifier: BASE_IMAGE },
    expect: { items: { $each: { status: 'AVAILABLE' } } },
    // The model that version 1 of the CLI carries is older than this member.
    only: ['javascript', 'boto3'],
  },
  {
    id: 'the next page of versions of a base image',
    ...microvms,
    operation: 'ListManagedMicrovmImageVersions',
    input: { imageIdentifier: BASE_IMAGE, maxResults: 1, nextToken: '${nextBaseVersions}' },
    expect: { items: [{ imageVersion: '0' }], nextToken: absent },
  },
];

/** An image whose first build fails. */
export const BROKEN_IMAGE: readonly Step[] = [
  {
    id: 'create an image that cannot be built',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'broken-${client}', ...NOT_BUILDABLE, logging: { disabled: {} } },
    expect: { state: 'CREATING', logging: { disabled: {} }, tags: absent },
    save: { brokenArn: 'imageArn' },
  },
  {
    id: 'it could not be built',
    ...microvms,
    operation: 'GetMicrovmImage',
    input: { imageIdentifier: '${brokenArn}' },
    expect: { state: 'CREATE_FAILED', latestActiveImageVersion: absent, latestFailedImageVersion: '1.0' },
    repeat: true,
  },
  {
    id: 'images, page by page',
    ...microvms,
    operation: 'ListMicrovmImages',
    input: { maxResults: 1 },
    expect: { items: { $size: 1 }, nextToken: { $is: 'string' } },
    save: { nextImages: 'nextToken' },
  },
  { id: 'the next page of images', ...microvms, operation: 'ListMicrovmImages', input: { maxResults: 1, nextToken: '${nextImages}' }, expect: { items: { $size: 1 } } },
  { id: 'delete what could not be built', ...microvms, operation: 'DeleteMicrovmImage', input: { imageIdentifier: '${brokenArn}' }, expect: { state: 'DELETING' } },
];

const OFF = 'DISABLED';

/** A second version, too large for the quota; a third one fails. */
export const IMAGE_UPDATE: readonly Step[] = [
  {
    id: 'update it with a role that is not there',
    ...microvms,
    operation: 'UpdateMicrovmImage',
    input: { imageIdentifier, ...MINIMAL, buildRoleArn: 'arn:aws:iam::${account}:role/nobody' },
    error: recorded('role not assumable'),
  },
  {
    id: 'update the image',
    ...microvms,
    operation: 'UpdateMicrovmImage',
    input: {
      imageIdentifier,
      ...MINIMAL,
      resources: [{ minimumMemoryInMiB: LARGE_MIB }],
      logging: { disabled: {} },
      hooks: { microvmHooks: { run: OFF, resume: OFF, suspend: OFF, terminate: OFF }, microvmImageHooks: { ready: OFF, validate: OFF } },
      clientToken: 'update-${client}',
    },
    expect: {
      imageArn: '${imageArn}',
      state: 'UPDATING',
      imageVersion: '2.0',
      latestActiveImageVersion: '1.0',
      description: absent,
      logging: { disabled: {} },
      egressNetworkConnectors: [INTERNET],
      environmentVariables: absent,
    },
  },
  {
    id: 'change a version meanwhile',
    ...microvms,
    operation: 'UpdateMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0', status: 'INACTIVE' },
    error: recorded('image is UPDATING'),
  },
  { id: 'delete a version meanwhile', ...microvms, operation: 'DeleteMicrovmImageVersion', input: { imageIdentifier, imageVersion: '1.0' }, error: recorded('image is UPDATING') },
  { id: 'update it meanwhile', ...microvms, operation: 'UpdateMicrovmImage', input: { imageIdentifier, ...MINIMAL }, error: recorded('image is UPDATING') },
];

export const IMAGE_END: readonly Step[] = [
  {
    id: 'the update is there',
    ...microvms,
    operation: 'GetMicrovmImage',
    input: { imageIdentifier },
    expect: { state: 'UPDATED', latestActiveImageVersion: '2.0' },
    repeat: true,
  },
  {
    id: 'run what is beyond the quota',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier },
    error: recorded('memory quota'),
  },
  {
    id: 'a payload that no hook takes',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, imageVersion: '2.0', runHookPayload: 'nobody reads this' },
    error: recorded('payload without run hook'),
  },
  {
    id: 'the second version',
    ...microvms,
    operation: 'GetMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '2.0' },
    expect: { state: 'SUCCESSFUL', status: 'ACTIVE', logging: { disabled: {} }, resources: [{ minimumMemoryInMiB: LARGE_MIB }], description: absent, environmentVariables: absent },
  },
  {
    id: 'take the second version out of use',
    ...microvms,
    operation: 'UpdateMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '2.0', status: 'INACTIVE' },
    expect: { imageVersion: '2.0', status: 'INACTIVE', logging: { disabled: {} } },
  },
  { id: 'put the second to use again', ...microvms, operation: 'UpdateMicrovmImageVersion', input: { imageIdentifier, imageVersion: '2.0', status: 'ACTIVE' }, expect: { status: 'ACTIVE' } },
  {
    id: 'versions, page by page',
    ...microvms,
    operation: 'ListMicrovmImageVersions',
    input: { imageIdentifier, maxResults: 1 },
    expect: { items: { $size: 1 }, nextToken: { $is: 'string' } },
    save: { nextVersions: 'nextToken' },
  },
  {
    id: 'the next page of versions',
    ...microvms,
    operation: 'ListMicrovmImageVersions',
    input: { imageIdentifier, maxResults: 1, nextToken: '${nextVersions}' },
    expect: { items: { $size: 1 }, nextToken: absent },
  },
  {
    id: 'take the first version out of use',
    ...microvms,
    operation: 'UpdateMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0', status: 'INACTIVE' },
    expect: { ...SHOWN, imageVersion: '1.0', status: 'INACTIVE', state: 'SUCCESSFUL' },
  },
  {
    id: 'run what is not in use',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, imageVersion: '1.0' },
    error: recorded('pinned version not active', { arn: '${imageArn}', version: '1.0' }),
  },
  {
    id: 'put it to use again',
    ...microvms,
    operation: 'UpdateMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0', status: 'ACTIVE' },
    expect: { status: 'ACTIVE' },
  },
  { id: 'delete an image in use', ...microvms, operation: 'DeleteMicrovmImage', input: { imageIdentifier }, error: recorded('image in use') },
  { id: 'end the sleeper', ...microvms, operation: 'TerminateMicrovm', input: { microvmIdentifier: '${secondId}' } },
  {
    id: 'the sleeper has ended',
    ...microvms,
    operation: 'GetMicrovm',
    input: { microvmIdentifier: '${secondId}' },
    expect: { state: 'TERMINATED' },
    repeat: true,
  },
  {
    id: 'an update that fails',
    ...microvms,
    operation: 'UpdateMicrovmImage',
    input: { imageIdentifier, ...CONFIGURATION, ...NOT_BUILDABLE },
    expect: { ...SHOWN, ...NOT_BUILDABLE, state: 'UPDATING', imageVersion: '3.0', latestActiveImageVersion: '2.0' },
  },
  {
    id: 'it has failed',
    ...microvms,
    operation: 'GetMicrovmImage',
    input: { imageIdentifier },
    expect: { state: 'UPDATE_FAILED', latestActiveImageVersion: '2.0', latestFailedImageVersion: '3.0' },
    repeat: true,
  },
  {
    id: 'the failed build',
    ...microvms,
    operation: 'ListMicrovmImageBuilds',
    input: { imageIdentifier, imageVersion: '3.0' },
    expect: { items: { $each: { buildState: 'FAILED', stateReason: { $is: 'string' } } } },
    save: { failedBuildId: 'items.0.buildId' },
  },
  {
    id: 'why it failed',
    ...microvms,
    operation: 'GetMicrovmImageBuild',
    input: { imageIdentifier, imageVersion: '3.0', buildId: '${failedBuildId}' },
    expect: { buildState: 'FAILED', stateReason: { $matches: '^The code artifact is not usable' } },
  },
  {
    id: 'the failed version',
    ...microvms,
    operation: 'GetMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '3.0' },
    expect: { state: 'FAILED', status: 'INACTIVE', stateReason: absent },
  },
];
