/**
 * Root disks that are byte for byte the same are one file, which the host then also caches once. Each version has a name of its own
 * for it (a hard link), and the pool has one by the hash of its content: whether anybody uses it is the number of its names, so no
 * row can be wrong about it and nothing of a version that is there can go.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files } from '../lib/files.ts';

/** ext4 lets a file have 65000 names; one more version then has a file of its own. */
const TOO_MANY_NAMES = 'EMLINK';

export interface RootDiskPoolParts {
  readonly files: Files;
  /** On the file system of the images. */
  readonly folder: string;
  /** SHA-256 of a file, in hex. */
  readonly hash: (path: string) => Promise<string>;
}

/** A disk of the pool that no version has any more. */
export interface UnusedRootDisk {
  readonly path: string;
  readonly sizeBytes: number;
}

export class RootDiskPool {
  readonly #parts: RootDiskPoolParts;

  constructor(parts: RootDiskPoolParts) {
    this.#parts = parts;
  }

  /** Replaces a new root disk by the one of the same content, where there is one; else it is the one for those that come. */
  async share(path: string): Promise<void> {
    const { files, folder, hash } = this.#parts;
    await files.makeFolder(folder);
    const digest = await hash(path);
    const pooled = join(folder, digest);
    if (await succeedsUnless('EEXIST', () => files.link(path, pooled))) return;
    // What has changed since is not what its name says: versions that have it keep it, and the pool goes on with the new one.
    if ((await hash(pooled)) !== digest) {
      await files.remove(pooled);
      return await files.link(path, pooled);
    }
    const temporary = `${path}.tmp`;
    if (!(await succeedsUnless(TOO_MANY_NAMES, () => files.link(pooled, temporary)))) return;
    await files.rename(temporary, path);
  }

  /** What has no name but the pool's. */
  async unused(): Promise<readonly UnusedRootDisk[]> {
    const { folder } = this.#parts;
    const names = await readdir(folder).catch((): string[] => []);
    // One that is gone by now was removed by another look.
    const found = await Promise.all(names.map(async (name) => ({ path: join(folder, name), about: await stat(join(folder, name)).catch(() => undefined) })));
    return found.flatMap(({ path, about }) => (about?.nlink === 1 ? [{ path, sizeBytes: about.size }] : []));
  }

  /** Removes what {@link unused} finds, and says what that was. One that a build takes at this moment stays that build's: only the pool forgets it. */
  async prune(): Promise<readonly UnusedRootDisk[]> {
    const unused = await this.unused();
    for (const { path } of unused) await this.#parts.files.remove(path);
    return unused;
  }
}

/** @returns false where it failed with that code */
async function succeedsUnless(code: string, act: () => Promise<void>): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== code) throw error;
    return false;
  }
}
