/** What is refused before anything is made. */
import type { JsonObject } from './client.ts';
import { BASE_IMAGE, BUILD_ROLE, ON_VERSIONS } from './scenario-image-inputs.ts';
import { BUCKET } from './scenario-objects.ts';
import { recorded, type Step } from './scenario-run.ts';

const microvms = { service: 'lambda-microvms' } as const;
const MISSING_IMAGE = 'arn:aws:lambda:${region}:${account}:microvm-image:missing-${client}';
const MISSING_MICROVM = 'microvm-00000000-0000-4000-8000-000000000000';

const create = (id: string, input: JsonObject, rest: Pick<Step, 'error' | 'only'>): Step => ({
  id,
  ...microvms,
  operation: 'CreateMicrovmImage',
  input: { name: 'never-${client}', baseImageArn: BASE_IMAGE, buildRoleArn: BUILD_ROLE, codeArtifact: { uri: `s3://${BUCKET}/app.zip` }, ...input },
  ...rest,
});

const run = (id: string, input: JsonObject, error: NonNullable<Step['error']>): Step => ({
  id,
  ...microvms,
  operation: 'RunMicrovm',
  input: { imageIdentifier: MISSING_IMAGE, ...input },
  error,
});

/** The operations on an image, each with the rest of its input. */
const ON_IMAGES: Readonly<Record<string, JsonObject>> = {
  GetMicrovmImage: {},
  UpdateMicrovmImage: { baseImageArn: BASE_IMAGE, buildRoleArn: BUILD_ROLE, codeArtifact: { uri: `s3://${BUCKET}/app.zip` } },
  DeleteMicrovmImage: {},
  ListMicrovmImageVersions: {},
};
const ON_MICROVMS: Readonly<Record<string, JsonObject>> = {
  GetMicrovm: {},
  SuspendMicrovm: {},
  ResumeMicrovm: {},
  TerminateMicrovm: {},
  CreateMicrovmAuthToken: { expirationInMinutes: 1, allowedPorts: [{ port: 80 }] },
  CreateMicrovmShellAuthToken: { expirationInMinutes: 1 },
};

/** Listings, each with what it must have. */
const LISTS: Readonly<Record<string, JsonObject>> = {
  ListMicrovms: {},
  ListMicrovmImages: {},
  ListManagedMicrovmImages: {},
  ListMicrovmImageVersions: { imageIdentifier: MISSING_IMAGE },
  ListManagedMicrovmImageVersions: { imageIdentifier: BASE_IMAGE },
  ListMicrovmImageBuilds: { imageIdentifier: MISSING_IMAGE, imageVersion: '1.0' },
};

const tooLong = (path: string, limit: number) => recorded('constraint: length', { path, n: `${limit}` });

export const REFUSALS: readonly Step[] = [
  ...Object.entries(ON_IMAGES).map(([operation, input]): Step => ({
    id: `${operation} of no image`,
    ...microvms,
    operation,
    input: { imageIdentifier: MISSING_IMAGE, ...input },
    error: recorded('image not found', { arn: MISSING_IMAGE }),
  })),
  ...Object.entries({ ...ON_IMAGES, ...ON_VERSIONS('1.0') }).map(([operation, input]): Step => ({
    id: `${operation} without an ARN`,
    ...microvms,
    operation,
    input: { imageIdentifier: 'no:arn', ...input },
    error: recorded('image identifier is no ARN', { identifier: 'no:arn' }),
  })),
  ...Object.entries({ ...ON_IMAGES, ...ON_VERSIONS('1.0'), RunMicrovm: {} }).map(([operation, input]): Step => ({
    id: `${operation} of an ARN with a slash`,
    ...microvms,
    operation,
    input: { imageIdentifier: 'arn:aws:lambda:${region}:${account}:microvm-image/name', ...input },
    error: recorded('slash ARN'),
  })),
  ...Object.entries(ON_MICROVMS).map(([operation, input]): Step => ({
    id: `${operation} of no microVM`,
    ...microvms,
    operation,
    input: { microvmIdentifier: MISSING_MICROVM, ...input },
    error: recorded('microVM not found', { id: MISSING_MICROVM }),
  })),
  ...Object.entries(ON_MICROVMS).map(([operation, input]): Step => ({
    id: `${operation} of an identifier that is too long`,
    ...microvms,
    operation,
    input: { microvmIdentifier: 'm'.repeat(257), ...input },
    error: tooLong('microvmIdentifier', 256),
  })),
  ...Object.entries(LISTS).map(([operation, input]): Step => ({
    id: `${operation} of too many at once`,
    ...microvms,
    operation,
    input: { ...input, maxResults: 51 },
    error: { type: 'ValidationException', status: 400, message: "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50" },
  })),
  {
    id: 'microVMs of no image',
    ...microvms,
    operation: 'ListMicrovms',
    input: { imageIdentifier: MISSING_IMAGE },
    expect: { items: [] },
  },
  {
    id: 'versions of no base image',
    ...microvms,
    operation: 'ListManagedMicrovmImageVersions',
    input: { imageIdentifier: 'arn:aws:lambda:${region}:aws:microvm-image:none' },
    error: { type: 'ResourceNotFoundException', status: 404, message: { $matches: 'none' } },
  },
  run('run no image', {}, recorded('no active version', { arn: MISSING_IMAGE })),
  run('run what is no ARN', { imageIdentifier: 'x:y' }, recorded('run without an ARN')),
  run('a payload that is too long', { runHookPayload: 'x'.repeat(4097) }, tooLong('runHookPayload', 4096)),
  create('a memory size that does not exist', { resources: [{ minimumMemoryInMiB: 333 }] }, { error: recorded('memory size', { n: '333', arn: BASE_IMAGE }) }),
  create('a base version that does not exist', { baseImageVersion: '999' }, { error: recorded('base version unknown', { arn: BASE_IMAGE, version: '999' }) }),
  create('an artifact elsewhere', { codeArtifact: { uri: 'https://example.com/app.zip' } }, { error: recorded('artifact not in S3') }),
  create('a runtime hook without ready', { hooks: { port: 8080, microvmHooks: { run: 'ENABLED' } } }, { error: recorded('hook without ready') }),
  create('a role that is not there', { buildRoleArn: 'arn:aws:iam::${account}:role/nobody' }, { error: recorded('role not assumable') }),
  create('a name with a space', { name: 'no spaces' }, { error: recorded('constraint: pattern', { value: 'no spaces', path: 'name', pattern: '[a-zA-Z0-9-_]+' }) }),
  create('a name that is too long', { name: 'x'.repeat(65) }, { error: tooLong('name', 64) }),
  create('two violations at once', { name: 'no spaces', buildRoleArn: 'nobody of any account' }, { error: recorded('constraint: several', { N: '2' }) }),
  {
    id: 'no artifact',
    ...microvms,
    operation: 'CreateMicrovmImage',
    input: { name: 'never', baseImageArn: BASE_IMAGE, buildRoleArn: BUILD_ROLE },
    error: recorded('constraint: not null', { path: 'codeArtifact' }),
    only: ['javascript'],
  },
  {
    id: 'allPorts: true',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: MISSING_MICROVM, expirationInMinutes: 1, allowedPorts: [{ allPorts: true }] },
    error: recorded('allPorts: true'),
    only: ['javascript'],
  },
];
