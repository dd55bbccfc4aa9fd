/** The tables as Kysely sees them: snake_case in SQL, camelCase here. What they hold is in `migrations.ts`. */
import type { Generated } from 'kysely';
import type { ImageState, ImageVersionState, ImageVersionStatus } from '../domain/image.ts';
import type { ConnectorState } from '../domain/network-connector.ts';
import type { LogSource } from '../domain/log-stream.ts';
import type { MicrovmState } from '../domain/microvm.ts';
import type { ChecksumType } from '../domain/object-store.ts';

/** A column with JSON in it. */
type Json = string;

export interface MicrovmTable {
  /** Order of creation, and the position that a page ends at. */
  seq: Generated<number>;
  microvmId: string;
  endpointId: string;
  state: MicrovmState;
  stateReason: string | null;
  imageName: string;
  imageArn: string;
  imageVersion: string;
  snapshotId: string;
  baselineMib: number;
  executionRoleArn: string | null;
  idlePolicy: Json | null;
  maximumDurationSeconds: number;
  ingressConnectors: Json;
  egressConnectors: Json;
  logging: Json | null;
  runHookPayload: string | null;
  clientToken: string | null;
  requestFingerprint: string | null;
  startedAtMs: number;
  suspendedAtMs: number | null;
  terminatedAtMs: number | null;
  generation: number;
  lastGeneration: number;
  process: Json | null;
}

/** Sums of `baselineMib`, kept by triggers. */
export interface AllocatedMemoryTable {
  state: MicrovmState;
  mib: number;
}

export interface ImageTable {
  seq: Generated<number>;
  id: string;
  name: string;
  imageArn: string;
  state: ImageState;
  createdAtMs: number;
  updatedAtMs: number;
  latestActiveVersion: string | null;
  latestFailedVersion: string | null;
  tags: Json;
  /** How many versions it ever had. */
  versionsMade: number;
}

export interface ImageVersionTable {
  seq: Generated<number>;
  imageName: string;
  version: string;
  snapshotId: string;
  state: ImageVersionState;
  status: ImageVersionStatus;
  config: Json;
  createdAtMs: number;
  updatedAtMs: number;
  build: Json;
  artifactBlobId: string | null;
  clientToken: string | null;
  requestFingerprint: string | null;
}

export interface ConnectorTable {
  seq: Generated<number>;
  connectorId: string;
  arn: string;
  name: string;
  state: ConnectorState;
  stateReason: string;
  configuration: Json;
  operatorRole: string;
  version: number;
  lastUpdate: Json | null;
  modifiedAtMs: number;
  tags: Json;
  clientToken: string;
  requestFingerprint: string;
}

export interface AccessKeyTable {
  seq: Generated<number>;
  accessKeyId: string;
  secretAccessKey: string;
  createdAtMs: number;
  description: string | null;
  /** Of a temporary key; its microVM and its end stand beside it once more, for the indexes. */
  session: Json | null;
  sessionMicrovmId: string | null;
  sessionExpiresAtMs: number | null;
}

export interface TokenKeyTable {
  seq: Generated<number>;
  kid: string;
  key: Uint8Array;
  createdAtMs: number;
}

export interface BucketTable {
  bucket: string;
  createdAtMs: number;
  publicAccessBlock: Json | null;
}

export interface ObjectTable {
  bucket: string;
  key: string;
  blobId: string;
  size: number;
  etag: string;
  contentType: string;
  systemMetadata: Json;
  metadata: Json;
  checksums: Json;
  checksumType: ChecksumType;
  modifiedAtMs: number;
  multipart: Json | null;
}

export interface UploadTable {
  bucket: string;
  key: string;
  uploadId: string;
  contentType: string;
  systemMetadata: Json;
  metadata: Json;
  checksum: Json | null;
  startedAtMs: number;
}

export interface PartTable {
  uploadId: string;
  partNumber: number;
  blobId: string;
  size: number;
  etag: string;
  checksums: Json;
  modifiedAtMs: number;
}

export interface RoleTable {
  roleName: string;
  roleId: string;
  path: string;
  description: string | null;
  maxSessionSeconds: number;
  createdAtMs: number;
  trustPolicy: Json;
  inlinePolicies: Json;
  attachedPolicies: Json;
  tags: Json;
}

export interface LogGroupTable {
  name: string;
  createdAtMs: number;
  retentionDays: number | null;
}

export interface LogStreamTable {
  seq: Generated<number>;
  groupName: string | null;
  name: string;
  source: LogSource;
  sourceId: string;
  createdAtMs: number;
  firstEventAtMs: number | null;
  /** Of one without events, when it was made. */
  lastEventAtMs: number;
  storedBytes: number;
  hasEnded: 0 | 1;
}

export interface Tables {
  microvms: MicrovmTable;
  allocatedMemory: AllocatedMemoryTable;
  images: ImageTable;
  imageVersions: ImageVersionTable;
  connectors: ConnectorTable;
  accessKeys: AccessKeyTable;
  tokenKeys: TokenKeyTable;
  buckets: BucketTable;
  objects: ObjectTable;
  roles: RoleTable;
  uploads: UploadTable;
  parts: PartTable;
  logGroups: LogGroupTable;
  logStreams: LogStreamTable;
}
