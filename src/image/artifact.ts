/** The code artifact: a zip from a stranger becomes a folder that `buildah` may read. Contract reference, sections 2.3 and 2.5. */
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import { BuildFailure } from '../domain/image.ts';
import { checkedTree, linkEscapes, type ArtifactNode } from './artifact-names.ts';

const STEP = 'artifact';
const MIB = 1024 ** 2;

/** What an artifact may cost. */
export interface ArtifactLimits {
  readonly compressedBytes: number;
  readonly entries: number;
  readonly expandedBytes: number;
  /** Expanded size over compressed size of one entry; small entries are exempt. */
  readonly ratio: number;
}

/** AWS names no limits; these let a large project through and stop a bomb (deflate itself ends near 1032:1). */
export const DEFAULT_ARTIFACT_LIMITS: ArtifactLimits = {
  compressedBytes: 512 * MIB,
  entries: 50_000,
  expandedBytes: 2048 * MIB,
  ratio: 500,
};

/** Below this an entry's ratio says nothing: a file of zeros is no attack. */
const RATIO_EXEMPT_BYTES = 16 * MIB;
const MAX_SYMLINK_TARGET_BYTES = 4096;
const METHOD_STORED = 0;
const METHOD_DEFLATED = 8;

const invalid = (detail: string, cause?: unknown): BuildFailure => new BuildFailure('ARCHIVE_INVALID', STEP, { reason: `The code artifact is not usable: ${detail}.`, cause });

/**
 * Unpacks a zip into `into`, which must not exist yet; it is made 0755, files 0644 or 0755.
 * @returns the number of entries and their expanded bytes
 * @throws BuildFailure ARCHIVE_INVALID with what is wrong, or ARCHIVE_DOCKERFILE_NOT_FOUND; what was unpacked stays for the caller to remove
 */
export async function unpackArtifact(options: {
  zipPath: string;
  into: string;
  limits?: ArtifactLimits;
  signal: AbortSignal;
}): Promise<{ entries: number; expandedBytes: number }> {
  const { zipPath, into, signal, limits = DEFAULT_ARTIFACT_LIMITS } = options;
  const { size } = await stat(zipPath);
  if (size > limits.compressedBytes) throw invalid(`it has ${size} bytes, the limit is ${limits.compressedBytes}`);
  const zip = await openZip(zipPath);
  try {
    if (zip.entryCount > limits.entries) throw invalid(`it has ${zip.entryCount} entries, the limit is ${limits.entries}`);
    const entries = await readDirectory(zip, limits, signal);
    const tree = treeOf(entries);
    if (tree.get('Dockerfile')?.type !== 'file') throw new BuildFailure('ARCHIVE_DOCKERFILE_NOT_FOUND', STEP);
    const expandedBytes = await unpackTree({ zip, tree, into, fileSize: size, signal });
    return { entries: entries.length, expandedBytes };
  } finally {
    zip.close();
  }
}

async function openZip(zipPath: string): Promise<ZipFile> {
  try {
    // Names are decoded but not repaired: strictFileNames keeps backslashes, which are then refused.
    return await openPromise(zipPath, { lazyEntries: true, autoClose: false, strictFileNames: true, validateEntrySizes: true });
  } catch (error) {
    throw invalid(reason(error), error);
  }
}

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300);

/** The whole central directory, checked for what can be known before anything is unpacked. */
async function readDirectory(zip: ZipFile, limits: ArtifactLimits, signal: AbortSignal): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  let expandedBytes = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      signal.throwIfAborted();
      if (entries.length >= limits.entries) throw invalid(`it has more than ${limits.entries} entries`);
      if (entry.isEncrypted()) throw invalid(`"${printable(entry.fileName)}" is encrypted`);
      if (entry.compressionMethod !== METHOD_STORED && entry.compressionMethod !== METHOD_DEFLATED) {
        throw invalid(`"${printable(entry.fileName)}" is compressed with method ${entry.compressionMethod}`);
      }
      expandedBytes += entry.uncompressedSize;
      if (expandedBytes > limits.expandedBytes) throw invalid(`it expands to more than ${limits.expandedBytes} bytes`);
      if (entry.uncompressedSize > RATIO_EXEMPT_BYTES && entry.uncompressedSize > entry.compressedSize * limits.ratio) {
        throw invalid(`"${printable(entry.fileName)}" expands more than ${limits.ratio} times`);
      }
      entries.push(entry);
    }
  } catch (error) {
    if (error instanceof BuildFailure || signal.aborted) throw error;
    throw invalid(reason(error), error);
  }
  return entries;
}

