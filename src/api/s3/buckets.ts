/** Bucket operations: Amazon S3 API Reference, CreateBucket, HeadBucket, DeleteBucket, ListBuckets, GetBucketLocation. */
import { S3Error } from './s3-error.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { element, isoTime, wrap, xmlDocument } from './xml.ts';

/** In this region creating one's own bucket again succeeds (CreateBucket, `BucketAlreadyOwnedByYou`). */
const LENIENT_REGION = 'us-east-1';

/** A CreateBucketConfiguration is a few lines. */
const MAX_CONFIGURATION_BYTES = 16 * 1024;

/** S3 User Guide, "General purpose bucket naming rules". */
function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(name);
}

/** @throws S3Error NoSuchBucket */
export async function requireBucket({ store, target }: S3Call<'bucket'> | S3Call<'object'>): Promise<void> {
  if (await store.objects.hasBucket(target.bucket)) return;
  throw new S3Error('NoSuchBucket', { detail: { BucketName: target.bucket } });
}

export async function createBucket(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { store, target } = call;
  let bytes = 0;
  for await (const chunk of call.upload().stream) {
    bytes += Buffer.byteLength(chunk);
    if (bytes > MAX_CONFIGURATION_BYTES) throw new S3Error('EntityTooLarge');
  }
  if (!isBucketName(target.bucket)) throw new S3Error('InvalidBucketName', { detail: { BucketName: target.bucket } });
  const outcome = await store.objects.createBucket(target.bucket, store.clock.nowMs());
  if (outcome === 'exists' && store.realm.region !== LENIENT_REGION) {
    throw new S3Error('BucketAlreadyOwnedByYou', { detail: { BucketName: target.bucket } });
  }
  return { status: 200, headers: { location: `/${target.bucket}` } };
}

export async function headBucket(call: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(call);
  return { status: 200, headers: { 'x-amz-bucket-region': call.store.realm.region } };
}

export async function deleteBucket(call: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(call);
  if (await call.store.objects.deleteBucket(call.target.bucket)) return { status: 204 };
  throw new S3Error('BucketNotEmpty', { detail: { BucketName: call.target.bucket } });
}

export async function listBuckets({ store }: S3Call<'service'>): Promise<S3Answer> {
  const buckets = await store.objects.listBuckets();
  const entries = buckets.map(({ bucket, createdAtMs }) =>
    wrap('Bucket', element('Name', bucket) + element('CreationDate', isoTime(createdAtMs))),
  );
  const owner = wrap('Owner', element('ID', store.realm.account));
  return xmlAnswer(xmlDocument('ListAllMyBucketsResult', owner + wrap('Buckets', entries.join(''))));
}

/** An empty element stands for us-east-1. */
export async function getBucketLocation(call: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(call);
  const { region } = call.store.realm;
  return xmlAnswer(xmlDocument('LocationConstraint', region === LENIENT_REGION ? '' : region));
}
