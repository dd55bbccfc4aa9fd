/** The artifact's Dockerfile becomes an image: buildah in a sandbox, its storage and layer cache in a folder of the builder's own. */
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { BuildFailure } from '../domain/image.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { prepareBases, type BaseImage } from './base-images.ts';
import { chooseEgress, denyHostFor, sweepHostRules, type EgressChoice, type EgressMode } from './build-egress.ts';
import type { BuildLog } from './build-log.ts';
import { runInSandbox, sandboxOutput, type SandboxCommand, type SandboxConfig } from './build-sandbox.ts';
import type { BuildUser } from './build-user.ts';
import { DiskFull, watchDisk } from './disk-watch.ts';
import { parseOciConfig, type OciConfig } from './oci-config.ts';
import { cachedImages, forgetImage, VERSION_IMAGE, type CachedImage, type InSandbox } from './layer-cache.ts';
import { OutputLines } from './output-lines.ts';
import { writeErofs } from './root-disk.ts';
import { HOUSEKEEPING_SCRIPT } from './sandbox-script.ts';

const STEP = 'container';
const GIB = 1024 ** 3;

export interface BuildLimits {
  readonly totalMs: number;
  readonly processes: number;
  /** What one build may add to the builder's folder, in bytes; also the limit of one file. */
  readonly diskBytes: number;
}

/** Room for a large `apt-get install` or a compiler; AWS's build VM has about 7 GB of disk (section 2.3). */
export const DEFAULT_BUILD_LIMITS: BuildLimits = { totalMs: 30 * 60_000, processes: 2048, diskBytes: 8 * GIB };

/** What `RUN` needs to know of this installation's network. */
export interface RunSettings {
  /** Only `http_proxy`, `https_proxy`, `ftp_proxy`, `no_proxy` (either case) reach `RUN`; none stays in the image. */
  readonly proxy: Readonly<Record<string, string>>;
  /** Files of the host shown to every `RUN`, e.g. an apt.conf, pip.conf, npmrc or CA bundle; `target` is absolute. Readable by the build's user. */
  readonly files: readonly { readonly source: string; readonly target: string }[];
  readonly buildArgs: Readonly<Record<string, string>>;
}

export interface BuilderConfig {
  /** The builder's own folder, kept between runs: the layer cache. The build's user must be able to reach it. */
  readonly dir: string;
  /** `lull-build` where the server is root, else null. */
  readonly user: BuildUser | null;
  readonly baseImages: readonly BaseImage[];
  /** Names in `FROM` for which one of {@link baseImages} is taken, e.g. AWS's own base where there is no network. */
  readonly baseNames: Readonly<Record<string, string>>;
  readonly egress: 'auto' | EgressMode;
  readonly allowedNetworks?: readonly string[];
  readonly settings?: RunSettings;
  readonly limits?: BuildLimits;
  /** Found by trying where absent: overlay, else vfs, which copies the whole tree for every layer. */
  readonly storageDriver?: 'overlay' | 'vfs';
  /** Leaves CAP_SYS_CHROOT to `RUN`. It is then able to leave buildah's chroot and to change the layers of other images. */
  readonly allowChroot?: boolean;
}

/** An image that was built. Dispose it once the root disk is written: the next build waits for that. */
export interface ContainerImage extends AsyncDisposable {
  readonly config: OciConfig;
  /** Writes the flattened image as EROFS to a new file that is the server's, 0444. @returns its size in bytes */
  writeRootDisk(path: string): Promise<number>;
}

export interface ContainerBuilder extends AsyncDisposable {
  /** One line for `doctor` and the log: whether and how builds reach the network. */
  readonly egress: EgressChoice;
  readonly storageDriver: 'overlay' | 'vfs';
  /**
   * Builds the Dockerfile of a folder (made by `unpackArtifact`; readable by the build's user). One build at a time.
   * @param options.tag folder-safe id of the version
   * @throws BuildFailure CONTAINER_BUILD_FAILED or DISK_STORAGE_FULL, the reason in the log; the signal's reason where it was aborted
   */
  build(options: { contextDir: string; tag: string; log: BuildLog; signal: AbortSignal }): Promise<ContainerImage>;
  /** Versions of whose builds layers are kept. Waits for a build that is under way. */
  cached(): Promise<readonly CachedImage[]>;
  /** Drops those of one version. */
  forget(tag: string): Promise<void>;
}

/**
 * Makes the builder's folder, finds out what works here and imports the base images that are new.
 * @throws LullError validation where the folder cannot be reached by the build's user, internal where sandboxes do not work
 */