const printable = (name: string): string => name.slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?');

function treeOf(entries: readonly Entry[]): ReadonlyMap<string, ArtifactNode> {
  const checked = checkedTree(entries);
  if (typeof checked === 'string') throw invalid(checked);
  return checked;
}

/** Folders and files first, links last: nothing is ever written through a link. */
async function unpackTree(job: {
  zip: ZipFile;
  tree: ReadonlyMap<string, ArtifactNode>;
  into: string;
  fileSize: number;
  signal: AbortSignal;
}): Promise<number> {
  const { zip, tree, into, signal } = job;
  await mkdir(into);
  await refuseOverlaps(zip, tree, job.fileSize);
  let expandedBytes = 0;
  const made = new Set<string>(['.']);
  const links: { path: string; target: string }[] = [];
  for (const [path, node] of tree) {
    signal.throwIfAborted();
    if (node.type === 'folder') {
      await mkdir(join(into, path), { recursive: true });
      made.add(path);
    }
    if (node.entry === undefined || node.type === 'folder') continue;
    if (node.type === 'symlink') {
      links.push({ path, target: await readLink(zip, node.entry) });
      continue;
    }
    expandedBytes += await unpackFile({ zip, entry: node.entry, path: join(into, path), executable: node.executable, signal });
  }
  await makeLinks(links, into);
  // The build's user reads all of it, whatever the server's umask is.
  for (const folder of made) await chmod(join(into, folder), 0o755);
  return expandedBytes;
}

async function unpackFile(job: { zip: ZipFile; entry: Entry; path: string; executable: boolean; signal: AbortSignal }): Promise<number> {
  const { zip, entry, path, signal } = job;
  let checksum = 0;
  let bytes = 0;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done): void {
      checksum = crc32(chunk, checksum);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  try {
    const source = await zip.openReadStreamPromise(entry);
    // `wx` fails on anything that exists already, a link included.
    await pipeline(source, check, createWriteStream(path, { flags: 'wx' }), { signal });
    await chmod(path, job.executable ? 0o755 : 0o644);
  } catch (error) {
    if (signal.aborted || isSystemError(error)) throw error;
    throw invalid(`"${printable(entry.fileName)}": ${reason(error)}`, error);
  }
  if (checksum !== entry.crc32) throw invalid(`"${printable(entry.fileName)}" is damaged (checksum)`);
  return bytes;
}

/** Errors of the host's disk are ours, not the archive's; zlib's errors have a code too, but no errno of the system's. */
const isSystemError = (error: unknown): boolean => error instanceof Error && 'syscall' in error;

async function readLink(zip: ZipFile, entry: Entry): Promise<string> {
  if (entry.uncompressedSize > MAX_SYMLINK_TARGET_BYTES) throw invalid(`the link "${printable(entry.fileName)}" is too long`);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
  } catch (error) {
    throw invalid(`"${printable(entry.fileName)}": ${reason(error)}`, error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function makeLinks(links: readonly { path: string; target: string }[], into: string): Promise<void> {
  const targets = new Map(links.map(({ path, target }) => [path, target]));
  for (const { path, target } of links) {
    if (linkEscapes(path, targets)) throw invalid(`the link "${printable(path)}" points outside`);
    await symlink(target, join(into, path));
  }
}

/** Entries that share bytes are how a small zip expands without end, and how two readers see two archives. */
async function refuseOverlaps(zip: ZipFile, tree: ReadonlyMap<string, ArtifactNode>, fileSize: number): Promise<void> {
  const spans: { from: number; to: number; name: string }[] = [];
  for (const node of tree.values()) {
    if (node.entry === undefined) continue;
    const { entry } = node;
    try {
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      spans.push({ from: entry.relativeOffsetOfLocalHeader, to: fileDataStart + entry.compressedSize, name: entry.fileName });
    } catch (error) {
      throw invalid(`"${printable(entry.fileName)}": ${reason(error)}`, error);
    }
  }
  spans.sort((a, b) => a.from - b.from);
  let end = 0;
  for (const span of spans) {
    if (span.from < end) throw invalid(`"${printable(span.name)}" overlaps another entry`);
    if (span.to > fileSize) throw invalid(`"${printable(span.name)}" ends beyond the file`);
    end = span.to;
  }
}
