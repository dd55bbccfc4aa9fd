/** Bucket operations: Amazon S3 API Reference, CreateBucket, HeadBucket, DeleteBucket, ListBuckets. */
import { z } from 'zod';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { SHORT_DOCUMENT_BYTES, readDocument, xmlText } from './document.ts';
import type { DocumentKind } from './document.ts';
import { given, pageSize } from './listing.ts';
import { requireBucket } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { removeBlobs } from './writing.ts';
import { element, isoTime, ownerElement, wrap, xmlDocument } from './xml.ts';

/** In this region creating one's own bucket again succeeds (CreateBucket, `BucketAlreadyOwnedByYou`). */
export const LENIENT_REGION = 'us-east-1';

/** S3's largest page of buckets. */
const MAX_BUCKETS = 10_000;

/** An empty document has no location either; what it says but for a location is passed over. */
const CONFIGURATION: DocumentKind<{ LocationConstraint?: string | undefined }> = {
  root: 'CreateBucketConfiguration',
  names: ['LocationConstraint', 'Location', 'Type', 'Name', 'Bucket', 'DataRedundancy', 'Tags', 'Tag', 'Key', 'Value'],
  maxBytes: SHORT_DOCUMENT_BYTES,
  schema: z.union([z.literal('').transform(() => ({})), z.object({ LocationConstraint: xmlText.optional() })]),
};

/** S3 User Guide, "General purpose bucket naming rules". */
function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(name);
}

export async function createBucket(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { store, target } = call;
  const { region } = store.realm;
  const configuration = await readDocument(call, CONFIGURATION);
  if (!isBucketName(target.bucket)) throw new S3Error('InvalidBucketName', { detail: { BucketName: target.bucket } });
  const location = configuration?.LocationConstraint ?? region;
  if (location !== region) throw new S3Error('IllegalLocationConstraintException', { detail: { LocationConstraint: location } });
  const outcome = await store.objects.createBucket(target.bucket, store.clock.nowMs());
  if (outcome === 'exists' && region !== LENIENT_REGION) {
    throw new S3Error('BucketAlreadyOwnedByYou', { detail: { BucketName: target.bucket } });
  }
  return { status: 200, headers: { location: `/${target.bucket}` } };
}

export async function headBucket({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  return { status: 200, headers: { 'x-amz-bucket-region': store.realm.region } };
}

/** Unfinished uploads go with it. */
export async function deleteBucket({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  const freed = await store.objects.deleteBucket(target.bucket);
  if (freed === undefined) throw new S3Error('BucketNotEmpty', { detail: { BucketName: target.bucket } });
  await removeBlobs(store, freed);
  return { status: 204 };
}

export async function listBuckets({ store, query }: S3Call<'service'>): Promise<S3Answer> {
  const limit = pageSize(query, 'max-buckets', MAX_BUCKETS);
  const prefix = query.get('prefix') ?? '';
  const after = Buffer.from(query.get('continuation-token') ?? '', 'base64url').toString();
  const elsewhere = ![undefined, store.realm.region].includes(query.get('bucket-region'));
  const found = elsewhere || limit === 0 ? [] : await store.objects.listBuckets({ prefix, after, limit: limit + 1 });
  const buckets = found.slice(0, limit);
  const entries = buckets.map(({ bucket, createdAtMs }) =>
    wrap('Bucket', element('Name', bucket) + element('CreationDate', isoTime(createdAtMs)) + element('BucketRegion', store.realm.region)),
  );
  const next = found.length > limit ? Buffer.from(buckets.at(-1)?.bucket ?? '').toString('base64url') : undefined;
  return xmlAnswer(
    xmlDocument(
      'ListAllMyBucketsResult',
      [ownerElement('Owner', store.realm), wrap('Buckets', entries.join('')), given('ContinuationToken', next), given('Prefix', query.get('prefix'))].join(''),
    ),
  );
}
