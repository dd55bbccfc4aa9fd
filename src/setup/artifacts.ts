/** Files kept under the hash of their content, put in place whole or not at all. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Dirent } from 'node:fs';
import { mkdir, open, readdir, readlink, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

/** Enough of a SHA-256 that two artifacts never share a folder. */
const ID_LENGTH = 24;

/** True of the names that {@link makeArtifact} gives. */
export const isArtifactId = (text: string) => new RegExp(`^[0-9a-f]{${ID_LENGTH}}$`).test(text);

/** Where artifacts live in the platform folder. */
export const ARTIFACTS = 'artifacts';

/** Hex SHA-256 of a file, read as a stream. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Hex SHA-256 over names, modes and contents of everything below a folder. */
export async function treeSha256(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }));
  paths.sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { entry, path } of paths) hash.update(`${relative(folder, path)}\0${await describe(entry, path)}\0`);
  return hash.digest('hex');
}

async function describe(entry: Dirent, path: string): Promise<string> {
  if (entry.isSymbolicLink()) return `link ${await readlink(path)}`;
  if (!entry.isFile()) return 'folder';
  const executable = ((await stat(path)).mode & 0o111) !== 0;
  return `${executable ? 'program' : 'file'} ${await fileSha256(path)}`;
}

/** A short key for things that decide whether something must be made again. */
export function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, ID_LENGTH);
}

/**
 * Makes an artifact: `fill` writes into an empty folder, which is then moved to the name of its content's hash (or dropped
 * where that exists already).
 * @param folder the platform folder
 * @returns the id, and the artifact's folder relative to `folder`
 */
export async function makeArtifact(folder: string, fill: (into: string) => Promise<void>): Promise<{ id: string; path: string }> {
  const root = join(folder, ARTIFACTS);
  const making = join(root, `.making-${randomBytes(8).toString('hex')}`);
  await mkdir(making, { recursive: true });
  try {
    await fill(making);
    const id = (await treeSha256(making)).slice(0, ID_LENGTH);
    const path = join(ARTIFACTS, id);
    const exists = await stat(join(folder, path)).then(
      () => true,
      () => false,
    );
    if (!exists) {
      await syncTree(making);
      await rename(making, join(folder, path));
      await syncFolder(root);
    }
    return { id, path };
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** Writes a file so that a crash leaves the old or the new one. */
export async function writeFileAtomic(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await syncFolder(join(entry.parentPath, entry.name));
  }
  await syncFolder(folder);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
