/**
 * Who uses the platform folder. Servers of other data folders share it, and their images may need a copy that this machine's
 * manifest no longer names: each server leaves a note of its data folder, and of the copies that it and its images name.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Platform } from '../domain/platform.ts';
import { ARTIFACTS, writeFileAtomic } from './artifacts.ts';

const NOTES = 'users';
const DAY_MS = 86_400_000;
/** Set-up has made an artifact for a while before its manifest names it. */
const UNNAMED_DAYS = 1;
/** A data folder that is not there may be on a disk that is not mounted: what it noted counts for so long after its last start. */
const ABSENT_DAYS = 30;
const ARTIFACT_ID = /\b[0-9a-f]{24}\b/g;

/** An artifact that nobody is known to need. */
export interface UnusedArtifact {
  readonly id: string;
  readonly path: string;
  readonly sizeBytes: number;
}

/** Leaves the note of a server that starts. */
export async function noteUser(folder: string, dataFolder: string, platform: Platform): Promise<void> {
  const { kernel, initramfs, agent, qemu } = platform;
  const artifacts = [...new Set([kernel, initramfs, agent, qemu].map(({ id }) => id)), ...(await namedByImages(dataFolder))];
  await mkdir(join(folder, NOTES), { recursive: true });
  const name = createHash('sha256').update(dataFolder).digest('hex').slice(0, 16);
  await writeFileAtomic(join(folder, NOTES, `${name}.json`), `${JSON.stringify({ dataFolder, artifacts: [...new Set(artifacts)] }, null, 2)}\n`);
}

/**
 * What no manifest and no note names, nor any image or sleeping microVM of `dataFolder` or of one that was noted. What is older than the
 * first note is used, for all that is known: servers of before left none.
 * @throws Error where something that may name one cannot be read
 */
export async function unusedArtifacts(folder: string, dataFolder: string, nowMs: number): Promise<readonly UnusedArtifact[]> {
  const notedSince = (await stat(join(folder, NOTES)).catch(() => undefined))?.birthtimeMs ?? Infinity;
  const ids = (await readdir(join(folder, ARTIFACTS))).filter((name) => name.match(ARTIFACT_ID)?.[0] === name);
  const used = new Set([...idsIn(await readFile(join(folder, 'platform.json'), 'utf8')), ...(await namedByImages(dataFolder)), ...(await namedByUsers(folder, nowMs))]);
  const unused: UnusedArtifact[] = [];
  for (const id of ids) {
    const path = join(folder, ARTIFACTS, id);
    const { ctimeMs, birthtimeMs } = await stat(path);
    const isNew = nowMs - ctimeMs < UNNAMED_DAYS * DAY_MS;
    if (!used.has(id) && !isNew && birthtimeMs >= notedSince) unused.push({ id, path, sizeBytes: await treeBytes(path) });
  }
  return unused;
}

/** First its name goes, so that no half of it is ever taken for one; set-up removes what a crash leaves. */
export async function removeArtifact(folder: string, { id, path }: UnusedArtifact): Promise<void> {
  const going = join(folder, ARTIFACTS, `.making-${id}`);
  await rename(path, going);
  await rm(going, { recursive: true, force: true });
}

async function namedByUsers(folder: string, nowMs: number): Promise<readonly string[]> {
  const named: string[] = [];
  for (const name of await namesIn(join(folder, NOTES))) {
    const path = join(folder, NOTES, name);
    const text = await readFile(path, 'utf8');
    const { dataFolder } = JSON.parse(text) as { dataFolder: string };
    const isThere = (await stat(dataFolder).catch(() => undefined)) !== undefined;
    if (!isThere && nowMs - (await stat(path)).mtimeMs > ABSENT_DAYS * DAY_MS) await rm(path, { force: true });
    else named.push(...idsIn(text), ...(await namedByImages(dataFolder)));
  }
  return named;
}

/** What the manifests of a data folder name. */
async function namedByImages(dataFolder: string): Promise<readonly string[]> {
  const [images, microvms] = [join(dataFolder, 'images'), join(dataFolder, 'microvms')];
  const folders = (await namesIn(images)).map((name) => join(images, name));
  for (const microvm of await namesIn(microvms)) {
    const generations = (await namesIn(join(microvms, microvm))).filter((name) => name.startsWith('gen-'));
    folders.push(...generations.map((name) => join(microvms, microvm, name)));
  }
  const named: string[] = [];
  // One after the other: there may be thousands.
  for (const path of folders) named.push(...idsIn(await readFile(join(path, 'manifest.json'), 'utf8').catch(whereAbsent(''))));
  return named;
}

const idsIn = (text: string): readonly string[] => text.match(ARTIFACT_ID) ?? [];

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(whereAbsent<readonly string[]>([]));

/** Nothing is named by what is not there; what cannot be read may name anything. */
const whereAbsent = <T>(nothing: T) => (error: NodeJS.ErrnoException): T => {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return nothing;
  throw error;
};

async function treeBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(entries.filter((entry) => entry.isFile()).map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
