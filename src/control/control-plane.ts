/**
 * Every use-case of the control plane, as the API sees it: a handler makes one call here. Inputs are already parsed and
 * have their defaults; results are records of the domain, which the API renders.
 */
import type { DiskFigures } from '../domain/disk.ts';
import type { Image, ImageConfig, ImageVersion, ImageVersionStatus, LoggingConfig } from '../domain/image.ts';
import type { VerifiedFile, VerifyRequest } from '../domain/integrity.ts';
import type { IdlePolicy, Microvm } from '../domain/microvm.ts';
import type { ConnectorState, NetworkConnector, VpcEgressConfiguration } from '../domain/network-connector.ts';
import type { AccessKey, BuildEvent, EndpointClaims, Page, PageRequest, StepTimes, SuspendReport, Tags } from '../domain/ports.ts';
import type { GarbageUseCases } from './garbage.ts';
import type { LogUseCases } from './logs/log-use-cases.ts';
import type { QuotaUseCases } from './quota-use-cases.ts';
import type { RoleCredentials } from './microvms/execution-role.ts';
import type { ReconcilerFigures } from './reconciler.ts';
import type { RoleUseCases } from './roles/role-use-cases.ts';

/** The configuration as the caller gave it; what it left out (`null`) gets its default from the use-case. */
export type ImageConfigInput = Omit<ImageConfig, 'baseImageVersion' | 'egressConnectors' | 'minimumMemoryMib'> & {
  readonly baseImageVersion: string | null;
  readonly egressConnectors: readonly string[] | null;
  readonly minimumMemoryMib: number | null;
};

export interface CreateImageInput {
  readonly name: string;
  readonly config: ImageConfigInput;
  readonly tags: Readonly<Record<string, string>>;
  readonly clientToken: string | null;
}

export interface UpdateImageInput {
  readonly imageIdentifier: string;
  readonly config: ImageConfigInput;
  readonly clientToken: string | null;
}

/** Which version is made again; null for the newest that may be launched, or else the newest. */
export interface RebuildImageInput {
  readonly imageIdentifier: string;
  readonly imageVersion: string | null;
}

/** An image and the version that the call is about. */
export interface ImageWithVersion {
  readonly image: Image;
  readonly version: ImageVersion;
}

/** A managed base image (section 2.1). */
export interface ManagedImage {
  readonly imageArn: string;
  readonly createdAtMs: number;
  readonly versions: readonly { readonly version: string; readonly createdAtMs: number; readonly status: 'AVAILABLE' | 'DEPRECATED' }[];
}

/** Image operations. Identifiers are ARNs or names, as received. Errors: `src/domain/refusals.ts`. */
export interface ImageUseCases {
  create(input: CreateImageInput): Promise<ImageWithVersion>;
  update(input: UpdateImageInput): Promise<ImageWithVersion>;
  /** Adds a version from the kept code and the configuration of another one. */
  rebuild(input: RebuildImageInput): Promise<ImageWithVersion>;
  get(imageIdentifier: string): Promise<Image>;
  list(filter: { nameFilter?: string | undefined }, page: PageRequest): Promise<Page<Image>>;
  /** Asynchronous: answers DELETING, the image is gone when it 404s. */
  delete(imageIdentifier: string): Promise<Image>;
  /** Asynchronous: answers DELETING, the version is gone when it 404s. */
  deleteVersion(imageIdentifier: string, version: string): Promise<ImageWithVersion>;
  version(imageIdentifier: string, version: string): Promise<ImageWithVersion>;
  versions(imageIdentifier: string, page: PageRequest): Promise<Page<ImageVersion> & { image: Image }>;
  setVersionStatus(imageIdentifier: string, version: string, status: ImageVersionStatus): Promise<ImageWithVersion>;
  managed(): readonly ManagedImage[];
  buildEvents(
    imageIdentifier: string,
    version: string,
    options: { follow: boolean; signal: AbortSignal },
  ): Promise<AsyncIterable<BuildEvent>>;
}

export interface RunMicrovmInput {
  readonly imageIdentifier: string;
  readonly imageVersion: string | null;
  readonly executionRoleArn: string | null;
  readonly idlePolicy: IdlePolicy | null;
  readonly maximumDurationSeconds: number;
  readonly runHookPayload: string | null;
  readonly ingressConnectors: readonly string[] | null;
  readonly egressConnectors: readonly string[] | null;
  readonly logging: LoggingConfig | null;
  readonly clientToken: string | null;
}

/** How the last launch, suspend and wake of a microVM went: what `GET /lull/v1/microvms/{id}/report` shows. */
export interface MicrovmReport {
  readonly launch: StepTimes | null;
  readonly suspend: SuspendReport | null;
  readonly wake: StepTimes | null;
}

