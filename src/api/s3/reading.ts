/** How objects are found and their bytes opened, while others may replace them. */
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { StoredObject } from '../../domain/object-store.ts';
import type { ObjectStore, S3Request } from './call.ts';
import type { ByteRange } from './object-headers.ts';
import { S3Error } from './s3-error.ts';

/** How often an object is looked up again when its file went away in between: each time, somebody else replaced it. */
const ATTEMPTS = 5;

/** Tries until the files of what was looked up were still there; `attempt` gives undefined where they were gone. */
export async function whileReplaced<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let n = 1; n <= ATTEMPTS; n++) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw new S3Error('InternalError', { cause: new Error('the file of a blob that a row refers to is missing') });
}

/** @throws S3Error NoSuchBucket */
export async function requireBucket(store: ObjectStore, bucket: string): Promise<void> {
  if (await store.objects.hasBucket(bucket)) return;
  throw new S3Error('NoSuchBucket', { detail: { BucketName: bucket } });
}

/** @throws S3Error NoSuchBucket, NoSuchKey */
export async function findObject({ store }: Pick<S3Request, 'store'>, { bucket, key }: { bucket: string; key: string }): Promise<StoredObject> {
  const object = await store.objects.get(bucket, key);
  if (object !== undefined) return object;
  await requireBucket(store, bucket);
  throw new S3Error('NoSuchKey', { detail: { Key: key } });
}

/** The bytes, once the file is open (from then on, its removal does no harm); undefined where it is gone. */
export async function openBlob(store: ObjectStore, blobId: string, range: ByteRange | undefined): Promise<Readable | undefined> {
  const stream = store.blobs.read(blobId, range);
  stream.on('error', () => {});
  try {
    await once(stream, 'readable');
    return stream;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