export async function prepareBuilder(config: BuilderConfig, signal: AbortSignal): Promise<ContainerBuilder> {
  const limits = config.limits ?? DEFAULT_BUILD_LIMITS;
  await makeFolders(config);
  const sandbox: SandboxConfig = {
    user: config.user,
    homeDir: config.dir,
    maxProcesses: limits.processes,
    maxFileBytes: limits.diskBytes,
    egress: { allowedNetworks: config.allowedNetworks ?? [] },
  };
  const storageDriver = await workingDriver(sandbox, config, signal);
  // Not there or not allowed: then there is nothing of ours to drop either.
  if (config.user !== null) await sweepHostRules().catch(() => undefined);
  const egress = await workingEgress({ sandbox, config, driver: storageDriver, signal });
  const hostRules = config.user === null || egress.mode === 'none' ? undefined : await denyHostFor(config.user, sandbox.egress);
  const held = hostRules === undefined && egress.mode !== 'none' ? { ...egress, reason: `${egress.reason} (held by the sandbox's routes alone, without nftables)` } : egress;
  const builder = new Builder({ config, limits, sandbox, storageDriver, egress: held, hostRules });
  try {
    await builder.sweep();
    await builder.importBases(signal);
    return builder;
  } catch (error) {
    await builder[Symbol.asyncDispose]();
    throw error;
  }
}

const FOLDERS_OF_USER = ['overlay', 'vfs', 'tmp'] as const;

async function makeFolders({ dir, user }: BuilderConfig): Promise<void> {
  await mkdir(join(dir, 'roots'), { recursive: true });
  for (const folder of ['.', 'roots']) await chmod(join(dir, folder), user === null ? 0o700 : 0o711);
  for (const folder of FOLDERS_OF_USER) {
    const path = join(dir, folder);
    await mkdir(path, { recursive: true });
    if (user !== null) await chown(path, user.uid, user.gid);
    await chmod(path, 0o700);
  }
  if (user === null) return;
  for (let above = dirname(dir); ; above = dirname(above)) {
    if (((await stat(above)).mode & 0o001) === 0) throw new LullError('validation', `The user ${user.name} cannot reach ${dir}: ${above} is closed to others.`);
    if (above === dirname(above)) return;
  }
}

/** Overlay needs a kernel that lets user namespaces mount it (5.13) and a file system with extended attributes; vfs copies instead. */
async function workingDriver(sandbox: SandboxConfig, config: BuilderConfig, signal: AbortSignal): Promise<'overlay' | 'vfs'> {
  const causes: unknown[] = [];
  const candidates = config.storageDriver === undefined ? (['overlay', 'vfs'] as const) : [config.storageDriver];
  for (const driver of candidates) {
    try {
      await sandboxOutput(sandbox, {
        argv: ['sh', '-ec', 'container=$(buildah from scratch); buildah mount "$container"; buildah rm "$container"'],
        ...surroundings(config, driver),
        egress: 'none',
        signal,
      });
      return driver;
    } catch (error) {
      signal.throwIfAborted();
      causes.push(error);
    }
  }
  const why = causes.map((cause) => (cause instanceof Error ? cause.message : String(cause))).join('; ');
  throw new LullError('internal', `Container builds do not work on this machine: ${why.slice(0, 1000)}`, { cause: causes.at(-1) });
}

/** What should work is tried once: a container without CAP_MKNOD, or a kernel without TUN, shows only then. */
async function workingEgress(options: { sandbox: SandboxConfig; config: BuilderConfig; driver: 'overlay' | 'vfs'; signal: AbortSignal }): Promise<EgressChoice> {
  const { sandbox, config, driver, signal } = options;
  const choice = await chooseEgress(config.egress, config.user);
  if (choice.mode === 'none') return choice;
  try {
    await sandboxOutput(sandbox, { argv: ['true'], ...surroundings(config, driver), egress: choice.mode, signal });
    return choice;
  } catch (error) {
    signal.throwIfAborted();
    const why = (error instanceof Error ? error.message : String(error)).split('\n').at(-1);
    return { mode: 'none', reason: `builds have no network: ${why}` };
  }
}

/** What every sandbox of the builder sees, and the environment of buildah in it. */
function surroundings(config: BuilderConfig, driver: 'overlay' | 'vfs'): Pick<SandboxCommand, 'binds' | 'env'> {
  return {
    binds: [
      { source: join(config.dir, driver), target: 'storage' },
      { source: join(config.dir, 'tmp'), target: 'var/tmp' },
    ],
    env: {
      HOME: '/root',
      TMPDIR: '/var/tmp',
      BUILDAH_ISOLATION: 'chroot',
      STORAGE_DRIVER: driver,
      CONTAINERS_STORAGE_CONF: '/etc/containers/storage.conf',
      // The namespace is made already; these keep buildah from making another one.
      _CONTAINERS_USERNS_CONFIGURED: 'done',
      _CONTAINERS_ROOTLESS_UID: String(config.user?.uid ?? process.getuid?.() ?? 0),
    },
  };
}

