/** A version of an image, from its artifact to its snapshot: the steps in order, each with its time in the build's log. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BuildFailure, type HooksConfig, type SnapshotSizes } from '../domain/image.ts';
import { GUEST_S3_ENDPOINT } from '../domain/guest-service.ts';
import type { BuildRequest, ImageBuilder } from '../domain/ports.ts';
import { WIRE_ARCHITECTURES, type Architecture } from '../domain/platform.ts';
import { isLullError } from '../domain/errors.ts';
import type { DiskSpace } from '../host/disk-space.ts';
import { effect } from '../lib/effects.ts';
import type { Files } from '../lib/files.ts';
import { microvmSize, type MicrovmSize } from '../domain/sizes.ts';
import { DEFAULT_ARTIFACT_LIMITS, unpackArtifact } from './artifact.ts';
import type { BuildLog, BuildLogs } from './build-log.ts';
import type { ContainerBuilder } from './container-build.ts';
import { DiskFull, watchDisk } from './disk-watch.ts';
import type { OciConfig } from './oci-config.ts';
import { makeScratchDisk } from './root-disk.ts';
import type { RootDiskPool } from './root-disk-pool.ts';

/** Every microVM of an image has it, as on AWS (contract reference, section 8.1). */
const HOSTNAME = 'microvm';
export const LOG_NAME = 'build.ndjson';
const SNAPSHOT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** What stays of every version, also of one that failed. */
const LOGS = [LOG_NAME];
/** The files of a snapshot (`src/runtime/data-layout.ts`), and the console of its boot. */
const SNAPSHOT = ['memory', 'device-state', 'root.erofs', 'scratch.ext4', 'manifest.json', 'console.log'];

const MIB = 1024 ** 2;
/** Root disk and snapshot of a small image: to begin with less is in vain. What becomes of it is watched. */
const IMAGE_BYTES = 512 * MIB;
/** Likewise its unpacked artifact and its layers. */
const LAYERS_BYTES = 1024 * MIB;
/** What a build leaves to those who suspend and write logs meanwhile. */
const KEPT_BYTES = 128 * MIB;

/** Boots what was built, waits until its application is up, and saves it. */
export interface Snapshotter {
  make(request: {
    snapshotId: string;
    guestMemoryMib: number;
    vcpus: number;
    application: {
      argv: readonly string[];
      env: Readonly<Record<string, string>>;
      cwd: string;
      user: string;
      hostname: string;
      capabilities: 'default' | 'all';
      exposedPorts: readonly number[];
    };
    hooks: HooksConfig | null;
    step: <T>(name: string, work: () => Promise<T>) => Promise<T>;
    onOutput: (source: 'application' | 'validate', bytes: Buffer) => void;
    signal: AbortSignal;
  }): Promise<{ memoryBytes: number; diskBytes: number }>;
  /** Every version of which a process may be left. */
  left(): Promise<readonly string[]>;
  /** Ends what an interrupted build left running. */
  discard(snapshotId: string): Promise<void>;
}

export interface ImageBuilderParts {
  readonly files: Files;
  readonly space: DiskSpace;
  readonly rootDisks: RootDiskPool;
  readonly containers: Pick<ContainerBuilder, 'build'>;
  readonly snapshotter: Snapshotter;
  readonly logs: BuildLogs;
  /** Folder of all versions' files. */
  readonly imagesDir: string;
  /** Folder of a version's files. */
  readonly snapshotDir: (snapshotId: string) => string;
  /** Folder for unpacked artifacts, which the build's user can read. */
  readonly contextsDir: string;
  readonly hostCores: number;
  readonly architecture: Architecture;
  /** Called when a version's files are removed. */
  readonly onRemove: (snapshotId: string) => void;
}

export function createImageBuilder(parts: ImageBuilderParts): ImageBuilder {
  const logPath = (snapshotId: string) => join(parts.snapshotDir(snapshotId), LOG_NAME);
  return {
    build: async (request, signal) => {
      // Without a pause: who follows the log may ask for it as soon as this returns its promise.
      parts.files.makeFolderNow(parts.snapshotDir(request.snapshotId));
      using log = parts.logs.open(logPath(request.snapshotId));
      try {
        return await buildInRoom(parts, request, { log, signal });
      } catch (error) {
        // What cannot be removed now goes with the next reconciliation; the failure of the build is the one to tell.
        await removeAllBut(parts.files, parts.snapshotDir(request.snapshotId), LOGS)
          .then(() => parts.rootDisks.prune())
          .catch(() => undefined);
        signal.throwIfAborted();
        const failure = await withTrueReason(error, parts);
        log.line(failure instanceof BuildFailure ? failure.step : 'build', describe(failure));
        throw failure;
      }
    },
    events: (snapshotId, options) => parts.logs.events(logPath(snapshotId), options),
    remove: async (snapshotId) => {
      parts.onRemove(snapshotId);
      await removeWorkings(parts, snapshotId);
      await parts.files.removeTree(parts.snapshotDir(snapshotId));
      // What cannot be removed now goes with the next reconciliation: of the version nothing is left.
      await parts.rootDisks.prune().catch(() => undefined);
    },
    present: async () => {
      const found = await Promise.all([namesIn(parts.imagesDir), namesIn(parts.contextsDir), parts.snapshotter.left()]);
      // Anything else in these folders is not ours to remove.
      return [...new Set(found.flat())].filter((name) => SNAPSHOT_ID.test(name));
    },
    tidy: async (snapshotId, kept) => {
      const workings = await removeWorkings(parts, snapshotId);
      const names = kept === 'log' ? LOGS : [...LOGS, ...SNAPSHOT];
      return [...workings, ...(await removeAllBut(parts.files, parts.snapshotDir(snapshotId), names))];
    },
  };
}

