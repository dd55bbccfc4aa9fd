/**
 * What the use-cases in `src/control` need from the rest of the house. Each port names its promises; adapters live in
 * `store`, `runtime` and `image`, and one contract suite runs over every implementation of a port.
 */
import type { Duplex } from 'node:stream';
import type { GuestService } from './guest-service.ts';
import type { HookOutcome } from './hooks.ts';
import type { Image, ImageBuild, ImageConfig, ImageState, ImageVersion, ImageVersionState, ImageVersionStatus, SnapshotSizes } from './image.ts';
import type { Egress, NetworkConnector, ConnectorState } from './network-connector.ts';
import type { LogExtent, LogGroup, LogLine, LogSource, LogStream } from './log-stream.ts';
import type { Role } from './role.ts';
import type { DiskFault, Microvm, MicrovmEvent, MicrovmState, ProcessIdentity } from './microvm.ts';
import type { ObjectRepository, UploadRepository } from './object-store.ts';

/** Wall clock and timers, so that tests can steer time. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Calls back once at or after `atMs`; disposing cancels. Never keeps the process alive. */
  at(atMs: number, callback: () => void): Disposable;
}

/** Sources of identity and secrecy. */
export interface Random {
  uuid(): string;
  bytes(length: number): Buffer;
}

/** A page of a listing: `after` is the opaque position of the last item seen, null at the end. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

export interface PageRequest {
  readonly limit: number;
  readonly after?: string | undefined;
}

export interface MicrovmRepository {
  /** @throws LullError conflict where the client token is taken; not-found where its version cannot be launched (any more), or a connector is not there */
  insert(microvm: Microvm): Promise<void>;
  get(microvmId: string): Promise<Microvm | undefined>;
  byEndpoint(endpointId: string): Promise<Microvm | undefined>;
  byClientToken(clientToken: string): Promise<Microvm | undefined>;
  /** Newest first. */
  list(filter: { imageArn?: string | undefined; imageVersion?: string | undefined }, page: PageRequest): Promise<Page<Microvm>>;
  /** All in one of these states, in no particular order. */
  inStates(states: readonly MicrovmState[]): Promise<readonly Microvm[]>;
  /** How many there are in each state but TERMINATED; states without any are 0. */
  countByState(): Promise<Readonly<Record<Exclude<MicrovmState, 'TERMINATED'>, number>>>;
  /**
   * Applies one event of the table of states, together with the fields that change with it, in one durable transaction.
   * @throws LullError conflict where the table does not allow the event in the state that the row is in now
   */
  apply(microvmId: string, event: MicrovmEvent, patch?: Partial<MicrovmPatch>): Promise<Microvm>;
  /** Changes fields without an event. */
  patch(microvmId: string, patch: Partial<MicrovmPatch>): Promise<Microvm>;
  /** Sum of `baselineMib` over the states that count (section 7.2). */
  allocatedMib(): Promise<number>;
}

/** The fields of a microVM that change during its life. */
export type MicrovmPatch = {
  -readonly [F in 'stateReason' | 'suspendedAtMs' | 'terminatedAtMs' | 'generation' | 'lastGeneration' | 'process']: Microvm[F];
};

