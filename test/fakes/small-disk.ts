/** A file system of its own, small enough to be filled: ext4 in a file, mounted. For root alone. */
import { mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/host/process.ts';

/** Why there can be none here, or false. */
export async function cannotMount(): Promise<string | false> {
  if (process.getuid!() !== 0) return 'only root mounts a file system';
  try {
    await using _disk = await SmallDisk.make(16);
    return false;
  } catch (error) {
    return `no file system can be mounted here: ${error instanceof Error ? error.message : String(error)}`;
  }
}

export class SmallDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly folder: string;
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
    this.folder = join(root, 'disk');
  }

  static async make(sizeMib: number): Promise<SmallDisk> {
    const disk = new SmallDisk(await mkdtemp('/var/tmp/lull-disk-'));
    const image = join(disk.#root, 'ext4');
    await run(['truncate', '--size', `${sizeMib}M`, image]);
    await run(['mkfs.ext4', '-q', '-F', image], { env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' } });
    await run(['mkdir', disk.folder]);
    await run(['mount', '-o', 'loop', image, disk.folder]);
    return disk;
  }

  async availableBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.folder);
    return bavail * bsize;
  }

  /** Takes room until no more than this is left to those who are not root. */
  async leave(bytes: number): Promise<void> {
    await this.empty();
    await using ballast = await open(this.#ballast, 'w');
    // Of what is left a little goes for the file's own blocks of addresses, so it is taken bit by bit.
    for (let taken = 0; ; ) {
      const excess = (await this.availableBytes()) - bytes;
      if (excess <= 0) return;
      const step = Math.ceil(excess / BLOCK_BYTES) * BLOCK_BYTES;
      await run(['fallocate', '--offset', `${taken}`, '--length', `${step}`, this.#ballast]);
      taken += step;
      await ballast.sync();
    }
  }

  /** Gives back all that {@link leave} took. */
  async empty(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(['umount', this.folder]);
    await rm(this.#root, { recursive: true, force: true });
  }

  get #ballast(): string {
    return join(this.folder, 'ballast');
  }
}

const BLOCK_BYTES = 4096;