/** Begins only where there is room, and ends once the disk is nearly full. */
async function buildInRoom(parts: ImageBuilderParts, request: BuildRequest, { log, signal }: { log: BuildLog; signal: AbortSignal }): Promise<SnapshotSizes> {
  const { space, imagesDir, contextsDir } = parts;
  const stop = new AbortController();
  using _image = await space.reserve(imagesDir, IMAGE_BYTES, 'build an image');
  using _layers = await space.reserve(contextsDir, LAYERS_BYTES, 'build an image');
  using _watch = await watchDisk({ dir: imagesDir, maxBytes: Number.POSITIVE_INFINITY, mayCount: false, keptBytes: KEPT_BYTES, controller: stop });
  return await buildVersion(parts, request, { log, signal: AbortSignal.any([signal, stop.signal]) });
}

/** The same failure, unless a full disk was behind it: that need not be what was noticed first. */
async function withTrueReason(error: unknown, { space, imagesDir }: ImageBuilderParts): Promise<unknown> {
  if (error instanceof BuildFailure && error.code !== 'INTERNAL_PLATFORM_ERROR') return error;
  const isFull = causesOf(error).some(saysFull) || (await space.figures(imagesDir)).availableBytes < KEPT_BYTES;
  if (!isFull) return error;
  const step = error instanceof BuildFailure ? error.step : 'build';
  const failure = new BuildFailure('DISK_STORAGE_FULL', step, { cause: error });
  if (error instanceof BuildFailure) failure.codeBytes = error.codeBytes;
  return failure;
}

const saysFull = (error: Error) => error instanceof DiskFull || isLullError(error, 'insufficient-capacity') || /ENOSPC|No space left on device/.test(error.message);

async function buildVersion(parts: ImageBuilderParts, request: BuildRequest, { log, signal }: { log: BuildLog; signal: AbortSignal }): Promise<SnapshotSizes> {
  const size = microvmSize(request.config.minimumMemoryMib);
  if (size === undefined) throw new BuildFailure('INTERNAL_PLATFORM_ERROR', 'prepare');
  const disks = { rootDisk: join(parts.snapshotDir(request.snapshotId), 'root.erofs'), scratch: join(parts.snapshotDir(request.snapshotId), 'scratch.ext4') };
  const contextDir = join(parts.contextsDir, request.snapshotId);
  try {
    sayArchitecture(log, { asked: request.config.cpuArchitectures, host: parts.architecture });
    const artifact = { zipPath: request.artifactPath, into: contextDir, limits: DEFAULT_ARTIFACT_LIMITS, signal };
    await log.step('unpack', () => effect(parts.files.effects, { kind: 'unpack', subject: contextDir }, () => unpackArtifact(artifact)));
    const built = await containerToDisks({ parts, request, log, signal, contextDir, disks, size });
    const { codeBytes } = built;
    const { memoryBytes, diskBytes } = await makeSnapshot(parts, request, { log, signal, size, config: built.config }).catch((error: unknown) => {
      if (error instanceof BuildFailure) error.codeBytes = codeBytes;
      throw error;
    });
    return { memoryBytes, diskBytes, codeBytes };
  } finally {
    await parts.files.removeTree(contextDir);
  }
}

interface SnapshotWork {
  readonly log: BuildLog;
  readonly signal: AbortSignal;
  readonly size: MicrovmSize;
  readonly config: OciConfig;
}

async function makeSnapshot(parts: ImageBuilderParts, request: BuildRequest, { log, signal, size, config }: SnapshotWork): Promise<{ memoryBytes: number; diskBytes: number }> {
  const output = { application: log.output('application'), validate: log.output('validate') };
  try {
    return await parts.snapshotter.make({
      snapshotId: request.snapshotId,
      guestMemoryMib: size.guestMemoryMib,
      vcpus: Math.min(size.vcpus, parts.hostCores),
      application: applicationOf(config, request),
      hooks: request.config.hooks,
      step: (name, work) => log.step(name, work),
      onOutput: (source, bytes) => output[source].write(bytes),
      signal,
    });
  } finally {
    for (const sink of Object.values(output)) sink.end();
  }
}

