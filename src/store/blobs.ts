/** The bytes of stored objects: one file each, named by a uuid of ours, complete or not there. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { LullError } from '../domain/errors.ts';
import type { BlobStore } from '../domain/object-store.ts';
import { Files } from '../lib/files.ts';

const BLOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PARTIAL = '.partial';
/** Node has no `copy_file_range`: bytes go through one buffer, on its thread pool. */
const COPY_BYTES = 1024 * 1024;

/**
 * Opens a folder of blobs, makes it where it does not exist, and removes what a crash left half-written.
 * @param options.keep the blobs that something refers to: every other one is an orphan of a crash and goes too
 */
export async function openBlobs(folder: string, { keep, files = new Files() }: { keep?: Iterable<string>; files?: Files } = {}): Promise<BlobStore> {
  await files.makeFolder(folder);
  const kept = keep === undefined ? undefined : new Set(keep);
  for (const name of await readdir(folder)) {
    const orphan = kept !== undefined && BLOB_ID.test(name) && !kept.has(name);
    if (orphan || name.endsWith(PARTIAL)) await files.remove(join(folder, name));
  }
  return new FileBlobStore(folder, files);
}

const isOurs = (name: string) => BLOB_ID.test(name.replace(PARTIAL, ''));

class FileBlobStore implements BlobStore {
  readonly #folder: string;
  readonly #files: Files;

  constructor(folder: string, files: Files) {
    this.#folder = folder;
    this.#files = files;
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
      const second = await this.#retain(first);
      await this.#files.sync(this.#folder);
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

  async remove(blobId: string): Promise<void> {
    await this.#files.remove(this.path(blobId));
  }

  async orphans(kept: ReadonlySet<string>, beforeMs: number): Promise<readonly { path: string; sizeBytes: number }[]> {
    const names = (await readdir(this.#folder)).filter((name) => isOurs(name) && !kept.has(name));
    const found = await Promise.all(names.map(async (name) => ({ path: join(this.#folder, name), about: await stat(join(this.#folder, name)).catch(() => undefined) })));
    return found.flatMap(({ path, about }) => (about !== undefined && about.ctimeMs < beforeMs ? [{ path, sizeBytes: about.size }] : []));
  }

  path(blobId: string): string {
    // Ids are ours, but one that leads out of the folder must not even be asked for.
    if (!BLOB_ID.test(blobId)) throw new LullError('internal', 'That is not the id of a stored blob.');
    return join(this.#folder, blobId);
  }

  /** A second name; undefined where the blob is gone. */
  async #retain(blobId: string): Promise<string | undefined> {
    const retained = randomUUID();
    try {
      await this.#files.link(this.path(blobId), this.path(retained));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return retained;
  }

  /** A new blob, filled by `fill`: complete and durable, or not there. */
  async #make<T>(fill: (file: FileHandle) => Promise<T>): Promise<{ blobId: string; result: T }> {
    const blobId = randomUUID();
    const target = this.path(blobId);
    const partial = `${target}${PARTIAL}`;
    try {
      const result = await this.#files.create(partial, fill);
      await this.#files.sync(partial);
      await this.#files.rename(partial, target);
      await this.#files.sync(this.#folder);
      return { blobId, result };
    } catch (error) {
      await this.#files.remove(partial);
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      throw new LullError('insufficient-capacity', 'The disk that holds the object store is full.', { cause: error });
    }
  }
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
