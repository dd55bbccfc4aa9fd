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
  { id: 'upload what is no artifact', ...s3, operation: 'PutObject', input: { Bucket, Key: 'no-folder/kéy.zip', Body: { $file: '${noArtifact}' }, Metadata: { made: 'here' } } },
  {
    id: 'its head',
    ...s3,
    operation: 'HeadObject',
    input: { Bucket, Key: 'no-folder/kéy.zip' },
    expect: { ContentLength: { $is: 'size' }, Metadata: { made: 'here' }, LastModified: { $is: 'timestamp' } },
  },
  { id: 'its bytes', ...s3, operation: 'GetObject', input: { Bucket, Key: 'no-folder/kéy.zip', Range: 'bytes=0-3' }, expect: { Body: 'this', ContentRange: { $matches: '^bytes 0-3/' } } },
  {
    id: 'objects are listed',
    ...s3,
    operation: 'ListObjectsV2',
    input: { Bucket, Prefix: 'no', Delimiter: '/' },
    expect: { CommonPrefixes: [{ Prefix: 'no-folder/' }], KeyCount: 1, IsTruncated: false },
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

/** Copies, parts, and an end: after the artifact has served. */
export const MORE_OBJECTS: readonly Step[] = [
  { id: 'copy an object', ...s3, operation: 'CopyObject', input: { Bucket, Key: 'copy', CopySource: `${BUCKET}/app.zip` }, expect: { CopyObjectResult: { ETag: { $is: 'string' }, LastModified: { $is: 'timestamp' } } } },
  { id: 'begin an upload in parts', ...s3, operation: 'CreateMultipartUpload', input: { Bucket, Key: 'parts' }, expect: { Bucket, Key: 'parts' }, save: { uploadId: 'UploadId' } },
  { id: 'begin one to give up', ...s3, operation: 'CreateMultipartUpload', input: { Bucket, Key: 'given up' }, save: { spareUploadId: 'UploadId' } },
  {
    id: 'upload a part',
    ...s3,
    operation: 'UploadPart',
    input: { Bucket, Key: 'parts', UploadId: '${uploadId}', PartNumber: 1, Body: { $file: '${artifact}' } },
    expect: { ETag: { $is: 'string' } },
    save: { partTag: 'ETag' },
  },
  { id: 'its parts', ...s3, operation: 'ListParts', input: { Bucket, Key: 'parts', UploadId: '${uploadId}' }, expect: { Parts: [{ PartNumber: 1, ETag: '${partTag}', Size: { $is: 'size' } }] } },
  { id: 'unfinished uploads', ...s3, operation: 'ListMultipartUploads', input: { Bucket }, expect: { Uploads: [{ Key: 'given up' }, { Key: 'parts' }] } },
  { id: 'give the other up', ...s3, operation: 'AbortMultipartUpload', input: { Bucket, Key: 'given up', UploadId: '${spareUploadId}' } },
  {
    id: 'make the parts an object',
    ...s3,
    operation: 'CompleteMultipartUpload',
    input: { Bucket, Key: 'parts', UploadId: '${uploadId}', MultipartUpload: { Parts: [{ PartNumber: 1, ETag: '${partTag}' }] } },
    expect: { Bucket, Key: 'parts', ETag: { $matches: '-1"$' } },
  },
  { id: 'keep the public out', ...s3, operation: 'PutPublicAccessBlock', input: { Bucket, PublicAccessBlockConfiguration: { BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true } } },
  { id: 'the public is out', ...s3, operation: 'GetPublicAccessBlock', input: { Bucket }, expect: { PublicAccessBlockConfiguration: { BlockPublicAcls: true } } },
  { id: 'delete a bucket that is not empty', ...s3, operation: 'DeleteBucket', input: { Bucket }, error: { type: 'BucketNotEmpty', status: 409, message: { $is: 'string' } } },
  {
    id: 'delete many objects',
    ...s3,
    operation: 'DeleteObjects',
    input: { Bucket, Delete: { Objects: [{ Key: 'copy' }, { Key: 'parts' }, { Key: 'app.zip' }, { Key: 'no-folder/kéy.zip' }] } },
    expect: { Deleted: { $size: 4 } },
  },
  { id: 'delete the bucket', ...s3, operation: 'DeleteBucket', input: { Bucket } },
];
