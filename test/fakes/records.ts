/** Records with nothing special about them, for tests that care about one field or two. */
import { DEFAULT_REALM, imageArn } from '../../src/domain/ids.ts';
import type { Image, ImageConfig, ImageVersion } from '../../src/domain/image.ts';
import type { Microvm } from '../../src/domain/microvm.ts';
import { connectorArn, type NetworkConnector } from '../../src/domain/network-connector.ts';
import type { MultipartUpload, StoredObject, UploadedPart } from '../../src/domain/object-store.ts';
import type { Store } from '../../src/domain/ports.ts';

const AT_MS = 1_785_391_234_567;

/** What a version is while microVMs of it may be launched. */
export const LAUNCHABLE = { state: 'SUCCESSFUL', status: 'ACTIVE' } as const;

export const imageConfig = (fields: Partial<ImageConfig> = {}): ImageConfig => ({
  baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1',
  baseImageVersion: '1.0',
  buildRoleArn: 'arn:aws:iam::000000000000:role/build',
  codeArtifactUri: 's3://artifacts/app.zip',
  description: null,
  logging: null,
  egressConnectors: ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS'],
  cpuArchitectures: null,
  minimumMemoryMib: 512,
  additionalOsCapabilities: null,
  hooks: null,
  environmentVariables: null,
  ...fields,
});

export const imageRecord = (name: string, fields: Partial<Image> = {}): Image => ({
  id: `id-of-${name}`,
  name,
  imageArn: imageArn(DEFAULT_REALM, name),
  state: 'CREATING',
  createdAtMs: AT_MS,
  updatedAtMs: AT_MS,
  latestActiveVersion: null,
  latestFailedVersion: null,
  tags: {},
  ...fields,
});

export const versionRecord = (imageName: string, version = '1.0', fields: Partial<ImageVersion> = {}): ImageVersion => ({
  imageName,
  version,
  snapshotId: `snapshot-${imageName}-${version}`,
  state: 'PENDING',
  status: 'INACTIVE',
  config: imageConfig(),
  createdAtMs: AT_MS,
  updatedAtMs: AT_MS,
  artifactBlobId: null,
  build: { buildId: `build-${imageName}-${version}`, state: 'PENDING', stateReason: null, sizes: null, createdAtMs: AT_MS },
  ...fields,
});

/** Inserts an image with a version of which microVMs may be launched. */
export async function insertLaunchable({ images }: Pick<Store, 'images'>, name = 'app', fields: Partial<ImageVersion> = {}): Promise<void> {
  await images.insert(imageRecord(name, { state: 'CREATED' }), versionRecord(name, '1.0', { ...LAUNCHABLE, ...fields }));
}

/** @param name tells the records of a test apart; its id is `microvm-<name>` */
export const microvmRecord = (name: string, fields: Partial<Microvm> = {}): Microvm => ({
  microvmId: `microvm-${name}`,
  endpointId: `endpoint-${name}`,
  state: 'PENDING',
  stateReason: null,
  imageName: 'app',
  imageArn: imageArn(DEFAULT_REALM, 'app'),
  imageVersion: '1.0',
  snapshotId: 'snapshot-app-1.0',
  baselineMib: 512,
  executionRoleArn: null,
  idlePolicy: null,
  maximumDurationSeconds: 28_800,
  ingressConnectors: [],
  egressConnectors: [],
  logging: null,
  runHookPayload: null,
  clientToken: null,
  requestFingerprint: null,
  startedAtMs: AT_MS,
  suspendedAtMs: null,
  terminatedAtMs: null,
  generation: 0,
  lastGeneration: 0,
  process: null,
  ...fields,
});

/** @param name also tells its id: `nc-<name>` */
export const connectorRecord = (name: string, fields: Partial<NetworkConnector> = {}): NetworkConnector => ({
  connectorId: `nc-${name}`,
  arn: connectorArn(DEFAULT_REALM, `nc-${name}`),
  name,
  state: 'ACTIVE',
  stateReason: 'Initial creation',
  configuration: { subnetIds: ['subnet-1'], securityGroupIds: [], networkProtocol: 'IPv4' },
  operatorRole: 'arn:aws:iam::000000000000:role/network',
  version: 1,
  lastUpdate: null,
  modifiedAtMs: AT_MS,
  tags: {},
  request: { clientToken: `token-${name}`, fingerprint: 'f' },
  ...fields,
});

export const objectRecord = (bucket: string, key: string, fields: Partial<StoredObject> = {}): StoredObject => ({
  bucket,
  key,
  blobId: `blob-${bucket}-${key}`,
  size: 3,
  etag: '900150983cd24fb0d6963f7d28e17f72',
  contentType: 'application/zip',
  systemMetadata: {},
  metadata: {},
  checksums: {},
  checksumType: 'FULL_OBJECT',
  modifiedAtMs: AT_MS,
  multipart: null,
  ...fields,
});

/** In the bucket `b`. */
export const uploadRecord = (key: string, uploadId: string, fields: Partial<MultipartUpload> = {}): MultipartUpload => ({
  bucket: 'b',
  key,
  uploadId,
  contentType: 'application/zip',
  systemMetadata: {},
  metadata: {},
  checksum: null,
  startedAtMs: AT_MS,
  ...fields,
});

export const partRecord = (partNumber: number, fields: Partial<UploadedPart> = {}): UploadedPart => ({
  partNumber,
  blobId: `part-${partNumber}`,
  size: 3,
  etag: '900150983cd24fb0d6963f7d28e17f72',
  checksums: {},
  modifiedAtMs: AT_MS,
  ...fields,
});
