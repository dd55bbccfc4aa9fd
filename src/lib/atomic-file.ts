/** Small files that are there whole or not at all. */
import { open, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a folder's entries (names made, renamed, removed) durable. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/**
 * Writes a file so that a crash at any moment leaves the old or the new contents, never a part: a temporary file beside it,
 * fsync, rename, fsync of the folder.
 * @param mode permissions of the new file
 */
export async function writeFileAtomic(path: string, contents: string | Buffer, mode = 0o600): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    await using file = await open(temporary, 'w', mode);
    await file.chmod(mode);
    await file.writeFile(contents);
    await file.sync();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** Like {@link writeFileAtomic}, but safe only against the end of this process, not against the loss of power: much quicker. */
export async function replaceFile(path: string, contents: string | Buffer, mode = 0o600): Promise<void> {
  const temporary = `${path}.tmp`;
  await writeFile(temporary, contents, { mode });
  await rename(temporary, path);
}