export interface ImageRepository {
  /**
   * @param maximum how many images there may be then
   * @throws LullError validation `A MicroVM image with the name …` where the name is taken; not-found where a connector is not there;
   * quota-exceeded
   */
  insert(image: Image, first: ImageVersion, maximum?: number): Promise<void>;
  get(name: string): Promise<Image | undefined>;
  /** In order of creation, newest first. `nameFilter` is a substring. */
  list(filter: { nameFilter?: string | undefined }, page: PageRequest): Promise<Page<Image>>;
  /** @param maximum how many versions the image may have then @throws LullError quota-exceeded */
  addVersion(version: ImageVersion, imageState: ImageState, maximum?: number): Promise<void>;
  /** The version that a create or an update with this client token made. */
  versionByClientToken(clientToken: string): Promise<ImageVersion | undefined>;
  version(name: string, version: string): Promise<ImageVersion | undefined>;
  /** The version with these files, also one that is DELETED. */
  versionOfSnapshot(snapshotId: string): Promise<ImageVersion | undefined>;
  /** Newest first. */
  versions(name: string, page: PageRequest): Promise<Page<ImageVersion>>;
  /** The newest version that is SUCCESSFUL and ACTIVE. */
  newestActive(name: string): Promise<ImageVersion | undefined>;
  /** Versions whose state is one of these, over all images (what a crash left unfinished), DELETED among them. */
  versionsInStates(states: readonly ImageVersionState[]): Promise<readonly ImageVersion[]>;
  /** How many versions the image ever had: version numbers are never used twice. */
  versionCount(name: string): Promise<number>;
  /**
   * Changes a version, its build and its image in one transaction. Which versions are the image's latest follows from it.
   * @returns false, and changes nothing, where the version is not in a state that the change starts from
   */
  update(name: string, version: string, change: ImageChange): Promise<boolean>;
  /**
   * Moves an image and its versions to DELETING where neither its first build nor the deletion of a version is under way
   * and no microVM of it lives, in one transaction: from then on `microvms.insert` refuses its name.
   */
  markDeleting(name: string, atMs: number): Promise<'deleting' | 'busy' | 'in-use' | 'absent'>;
  /**
   * Moves a version to DELETING and its image to UPDATING, in one transaction: from then on `microvms.insert` refuses it.
   * Not the last version, and not while anything else than its own build is under way with the image.
   */
  markVersionDeleting(name: string, version: string, atMs: number): Promise<'deleting' | 'busy' | 'last' | 'absent'>;
  /** Ends what {@link markVersionDeleting} began: the version is DELETED and known by its files only, its image UPDATED. */
  retireVersion(snapshotId: string, atMs: number): Promise<void>;
  /** True where the version is DELETED and every microVM that rested on its files has ended. */
  isUnused(snapshotId: string): Promise<boolean>;
  /** Forgets a version that is DELETED. */
  removeVersion(snapshotId: string): Promise<void>;
  /** Images in one of these states (what a crash left unfinished). */
  inStates(states: readonly ImageState[]): Promise<readonly Image[]>;
  /** Removes the image and its versions. */
  remove(name: string): Promise<void>;
  /** Replaces the tags by what `change` makes of them, in one transaction. @returns the new tags; undefined where it is gone */
  changeTags(name: string, change: (tags: Tags) => Tags): Promise<Tags | undefined>;
}

export type Tags = Readonly<Record<string, string>>;

export interface ConnectorRepository {
  /** @throws LullError conflict where the name or the client token is taken */
  insert(connector: NetworkConnector): Promise<void>;
  /** By id, or else by name. */
  find(idOrName: string): Promise<NetworkConnector | undefined>;
  byClientToken(clientToken: string): Promise<NetworkConnector | undefined>;
  /** Newest first. */
  list(filter: { state?: ConnectorState | undefined }, page: PageRequest): Promise<Page<NetworkConnector>>;
  /**
   * Changes a connector that no microVM uses, in one transaction. A change that returns what it was given is none, and always possible.
   * @returns the connector as it is then
   * @throws LullError not-found; conflict where a microVM that is not TERMINATED uses it; what `change` throws
   */
  change(connectorId: string, change: (before: NetworkConnector) => NetworkConnector): Promise<NetworkConnector>;
  /**
   * Removes a connector that nothing uses, in one transaction: from then on `microvms.insert`, `images.insert` and
   * `images.addVersion` refuse its ARN.
   * @throws LullError not-found; conflict where a microVM that is not TERMINATED uses it, or a version of an image names it
   */
  remove(connectorId: string): Promise<void>;
  /** As {@link ImageRepository.changeTags}. */
  changeTags(connectorId: string, change: (tags: Tags) => Tags): Promise<Tags | undefined>;
}

/** What one step of a build changes, at each of the three levels. */
export interface ImageChange {
  /** The states of the version that it starts from; any without. */
  readonly from?: readonly ImageVersionState[];
  /** Becomes `updatedAtMs` of the version, and of the image where it changes. */
  readonly atMs?: number;
  readonly image?: { state?: ImageState };
  readonly version?: { state?: ImageVersionState; status?: ImageVersionStatus; artifactBlobId?: string };
  readonly build?: Partial<Pick<ImageBuild, 'state' | 'stateReason' | 'sizes'>>;
}

/** For whom a temporary access key speaks: a role, assumed by a microVM (contract reference, section 8.2). */
export interface RoleSession {
  readonly roleArn: string;
  readonly sessionName: string;
  /** Sent with every request, beside the signature. */
  readonly sessionToken: string;
  readonly expiresAtMs: number;
  /** Whose it is: it ends with the microVM, and may reach the object store only. */
  readonly microvmId: string;
}

/** An access key of the API. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly createdAtMs: number;
  /** What its owner calls it. */
  readonly description: string | null;
  /** Null for a key of the installation, which may do everything. */
  readonly session: RoleSession | null;
}

