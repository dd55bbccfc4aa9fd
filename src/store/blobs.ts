/** The bytes of stored objects: one file each, named by a uuid of ours, complete or not there. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { LullError } from '../domain/errors.ts';
import type { BlobStore } from '../domain/object-store.ts';
import { syncFolder } from '../lib/atomic-file.ts';

const OWNER_ONLY_FILE = 0o600;
const OWNER_ONLY_FOLDER = 0o700;
const BLOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PARTIAL = '.partial';
/** Node has no `copy_file_range`: bytes go through one buffer, on its thread pool. */
const COPY_BYTES = 1024 * 1024;

/**
 * Opens a folder of blobs, makes it where it does not exist, and removes what a crash left half-written.
 * @param options.keep the blobs that something refers to: every other one is an orphan of a crash and goes too
 */
export async function openBlobs(folder: string, { keep }: { keep?: Iterable<string> } = {}): Promise<BlobStore> {
  await mkdir(folder, { recursive: true, mode: OWNER_ONLY_FOLDER });
  const kept = keep === undefined ? undefined : new Set(keep);
  for (const name of await readdir(folder)) {
    const orphan = kept !== undefined && BLOB_ID.test(name) && !kept.has(name);
    if (orphan || name.endsWith(PARTIAL)) await rm(join(folder, name), { force: true });
  }
  return new FileBlobStore(folder);
}

class FileBlobStore implements BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async write(source: Readable): Promise<{ blobId: string; size: number; md5: string }> {
    try {
      const { blobId, result } = await this.#make((file) => drain(source, file));
      return { blobId, ...result };
    } catch (error) {
      source.destroy();
      throw error;
    }
  }

  async join(blobIds: readonly string[]): Promise<string | undefined> {
    const [first] = blobIds;
    if (first !== undefined && blobIds.length === 1) {
      const second = await this.retain(first);
      await syncFolder(this.#folder);
      return second;
    }
    try {
      const { blobId } = await this.#make(async (file) => {
        const buffer = Buffer.allocUnsafe(COPY_BYTES);
        for (const each of blobIds) await append(this.path(each), file, buffer);
      });
      return blobId;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  read(blobId: string, range?: { start: number; end: number }): Readable {
    return createReadStream(this.path(blobId), range);
  }

  async retain(blobId: string): Promise<string | undefined> {
    const retained = randomUUID();
    try {
      await link(this.path(blobId), this.path(retained));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return retained;
  }

  async remove(blobId: string): Promise<void> {
    await rm(this.path(blobId), { force: true });
  }

  path(blobId: string): string {
    // Ids are ours, but one that leads out of the folder must not even be asked for.
    if (!BLOB_ID.test(blobId)) throw new LullError('internal', 'That is not the id of a stored blob.');
    return join(this.#folder, blobId);
  }

  /** A new blob, filled by `fill`: complete and durable, or not there. */
  async #make<T>(fill: (file: FileHandle) => Promise<T>): Promise<{ blobId: string; result: T }> {
    const blobId = randomUUID();
    const target = this.path(blobId);
    const partial = `${target}${PARTIAL}`;
    try {
      const result = await writeThrough(partial, fill);
      await rename(partial, target);
      await syncFolder(this.#folder);
      return { blobId, result };
    } catch (error) {
      await rm(partial, { force: true });
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      throw new LullError('insufficient-capacity', 'The disk that holds the object store is full.', { cause: error });
    }
  }
}

async function writeThrough<T>(path: string, fill: (file: FileHandle) => Promise<T>): Promise<T> {
  await using file = await open(path, 'wx', OWNER_ONLY_FILE);
  const result = await fill(file);
  await file.sync();
  return result;
}

async function drain(source: Readable, file: FileHandle): Promise<{ size: number; md5: string }> {
  const md5 = createHash('md5');
  let size = 0;
  for await (const chunk of source) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array);
    md5.update(bytes);
    await file.writeFile(bytes);
    size += bytes.length;
  }
  return { size, md5: md5.digest('hex') };
}

async function append(path: string, file: FileHandle, buffer: Buffer): Promise<void> {
  await using source = await open(path, 'r');
  for (;;) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return;
    await file.writeFile(buffer.subarray(0, bytesRead));
  }
}