/** MicroVM operations. Errors: `src/domain/refusals.ts`. */
export interface MicrovmUseCases {
  /** Answers PENDING at once; the launch goes on behind it. */
  run(input: RunMicrovmInput): Promise<Microvm>;
  get(microvmId: string): Promise<Microvm>;
  list(filter: { imageArn?: string | undefined; imageVersion?: string | undefined }, page: PageRequest): Promise<Page<Microvm>>;
  /** Resolves when it sleeps; no-op where it sleeps already. */
  suspend(microvmId: string): Promise<void>;
  /** Resolves when it runs; no-op where it runs already. */
  resume(microvmId: string): Promise<void>;
  /** Resolves when it is gone; no-op where it is gone already. */
  terminate(microvmId: string): Promise<void>;
  /** @throws LullError validation where the microVM has no SHELL_INGRESS, or ALL_INGRESS beside it */
  createShellAuthToken(input: { microvmId: string; expirationMinutes: number }): Promise<string>;
  createAuthToken(input: { microvmId: string; expirationMinutes: number; ports: EndpointClaims['ports'] }): Promise<string>;
  /** For the guest alone: the keys of its execution role; undefined where it has none (section 8.2). */
  executionRoleCredentials(microvmId: string): Promise<RoleCredentials | undefined>;
  report(microvmId: string): Promise<MicrovmReport>;
  logs(microvmId: string, options: { follow: boolean; signal: AbortSignal }): Promise<AsyncIterable<Buffer>>;
}

export interface CreateConnectorInput {
  readonly name: string;
  readonly configuration: VpcEgressConfiguration;
  readonly operatorRole: string;
  readonly tags: Tags;
  readonly clientToken: string;
}

export interface UpdateConnectorInput {
  readonly identifier: string;
  /** Null leaves it as it is; so does a null role. */
  readonly configuration: VpcEgressConfiguration | null;
  readonly operatorRole: string | null;
  readonly clientToken: string;
}

/** Identifiers are ARNs, ids or names, as received. Errors: `src/domain/refusals.ts`. */
export interface ConnectorUseCases {
  create(input: CreateConnectorInput): Promise<NetworkConnector>;
  get(identifier: string): Promise<NetworkConnector>;
  list(filter: { state?: ConnectorState | undefined }, page: PageRequest): Promise<Page<NetworkConnector>>;
  update(input: UpdateConnectorInput): Promise<NetworkConnector>;
  /** Gone when it resolves; the record says DELETING, as AWS answers. */
  delete(identifier: string): Promise<NetworkConnector>;
}

/** What is to be added (replacing what is there under the same key) and taken away. */
export interface TagChange {
  readonly add?: Tags;
  readonly remove?: readonly string[];
}

/** Resources are whole ARNs. Errors: `src/domain/refusals.ts`. */
export interface TagUseCases {
  list(resource: string): Promise<Tags>;
  /** Merges; taking away a key that is not there succeeds. */
  change(resource: string, change: TagChange): Promise<void>;
}

/** An access key without its secret. */
export interface ListedKey extends Pick<AccessKey, 'accessKeyId' | 'createdAtMs' | 'description'> {
  /** It is the one in `credentials.json`. */
  readonly isOwn: boolean;
}

/** The installation's access keys. */
export interface KeyUseCases {
  /** The one moment in which a secret is told. */
  create(description: string | null): Promise<AccessKey>;
  /** Newest first. */
  list(): Promise<readonly ListedKey[]>;
  /** @throws LullError not-found; validation for the installation's own */
  revoke(accessKeyId: string): Promise<void>;
}

/** Whether what is kept is what was written. */
export interface IntegrityUseCases {
  /**
   * Reads every byte; findings come as they are made. Of a version its snapshot; of a microVM its image's snapshot and, where it
   * sleeps, its newest generation.
   * @param signal ends it, and is aborted at the latest when nobody reads on
   * @throws LullError not-found; validation for a version without a snapshot; conflict while another verification is under way
   */
  verify(request: VerifyRequest, signal: AbortSignal): Promise<AsyncIterable<VerifiedFile>>;
}

/** What the server says of itself at `GET /lull/v1/health`. */
export interface ServerHealth {
  readonly status: 'ok';
  readonly version: string;
  readonly driver: string;
  readonly accelerator: string;
  readonly reconciler: ReconcilerFigures;
  /** By folder. */
  readonly disks: Readonly<Record<'data' | 'platform', DiskFigures>>;
  /** MicroVMs that stand still because their disk is full or fails. */
  readonly stoppedByDisk: number;
}

export interface ServerUseCases {
  health(): Promise<ServerHealth>;
  /** What the server counts, in Prometheus's text format. */
  metrics(): Promise<string>;
  /** Suspends every running microVM, then ends the server (`lull down`). Resolves when all sleep. */
  suspendAllAndStop(): Promise<{ readonly suspended: number }>;
}

export interface ControlPlane {
  readonly images: ImageUseCases;
  readonly microvms: MicrovmUseCases;
  readonly connectors: ConnectorUseCases;
  readonly tags: TagUseCases;
  readonly keys: KeyUseCases;
  readonly roles: RoleUseCases;
  readonly logs: LogUseCases;
  readonly garbage: GarbageUseCases;
  readonly quotas: QuotaUseCases;
  readonly integrity: IntegrityUseCases;
  readonly server: ServerUseCases;
}