export interface AccessKeyRepository {
  /** @throws LullError conflict where the id is taken */
  insert(key: AccessKey): Promise<void>;
  get(accessKeyId: string): Promise<AccessKey | undefined>;
  /** The installation's keys, newest first; no temporary ones. */
  list(): Promise<readonly AccessKey[]>;
  /** The newest temporary key of one microVM. */
  newestOf(microvmId: string): Promise<AccessKey | undefined>;
  /** Removes a key of the installation. @returns false where there is none */
  revoke(accessKeyId: string): Promise<boolean>;
  /** Removes the temporary keys of one microVM. */
  revokeOf(microvmId: string): Promise<void>;
  /** Removes the temporary keys that have expired by then. */
  removeExpired(nowMs: number): Promise<void>;
}

/** A 256-bit key that endpoint tokens are encrypted with. */
export interface TokenKey {
  readonly kid: string;
  readonly key: Buffer;
  readonly createdAtMs: number;
}

export interface TokenKeyRepository {
  insert(key: TokenKey): Promise<void>;
  /** Newest first. */
  list(): Promise<readonly TokenKey[]>;
}

/** IAM's roles; names are told apart without case. */
export interface RoleRepository {
  insert(role: Role): Promise<'created' | 'exists'>;
  get(roleName: string): Promise<Role | undefined>;
  /** In order of their names. */
  list(filter: { pathPrefix: string }, page: PageRequest): Promise<Page<Role>>;
  /** Writes all of a role that exists. */
  replace(role: Role): Promise<void>;
  remove(roleName: string): Promise<void>;
}

/** Which streams a listing shows, in which order. */
export interface LogStreamOrder {
  readonly prefix?: string | undefined;
  readonly orderBy: 'name' | 'last-event';
  readonly descending: boolean;
}

/**
 * Groups and streams; the lines are files. The stream of a microVM and of a build is written in the transaction that
 * inserts its owner.
 */
export interface LogRepository {
  createGroup(name: string, createdAtMs: number): Promise<'created' | 'exists'>;
  group(name: string): Promise<LogGroup | undefined>;
  /** In order of their names. */
  groups(filter: { prefix?: string | undefined; contains?: string | undefined }, page: PageRequest): Promise<Page<LogGroup & { storedBytes: number }>>;
  setRetention(name: string, days: number | null): Promise<void>;
  /** @returns `in-use` where a stream is in it, also one that has come meanwhile */
  removeGroup(name: string): Promise<'removed' | 'in-use' | 'absent'>;
  stream(group: string, name: string): Promise<LogStream | undefined>;
  streams(group: string, order: LogStreamOrder, page: PageRequest): Promise<Page<LogStream>>;
  /** Streams that may have events in `[startMs, endMs)`. */
  overlapping(group: string, filter: LogStreamFilter): Promise<readonly LogStream[]>;
  /** Those that were not seen to have ended, and whether what writes to them is still there. */
  open(filter: OpenStreamFilter): Promise<readonly (LogStream & { isLive: boolean })[]>;
  measured(stream: { source: LogSource; sourceId: string }, extent: LogExtent & { hasEnded: boolean }): Promise<void>;
  /** Ended streams whose last event is older than `daysKept`, or than their group's policy, the oldest first. */
  expired(nowMs: number, daysKept: number): Promise<readonly LogStream[]>;
  /** Ended streams, those with the oldest last event first. */
  oldestEnded(limit: number): Promise<readonly LogStream[]>;
  totalBytes(): Promise<number>;
  removeStream(stream: { source: LogSource; sourceId: string }): Promise<void>;
}

/** Those of a group, or one of them; without either, all that there are. */
export interface OpenStreamFilter {
  readonly group?: string | undefined;
  readonly name?: string | undefined;
}

export interface LogStreamFilter {
  readonly names?: readonly string[] | undefined;
  readonly prefix?: string | undefined;
  readonly startMs: number;
  readonly endMs: number;
}

/** Which lines of a log are wanted. */
export interface LogRange {
  /** The position of a line, or one before all that is kept. */
  readonly from: number;
  /** Where lines no longer begin that are wanted; without, up to the end. */
  readonly before?: number | undefined;
  /** Of that only the lines that begin in the last so many bytes. */
  readonly lastBytes?: number | undefined;
  /** Lines before this moment may be left out; they need not be. */
  readonly startMs?: number | undefined;
  /** So may those from this moment on. */
  readonly endMs?: number | undefined;
  /** Nothing more comes, so that a last line without an end is one. */
  readonly isComplete: boolean;
}