/** AWS has one architecture, which its clients ask for or take for granted; a host may have another. */
function sayArchitecture(log: BuildLog, { asked, host }: { asked: readonly string[] | null; host: Architecture }): void {
  const here = WIRE_ARCHITECTURES[host];
  const wanted = asked?.[0] ?? WIRE_ARCHITECTURES.aarch64;
  if (wanted !== here) log.line('prepare', `Built for ${here}, as this host is; ${asked === null ? `on AWS it would be ${wanted}` : `cpuConfigurations ask for ${wanted}`}.`);
}

interface DiskWork {
  readonly parts: ImageBuilderParts;
  readonly request: BuildRequest;
  readonly log: BuildLog;
  readonly signal: AbortSignal;
  readonly contextDir: string;
  readonly disks: { readonly rootDisk: string; readonly scratch: string };
  readonly size: MicrovmSize;
}

async function containerToDisks({ parts, request, log, signal, contextDir, disks, size }: DiskWork): Promise<{ config: OciConfig; codeBytes: number }> {
  const tag = request.snapshotId;
  const act = <T>(kind: string, subject: string, work: () => Promise<T>) => effect(parts.files.effects, { kind, subject }, work);
  await using image = await log.step('container', () => act('build container', tag, () => parts.containers.build({ contextDir, tag, log, signal })));
  const codeBytes = await log.step('root disk', async () => {
    const sizeBytes = await act('write', disks.rootDisk, () => image.writeRootDisk(disks.rootDisk));
    await parts.rootDisks.share(disks.rootDisk);
    return sizeBytes;
  });
  await log.step('scratch disk', () => makeScratchDisk(parts.files, disks.scratch, size.scratchBytes));
  return { config: image.config, codeBytes };
}

/** Contract reference, section 8.1: the image's own environment, then the version's, then AWS's four variables; and, first, one of Lull's. */
function applicationOf(config: OciConfig, request: BuildRequest) {
  const argv = [...config.entrypoint, ...config.cmd];
  if (argv.length === 0) throw new BuildFailure('APPLICATION_FAILED', 'start application', { reason: 'The image has neither CMD nor ENTRYPOINT: there is nothing to run.' });
  const own = config.env.map((variable): [string, string] => {
    const split = variable.indexOf('=');
    return [variable.slice(0, split), variable.slice(split + 1)];
  });
  const env = {
    // The snapshot holds it before any microVM has a role, so every image gets it; its own settings win.
    AWS_ENDPOINT_URL_S3: GUEST_S3_ENDPOINT,
    ...Object.fromEntries(own),
    ...request.config.environmentVariables,
    AWS_LAMBDA_MICROVM_IMAGE_NAME: request.imageName,
    AWS_LAMBDA_MICROVM_IMAGE_ARN: request.imageArn,
    AWS_LAMBDA_MICROVM_IMAGE_VERSION: request.imageVersion,
    AWS_REGION: request.region,
  };
  const capabilities = request.config.additionalOsCapabilities?.includes('ALL') === true ? ('all' as const) : ('default' as const);
  return { argv, env, cwd: config.workingDir, user: config.user, hostname: HOSTNAME, capabilities, exposedPorts: config.exposedTcpPorts };
}

/** @returns the names of what was removed */
async function removeAllBut(files: Files, dir: string, kept: readonly string[]): Promise<readonly string[]> {
  const others = (await namesIn(dir)).filter((name) => !kept.includes(name));
  for (const name of others) await files.removeTree(join(dir, name));
  return others;
}

/** What a build needs only while it goes on. */
async function removeWorkings({ files, contextsDir, snapshotter }: ImageBuilderParts, snapshotId: string): Promise<readonly string[]> {
  const removed: string[] = [];
  if ((await namesIn(contextsDir)).includes(snapshotId)) {
    await files.removeTree(join(contextsDir, snapshotId));
    removed.push('artifact');
  }
  if ((await snapshotter.left()).includes(snapshotId)) {
    await snapshotter.discard(snapshotId);
    removed.push('process');
  }
  return removed;
}

/** None where the folder is not there. */
const namesIn = (dir: string) =>
  readdir(dir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });

/** What the log's reader gets to see: the failure and what caused it, one line each. */
function describe(error: unknown): string {
  return causesOf(error).map(({ message }) => message).join(': ') || String(error);
}

/** The error and what caused it, five at most. */
function causesOf(error: unknown): readonly Error[] {
  const causes: Error[] = [];
  for (let current: unknown = error; current instanceof Error && causes.length < 5; current = current.cause) causes.push(current);
  return causes;
}
