/** The scenario's artifact, and the object store that it is in. */
import type { Step } from './scenario-run.ts';

const s3 = { service: 's3' } as const;
export const BUCKET = 'scenario-${client}';
const Bucket = BUCKET;

export const OBJECTS: readonly Step[] = [
  { id: 'make a bucket', ...s3, operation: 'CreateBucket', input: { Bucket } },
  { id: 'the bucket is there', ...s3, operation: 'HeadBucket', input: { Bucket } },
  { id: 'the bucket is listed', ...s3, operation: 'ListBuckets', input: {}, expect: { Buckets: { $has: { Name: Bucket, CreationDate: { $is: 'timestamp' } } } } },
  { id: 'where the bucket is', ...s3, operation: 'GetBucketLocation', input: { Bucket } },
  { id: 'upload the artifact', ...s3, operation: 'PutObject', input: { Bucket, Key: 'app.zip', Body: { $file: '${artifact}' }, ContentType: 'application/zip' }, expect: { ETag: { $is: 'string' } } },
  { id: 'upload what is no artifact', ...s3, operation: 'PutObject', input: { Bucket, Key: 'no folder/kéy.zip', Body: { $file: '${noArtifact}' }, Metadata: { made: 'here' } } },
  {
    id: 'its head',
    ...s3,
    operation: 'HeadObject',
    input: { Bucket, Key: 'no folder/kéy.zip' },
    expect: { ContentLength: { $is: 'size' }, Metadata: { made: 'here' }, LastModified: { $is: 'timestamp' } },
  },
  { id: 'its bytes', ...s3, operation: 'GetObject', input: { Bucket, Key: 'no folder/kéy.zip', Range: 'bytes=0-3' }, expect: { Body: 'this', ContentRange: { $matches: '^bytes 0-3/' } } },
  {
    id: 'objects are listed',
    ...s3,
    operation: 'ListObjectsV2',
    input: { Bucket, Prefix: 'no', Delimiter: '/' },
    expect: { CommonPrefixes: [{ Prefix: 'no folder/' }], KeyCount: 1, IsTruncated: false },
  },
  { id: 'upload what goes', ...s3, operation: 'PutObject', input: { Bucket, Key: 'goes', Body: { $file: '${noArtifact}' } } },
  { id: 'it goes', ...s3, operation: 'DeleteObject', input: { Bucket, Key: 'goes' } },
  {
    id: 'it has gone',
    ...s3,
    operation: 'GetObject',
    input: { Bucket, Key: 'goes' },
    error: { type: 'NoSuchKey', status: 404, message: 'The specified key does not exist.' },
  },
];