/** The lines of logs of one kind, by the id of what writes them. */
export interface LogFiles {
  /** Lines in order, those of one read of at most 64 KiB at once; none where nothing was kept. */
  lines(sourceId: string, range: LogRange): AsyncIterable<readonly LogLine[]>;
  /** Undefined where nothing is kept. */
  extent(sourceId: string): Promise<LogExtent | undefined>;
  remove(sourceId: string): Promise<void>;
}

/** Durable state. Every promise resolves after the change is on disk. */
export interface Store extends AsyncDisposable {
  readonly microvms: MicrovmRepository;
  readonly images: ImageRepository;
  readonly connectors: ConnectorRepository;
  readonly accessKeys: AccessKeyRepository;
  readonly tokenKeys: TokenKeyRepository;
  readonly objects: ObjectRepository;
  readonly uploads: UploadRepository;
  readonly roles: RoleRepository;
  readonly logs: LogRepository;
}

/** How long each named step took, in milliseconds, in order. */
export type StepTimes = readonly { readonly step: string; readonly ms: number }[];

/** What the runtime needs to start a microVM. */
export interface LaunchRequest {
  readonly microvmId: string;
  readonly snapshotId: string;
  readonly egress: Egress;
}

export interface SuspendReport {
  /** Bytes written for this generation: index, pages, device state. */
  readonly bytesWritten: number;
  readonly pages: number;
  readonly zeroPages: number;
  readonly steps: StepTimes;
}

/** A terminal in the application's environment (section 6.2). */
export interface ShellSession {
  /** Raw terminal bytes, both ways. Ends when the shell has exited; destroying it hangs the terminal up. */
  readonly stream: Duplex;
  /** @throws LullError where the session is gone */
  resize(size: { readonly cols: number; readonly rows: number }): Promise<void>;
}

/** What the runtime tells of microVMs that change by themselves. */
export interface RuntimeObserver {
  /** The VMM process ended although nobody asked it to. */
  vmmDied(microvmId: string, process: ProcessIdentity): void;
  /** Its agent cannot be reached any more although its process lives. */
  agentLost(microvmId: string): void;
  /** Its disk failed, and it stands still until {@link MicrovmRuntime.goOn}. */
  diskFailed(microvmId: string): void;
  /** The application's main process ended inside the guest. */
  applicationExited(microvmId: string, exitCode: number): void;
  /** The guest opened a connection to a service of its host. Whatever comes over it is the application's: hostile. */
  guestConnected(microvmId: string, service: GuestService, connection: Duplex): void;
}

/**
 * The host's side of microVMs: processes, memory, disks. It keeps no durable state of its own; `control` commits what the
 * table of states asks for between its steps (see ARCHITECTURE.md, "Suspend and wake").
 */