class Builder implements ContainerBuilder {
  readonly egress: EgressChoice;
  readonly storageDriver: 'overlay' | 'vfs';
  /** The host's own rules against the build's user. */
  readonly #hostRules: AsyncDisposable | undefined;
  readonly #config: BuilderConfig;
  readonly #limits: BuildLimits;
  readonly #sandbox: SandboxConfig;
  /** The storage is one, and so is the machine: builds take turns. */
  readonly #queue = new KeyedQueue();

  constructor(options: {
    config: BuilderConfig;
    limits: BuildLimits;
    sandbox: SandboxConfig;
    storageDriver: 'overlay' | 'vfs';
    egress: EgressChoice;
    hostRules: AsyncDisposable | undefined;
  }) {
    this.#config = options.config;
    this.#limits = options.limits;
    this.#sandbox = options.sandbox;
    this.storageDriver = options.storageDriver;
    this.egress = options.egress;
    this.#hostRules = options.hostRules;
  }

  /** A server that was killed leaves mount points, empty now, and working containers. */
  async sweep(): Promise<void> {
    const roots = join(this.#config.dir, 'roots');
    const left = await readdir(roots);
    for (const name of left) await rmdir(join(roots, name)).catch(() => undefined);
    if (left.length > 0) await this.#tidy();
  }

  async importBases(signal: AbortSignal): Promise<void> {
    await prepareBases({
      bases: this.#config.baseImages,
      names: this.#config.baseNames,
      inSandbox: (argv, binds = []) => this.#collect(argv, signal, { binds }),
    });
  }

  build(options: { contextDir: string; tag: string; log: BuildLog; signal: AbortSignal }): Promise<ContainerImage> {
    if (!/^[a-z0-9][a-z0-9._-]{0,100}$/.test(options.tag)) throw new TypeError(`not a tag: ${options.tag}`);
    return new Promise((resolve, reject) => {
      // The turn lasts until the image is disposed of, or the build failed.
      void this.#queue.run('build', async () => {
        try {
          const turn = Promise.withResolvers<void>();
          resolve(await this.#build(options, turn.resolve));
          await turn.promise;
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  cached(): Promise<readonly CachedImage[]> {
    return this.#queue.run('build', () => cachedImages(this.#housekeeping));
  }

  forget(tag: string): Promise<void> {
    return this.#queue.run('build', () => forgetImage(this.#housekeeping, tag));
  }

  readonly #housekeeping: InSandbox = (argv) => this.#collect(argv, AbortSignal.timeout(HOUSEKEEPING_LIMIT_MS));

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.idle();
    await this.#hostRules?.[Symbol.asyncDispose]();
  }

  async #build(options: { contextDir: string; tag: string; log: BuildLog; signal: AbortSignal }, endTurn: () => void): Promise<ContainerImage> {
    const { tag, log, signal } = options;
    signal.throwIfAborted();
    const image = `${VERSION_IMAGE}:${tag}`;
    try {
      log.line(STEP, this.egress.reason);
      await this.#runBuildah(image, options);
      const config = await this.#inspect(image, log, signal);
      return {
        config,
        writeRootDisk: (path) => writeErofs({ path, image, run: (argv, descriptor) => this.#collect(argv, signal, { descriptor }) }),
        [Symbol.asyncDispose]: async () => {
          await this.#tidy();
          endTurn();
        },
      };
    } catch (error) {
      await this.#tidy();
      throw error;
    }
  }

  async #runBuildah(image: string, options: { contextDir: string; log: BuildLog; signal: AbortSignal }): Promise<void> {
    const { contextDir, log, signal } = options;
    const stop = new AbortController();
    const time = AbortSignal.timeout(this.#limits.totalMs);
    using _ = await watchDisk({ dir: this.#config.dir, maxBytes: this.#limits.diskBytes, mayCount: process.getuid?.() === 0, controller: stop });
    const around = surroundings(this.#config, this.storageDriver);
    const files = (this.#config.settings?.files ?? []).map(({ source, target }, index) => ({ source, bind: `settings/${index}`, target }));
    const output = log.output(STEP);
    const watch = new FailureWatch(this.#config.baseNames, (line) => log.line(STEP, line));
    const sink = (chunk: Buffer): void => {
      output.write(chunk);
      watch.lines.write(chunk);
    };
    try {
      const code = await runInSandbox(this.#sandbox, {
        argv: buildArgv({ image, files, buildArgs: this.#config.settings?.buildArgs ?? {}, allowChroot: this.#config.allowChroot ?? false }),
        env: { ...around.env, ...this.#config.settings?.proxy },
        binds: [...around.binds, ...certificates(), { source: contextDir, target: 'context' }, ...files.map(({ source, bind }) => ({ source, target: bind }))],
        egress: this.egress.mode,
        stdout: sink,
        stderr: sink,
        signal: AbortSignal.any([signal, time, stop.signal]),
      });
      output.end();
      watch.lines.end();
      if (code === 0) return;
      log.line(STEP, `buildah ended with status ${code}`);
      throw new BuildFailure(watch.diskFull ? 'DISK_STORAGE_FULL' : 'CONTAINER_BUILD_FAILED', STEP);
    } catch (error) {
      output.end();
      if (signal.aborted || error instanceof BuildFailure) throw error;
      const why = error === time.reason ? `the build did not end within ${this.#limits.totalMs} ms` : error instanceof Error ? error.message : String(error);
      log.line(STEP, `stopped: ${why}`);
      throw new BuildFailure(error instanceof DiskFull ? 'DISK_STORAGE_FULL' : 'CONTAINER_BUILD_FAILED', STEP, { cause: error });
    }
  }

  async #inspect(image: string, log: BuildLog, signal: AbortSignal): Promise<OciConfig> {
    const json = await this.#collect(['buildah', 'inspect', '--type', 'image', image], signal);
    try {
      return parseOciConfig(json);
    } catch (error) {
      log.line(STEP, 'the configuration of the image is beyond what is accepted');
      throw new BuildFailure('CONTAINER_BUILD_FAILED', STEP, { cause: error });
    }
  }

  /** Drops what a build left unfinished and the oldest images; failing is no news, the next build tries again. */
  async #tidy(): Promise<void> {
    await this.#housekeeping(['sh', '-c', HOUSEKEEPING_SCRIPT, 'housekeeping', String(IMAGES_KEPT)]).catch(() => undefined);
  }

  #collect(argv: readonly [string, ...string[]], signal: AbortSignal, more: Partial<Pick<SandboxCommand, 'binds' | 'descriptor'>> = {}): Promise<string> {
    const around = surroundings(this.#config, this.storageDriver);
    return sandboxOutput(this.#sandbox, {
      argv,
      env: around.env,
      egress: 'none',
      signal,
      ...more,
      binds: [...around.binds, ...(more.binds ?? [])],
    });
  }
}

/** Versions whose layers are kept for the cache. */
const IMAGES_KEPT = 16;
const HOUSEKEEPING_LIMIT_MS = 5 * 60_000;

function buildArgv(options: {
  image: string;
  files: readonly { bind: string; target: string }[];
  buildArgs: Readonly<Record<string, string>>;
  allowChroot: boolean;
}): [string, ...string[]] {
  return [
    'buildah',
    'build',
    '--layers',
    // Docker's format keeps what OCI's has no place for: SHELL, HEALTHCHECK, ONBUILD.
    '--format=docker',
    // The network of the sandbox, not another one inside it.
    '--network=host',
    '--pull=missing',
    ...(options.allowChroot ? [] : ['--cap-drop=CAP_SYS_CHROOT']),
    ...options.files.map(({ bind, target }) => `--volume=/${bind}:${target}:ro`),
    ...Object.entries(options.buildArgs).map(([name, value]) => `--build-arg=${name}=${value}`),
    `--tag=${options.image}`,
    '--file=/context/Dockerfile',
    '/context',
  ];
}

/** For pulls by buildah itself. */
const CERTIFICATE_FOLDERS = ['/etc/ssl/certs', '/etc/pki/tls/certs'];

const certificates = (): SandboxCommand['binds'] =>
  CERTIFICATE_FOLDERS.filter((path) => existsSync(path)).map((source) => ({ source, target: source.slice(1) }));

/** Reads along: a base name that was mapped is said aloud, and a disk that was full is recognised. */
class FailureWatch {
  diskFull = false;
  readonly lines: OutputLines;

  constructor(baseNames: Readonly<Record<string, string>>, say: (line: string) => void) {
    const said = new Set<string>();
    this.lines = new OutputLines((line) => {
      if (/no space left on device|file size limit exceeded|file too large|disk quota exceeded/i.test(line)) this.diskFull = true;
      const from = /^(?:\[\d+\/\d+\] )?STEP \d+(?:\/\d+)?: FROM (?:--platform=\S+ )?(\S+)/.exec(line)?.[1];
      const base = from === undefined ? undefined : (baseNames[from] ?? baseNames[from.replace(/:latest$/, '')]);
      if (from === undefined || base === undefined || said.has(from)) return;
      said.add(from);
      say(`FROM ${from}: ${base} is used in its place, as this installation is configured`);
    });
  }
}
