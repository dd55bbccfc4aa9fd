/** Where the runtime keeps what, below the data folder and the (short) runtime folder. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A file as an error shows it to a client: `gen-3/memory.diff`, and no folder of the host. */
export const shortName = (path: string) => join(basename(dirname(path)), basename(path));

/** The files of an image version's snapshot. All immutable once the manifest is there. */
export interface SnapshotFiles {
  readonly dir: string;
  readonly memory: string;
  readonly deviceState: string;
  readonly rootDisk: string;
  readonly scratch: string;
  readonly manifest: string;
}

/** The files of one microVM. */
export interface MicrovmFiles {
  readonly dir: string;
  readonly scratch: string;
  /** The agent's secret, 0600: what the running agent knows, and what it knew before. */
  readonly secret: string;
  readonly log: string;
  /** Sockets; the path is short because a Unix socket's may have only 107 bytes. */
  readonly runDir: string;
}

/** One generation of a suspended microVM: complete where its manifest is there. */
export interface GenerationFiles {
  readonly dir: string;
  readonly deviceState: string;
  readonly memoryDiff: string;
  readonly manifest: string;
}

/** Short, as the path of a socket has to be. */
const BUILD_MARK = 'b-';

/** Paths below one data folder. */
export class DataLayout {
  readonly #data: string;
  readonly #run: string;

  /** @param runtimeFolder a folder with a short path, private to this user */
  constructor(dataFolder: string, runtimeFolder: string) {
    this.#data = dataFolder;
    this.#run = runtimeFolder;
  }

  get microvmsDir(): string {
    return join(this.#data, 'microvms');
  }

  /** Logs outlive their microVM: they are wanted most when it has ended by itself. */
  get logsDir(): string {
    return join(this.#data, 'logs');
  }

  get runtimeFolder(): string {
    return this.#run;
  }

  /** The microVMs that have a folder for sockets. */
  async socketFolders(): Promise<readonly string[]> {
    return (await readdir(this.#run)).filter((name) => !name.startsWith(BUILD_MARK)).map((name) => `microvm-${name}`);
  }

  /** The versions whose builds have one. */
  async buildSocketFolders(): Promise<readonly string[]> {
    return (await readdir(this.#run)).filter((name) => name.startsWith(BUILD_MARK)).map((name) => name.slice(BUILD_MARK.length));
  }

  get imagesDir(): string {
    return join(this.#data, 'images');
  }

  /** Sockets of the machine that builds a version. */
  buildRunDir(snapshotId: string): string {
    return join(this.#run, `${BUILD_MARK}${snapshotId}`);
  }

  snapshot(snapshotId: string): SnapshotFiles {
    const dir = join(this.imagesDir, snapshotId);
    return {
      dir,
      memory: join(dir, 'memory'),
      deviceState: join(dir, 'device-state'),
      rootDisk: join(dir, 'root.erofs'),
      scratch: join(dir, 'scratch.ext4'),
      manifest: join(dir, 'manifest.json'),
    };
  }

  microvm(microvmId: string): MicrovmFiles {
    const dir = join(this.microvmsDir, microvmId);
    return {
      dir,
      scratch: join(dir, 'scratch.ext4'),
      secret: join(dir, 'agent-secret.json'),
      log: join(this.logsDir, `${microvmId}.log`),
      runDir: join(this.#run, microvmId.replace(/^microvm-/, '')),
    };
  }

  generation(microvmId: string, generation: number): GenerationFiles {
    const dir = join(this.microvm(microvmId).dir, `gen-${generation}`);
    return {
      dir,
      deviceState: join(dir, 'device-state'),
      memoryDiff: join(dir, 'memory.diff'),
      manifest: join(dir, 'manifest.json'),
    };
  }
}