export interface MicrovmRuntime {
  /**
   * Restores a microVM from its image's snapshot up to the moment before anything runs.
   * @returns the process, to be committed before {@link continue}
   */
  prepareLaunch(request: LaunchRequest): Promise<ProcessIdentity>;
  /** Restores a suspended generation likewise. @throws LullError internal where a file of it is missing or damaged */
  prepareWake(request: LaunchRequest & { generation: number }): Promise<ProcessIdentity>;
  /** Lets a prepared microVM run; resolves once clock, entropy and identity are right and the application runs. */
  continue(microvmId: string): Promise<StepTimes>;
  /** Takes up the connection to an adopted microVM that ran on while no server was there. */
  reconnect(microvmId: string): Promise<void>;
  /**
   * Freezes, pauses and writes generation `generation` durably. The process stays, paused.
   * @throws LullError insufficient-capacity where the disk has no room for it, and nothing is written
   */
  saveGeneration(microvmId: string, generation: number): Promise<SuspendReport>;
  /**
   * Removes the void generation, durably, and only then lets the paused process go on: whatever crashes when, a complete
   * generation is never found beside a disk that has moved on.
   */
  undoSuspend(microvmId: string, generation: number): Promise<void>;
  /** Ends the process after its generation was committed, and drops the generations before it. */
  release(microvmId: string, generation: number): Promise<void>;
  /** Drops a prepared process of which nothing has run; the generation stays. */
  abandonPrepared(microvmId: string): Promise<void>;
  /** Ends the process, where there is one, and removes every file of the microVM. */
  destroy(microvmId: string): Promise<void>;
  /** Takes over a process that an earlier server started; false where it is gone. */
  adopt(request: LaunchRequest & { process: ProcessIdentity }): Promise<boolean>;
  /** True where generation `generation` is complete and its checksums hold. */
  verifyGeneration(microvmId: string, generation: number): Promise<boolean>;
  /** True where nothing of a restored generation has run: same host boot, scratch disk unchanged since its manifest. */
  untouchedSince(microvmId: string, generation: number): Promise<boolean>;
  /** A byte stream to 127.0.0.1:`port` in a running microVM. @throws LullError internal where the guest refuses, or `signal` gives it up */
  dial(microvmId: string, port: number, signal?: AbortSignal): Promise<Duplex>;
  /** A shell beside the application. @throws LullError internal where the image has none or was built before there were shells, or `signal` gives it up */
  openShell(microvmId: string, signal?: AbortSignal): Promise<ShellSession>;
  /** One HTTP POST from inside the guest to 127.0.0.1:`port` (section 4). @returns `refused` where the signal gives it up */
  callHook(microvmId: string, hook: { port: number; path: string; body?: string; timeoutMs: number; signal: AbortSignal }): Promise<HookOutcome>;
  /** The application's output: what was kept, then, with `follow`, what comes. */
  logs(microvmId: string, options: { follow: boolean; signal: AbortSignal }): AsyncIterable<Buffer>;
  /** Removes folders of microVMs that are not in `known`. @returns their ids */
  sweep(known: ReadonlySet<string>): Promise<readonly string[]>;
  /** True while this process leads the microVM's. */
  holds(microvmId: string): boolean;
  /** Why a microVM that runs stands still; undefined where it does not. It answers nothing meanwhile. */
  diskFault(microvmId: string): DiskFault | undefined;
  /** How often that has been so since its process began to be led. */
  diskStops(microvmId: string): number;
  /**
   * Lets it go on: what it asked of its disk is asked anew.
   * @throws LullError insufficient-capacity where it was stopped again; anything else where its agent does not answer
   */
  goOn(microvmId: string): Promise<void>;
  /** Every microVM of which there is anything on this host: files, a process, sockets. */
  present(): Promise<readonly string[]>;
  /**
   * Removes what an interrupted step left of a microVM with which nothing is under way: processes that nobody leads, generations
   * but the one, temporary files. @returns what was removed, in a word each
   */
  tidy(microvmId: string, generation: number): Promise<readonly string[]>;
  /** Closes what this process holds; microVMs run on. */
  detach(): Promise<void>;
}

/** What a build tells while it goes: a step that started or ended, or a line of output. `atMs` is the wall clock. */
export type BuildEvent =
  | { readonly atMs: number; readonly type: 'step'; readonly step: string; readonly state: 'started' | 'finished' | 'failed'; readonly ms?: number }
  | { readonly atMs: number; readonly type: 'line'; readonly step: string; readonly text: string };

export interface BuildRequest {
  readonly imageName: string;
  readonly imageArn: string;
  readonly imageVersion: string;
  readonly snapshotId: string;
  readonly config: ImageConfig;
  /** File of the artifact's bytes. */
  readonly artifactPath: string;
  readonly region: string;
}

export interface ImageBuilder {
  /**
   * Builds a version up to its snapshot on disk. The log and the steps go to the version's build log as they come;
   * {@link events} knows the build when this returns its promise, so that a follower who is let in then misses nothing.
   * @throws BuildFailure with the step; nothing of the snapshot is left then, the log stays
   */
  build(request: BuildRequest, signal: AbortSignal): Promise<SnapshotSizes>;
  /** The events of a build: what was kept, then, with `follow`, what comes until the build ends. */
  events(snapshotId: string, options: { follow: boolean; signal: AbortSignal }): AsyncIterable<BuildEvent>;
  /** Removes every file of a version. */
  remove(snapshotId: string): Promise<void>;
  /** Every version of which there is anything on this host: files, an unpacked artifact, a process. */
  present(): Promise<readonly string[]>;
  /**
   * Removes what an interrupted step left of a version that is not being built: everything but its snapshot, or its log.
   * @returns what was removed, in a word each
   */
  tidy(snapshotId: string, kept: 'snapshot' | 'log'): Promise<readonly string[]>;
}

/** Which ports of which microVM a token opens, and until when. Section 6.1. */
export interface EndpointClaims {
  readonly microvmId: string;
  /** `http` for CreateMicrovmAuthToken, `shell` for CreateMicrovmShellAuthToken. */
  readonly purpose: 'http' | 'shell';
  /** Inclusive ranges; a single port is a range of one. */
  readonly ports: readonly { readonly from: number; readonly to: number }[];
  readonly expiresAtMs: number;
}

/** Makes and opens the encrypted tokens of the data plane. */
export interface EndpointTokens {
  issue(claims: EndpointClaims): Promise<string>;
  /** Undefined where the token is not one of ours or was tampered with. Expiry is the caller's to check. */
  open(token: string): Promise<EndpointClaims | undefined>;
}
