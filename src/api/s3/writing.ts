/** How bytes become objects and parts: first the blob, then the row that refers to it. */
import type { Readable } from 'node:stream';
import { isLullError } from '../../domain/errors.ts';
import type { WriteCondition, WriteOutcome } from '../../domain/object-store.ts';
import type { ObjectStore, S3Call } from './call.ts';
import { S3Error } from './s3-error.ts';

/** S3 User Guide, "Creating object key names". */
const MAX_KEY_BYTES = 1024;

/** @throws S3Error KeyTooLongError, InvalidArgument */
export function checkKey(key: string): void {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new S3Error('KeyTooLongError', { detail: { MaxSizeAllowed: String(MAX_KEY_BYTES) } });
  }
  if (key.includes('\0')) throw new S3Error('InvalidArgument', { message: 'A key cannot hold a NUL character.' });
}

/** Writes a stream to a blob. What failed in the stream is the reason, whatever the writer makes of it. */
export async function writeBlob(store: ObjectStore, stream: Readable): Promise<{ blobId: string; size: number; md5: string }> {
  try {
    return await store.blobs.write(stream);
  } catch (error) {
    stream.destroy();
    throw stream.errored ?? error;
  }
}

/** A new blob, and the row that is to refer to it. */
export interface Commit {
  readonly blobId: string;
  readonly write: () => Promise<WriteOutcome>;
  readonly condition?: WriteCondition | undefined;
}

/**
 * Commits the row, and removes the blobs that nothing refers to then: those that were replaced or, where it is refused, the new one.
 * @throws S3Error NoSuchBucket, NoSuchKey, NoSuchUpload, PreconditionFailed
 */
export async function commit({ store, target }: S3Call<'object'>, { blobId, write, condition }: Commit): Promise<void> {
  let written: WriteOutcome;
  try {
    written = await write();
  } catch (error) {
    // A full disk has kept nothing. After any other failure the row may be there; where it is not, the next start removes the blob.
    if (isLullError(error, 'insufficient-capacity')) await store.blobs.remove(blobId);
    throw error;
  }
  if (written.outcome === 'stored') return removeBlobs(store, written.freed);
  await store.blobs.remove(blobId);
  switch (written.outcome) {
    case 'no-bucket':
      throw new S3Error('NoSuchBucket', { detail: { BucketName: target.bucket } });
    case 'no-key':
      throw new S3Error('NoSuchKey', { detail: { Key: target.key } });
    case 'no-upload':
      throw new S3Error('NoSuchUpload');
    case 'precondition-failed':
      throw new S3Error('PreconditionFailed', { detail: { Condition: condition === 'absent' ? 'If-None-Match' : 'If-Match' } });
  }
  written satisfies never;
}

/** Removes blobs that no row refers to. */
export async function removeBlobs(store: ObjectStore, blobIds: readonly string[]): Promise<void> {
  for (const blobId of blobIds) await store.blobs.remove(blobId);
}
