/** The image: its versions, their builds, and the states of each. Contract reference, section 2. */

/** Section 1.4. */
export const IMAGE_STATES = [
  'CREATING',
  'CREATED',
  'CREATE_FAILED',
  'UPDATING',
  'UPDATED',
  'UPDATE_FAILED',
  'DELETING',
  'DELETE_FAILED',
  'DELETED',
] as const;
export type ImageState = (typeof IMAGE_STATES)[number];

/** Nothing is under way with an image in one of these: it may be updated, and its versions changed. */
export const SETTLED_IMAGE_STATES = ['CREATED', 'CREATE_FAILED', 'UPDATED', 'UPDATE_FAILED'] as const satisfies readonly ImageState[];

/** Section 1.4. DELETED is not shown: the version is kept for the microVMs that still rest on its files. */
export const IMAGE_VERSION_STATES = [
  'PENDING',
  'IN_PROGRESS',
  'SUCCESSFUL',
  'FAILED',
  'DELETING',
  'DELETED',
  'DELETE_FAILED',
] as const;
export type ImageVersionState = (typeof IMAGE_VERSION_STATES)[number];

/** Versions whose build waits or runs. */
export const BUILDING_VERSION_STATES = ['PENDING', 'IN_PROGRESS'] as const satisfies readonly ImageVersionState[];

/** Section 1.4. */
export type ImageVersionStatus = 'ACTIVE' | 'INACTIVE';
/** Section 1.4. */
export type BuildState = 'PENDING' | 'IN_PROGRESS' | 'SUCCESSFUL' | 'FAILED';

/** What the outcome of a version's build makes of its image. */
export const IMAGE_AFTER_BUILD: { readonly [S in 'CREATING' | 'UPDATING']: { succeeded: ImageState; failed: ImageState } } = {
  CREATING: { succeeded: 'CREATED', failed: 'CREATE_FAILED' },
  UPDATING: { succeeded: 'UPDATED', failed: 'UPDATE_FAILED' },
};

/** Where output goes: switched off, or to a log group (section 1.3). */
export type LoggingConfig =
  | { readonly disabled: Record<string, never> }
  | { readonly cloudWatch: { readonly logGroup?: string | undefined; readonly logStream?: string | undefined } };

export type HookState = 'ENABLED' | 'DISABLED';

/** Section 1.3; time-outs are seconds as AWS states them, before any scaling. */
export interface HooksConfig {
  readonly port?: number | undefined;
  readonly microvmHooks?:
    | {
        readonly run?: HookState | undefined;
        readonly resume?: HookState | undefined;
        readonly suspend?: HookState | undefined;
        readonly terminate?: HookState | undefined;
        readonly runTimeoutInSeconds?: number | undefined;
        readonly resumeTimeoutInSeconds?: number | undefined;
        readonly suspendTimeoutInSeconds?: number | undefined;
        readonly terminateTimeoutInSeconds?: number | undefined;
      }
    | undefined;
  readonly microvmImageHooks?:
    | {
        readonly ready?: HookState | undefined;
        readonly validate?: HookState | undefined;
        readonly readyTimeoutInSeconds?: number | undefined;
        readonly validateTimeoutInSeconds?: number | undefined;
      }
    | undefined;
}

/** Everything a version is made from; every update replaces all of it (section 1.3, UpdateMicrovmImage). */
export interface ImageConfig {
  readonly baseImageArn: string;
  readonly baseImageVersion: string;
  readonly buildRoleArn: string;
  readonly codeArtifactUri: string;
  readonly description: string | null;
  readonly logging: LoggingConfig | null;
  readonly egressConnectors: readonly string[];
  readonly cpuArchitectures: readonly string[] | null;
  readonly minimumMemoryMib: number;
  readonly additionalOsCapabilities: readonly string[] | null;
  readonly hooks: HooksConfig | null;
  readonly environmentVariables: Readonly<Record<string, string>> | null;
}

/** One image as the store keeps it. Times are milliseconds since the epoch. */
export interface Image {
  readonly id: string;
  readonly name: string;
  readonly imageArn: string;
  readonly state: ImageState;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly latestActiveVersion: string | null;
  readonly latestFailedVersion: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

/** One version of an image with its configuration. */
export interface ImageVersion {
  readonly imageName: string;
  readonly version: string;
  /** Folder-safe id under which its files are kept. */
  readonly snapshotId: string;
  readonly state: ImageVersionState;
  readonly status: ImageVersionStatus;
  readonly config: ImageConfig;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly build: ImageBuild;
  /** The code that it is made from, held under a name of its own; null until its build has it, and in versions from before it was kept. */
  readonly artifactBlobId: string | null;
  /** The call that made it, where that call had a client token (section 1.8). */
  readonly request?: ClientRequest;
}

/** What tells a repeated call from another one with the same client token. */
export interface ClientRequest {
  readonly clientToken: string;
  /** Digest of the operation and its parameters. */
  readonly fingerprint: string;
}

/** Sizes that GetMicrovmImageBuild reports, in bytes. */
export interface SnapshotSizes {
  readonly memoryBytes: number;
  readonly codeBytes: number;
  readonly diskBytes: number;
}

/** As far as a build has come: one whose application failed has installed its code (section 2.5). */
export type BuildSizes = Pick<SnapshotSizes, 'codeBytes'> & Partial<SnapshotSizes>;

/** The build of a version (AWS makes two, one per chipset generation; one host makes one). */
export interface ImageBuild {
  readonly buildId: string;
  readonly state: BuildState;
  readonly stateReason: string | null;
  readonly sizes: BuildSizes | null;
  readonly createdAtMs: number;
}

/** Build failures: section 2.5. The codes are documented; the texts are recorded where marked, else ours. */
export const BUILD_FAILURES = {
  S3_NO_SUCH_BUCKET: 'The S3 bucket of the code artifact does not exist.',
  S3_NO_SUCH_KEY: 'The S3 object of the code artifact does not exist.',
  ARCHIVE_INVALID: 'The code artifact is not a usable zip archive.',
  ARCHIVE_DOCKERFILE_NOT_FOUND: 'The code artifact has no Dockerfile at its root.',
  /** Recorded. */
  CONTAINER_BUILD_FAILED: 'The container image build failed.',
  DISK_STORAGE_FULL: 'The container image build ran out of disk space.',
  APPLICATION_FAILED: 'The application did not come up.',
  READY_HOOK_FAILED: 'The ready hook failed.',
  VALIDATE_HOOK_FAILED: 'The validate hook failed.',
  INTERNAL_PLATFORM_ERROR: 'The build failed because of an internal error.',
} as const;
export type BuildFailureCode = keyof typeof BUILD_FAILURES;

/** A build that failed: the code, AWS's words for `stateReason`, and the step that the log shows. */
export class BuildFailure extends Error {
  override readonly name = 'BuildFailure';
  readonly code: BuildFailureCode;
  readonly step: string;
  /** Set once the container image is installed. */
  codeBytes: number | undefined;

  /** @param how.reason the words for `stateReason` where those of the code say too little */
  constructor(code: BuildFailureCode, step: string, how: { readonly reason?: string; readonly cause?: unknown } = {}) {
    super(how.reason ?? BUILD_FAILURES[code], how.cause === undefined ? undefined : { cause: how.cause });
    this.code = code;
    this.step = step;
  }
}
