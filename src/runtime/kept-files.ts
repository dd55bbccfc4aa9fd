/** Files of snapshots and generations against what their manifest says of them: what is cheap enough to be asked at every restore. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { damagedFile, type FileEntry } from './manifests.ts';

/** Reads a small file whole. */
export async function digestOf(path: string): Promise<FileEntry> {
  const bytes = await readFile(path);
  return { sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** Compares every byte of a small file. @throws LullError internal that names it */
export async function requireIntact(path: string, expected: FileEntry): Promise<void> {
  const found = await digestOf(path).catch(() => undefined);
  if (found?.sha256 !== expected.sha256) throw damagedFile(path);
}

/** Compares the length of a file that is too large to be read each time. @throws LullError internal that names it */
export async function requireSize(path: string, expected: Pick<FileEntry, 'sizeBytes'>): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== expected.sizeBytes) throw damagedFile(path);
}
