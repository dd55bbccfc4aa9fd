/** The operations of the S3 surface, and how a request is told to be one of them. */
import { deletePublicAccessBlock, getBucketAcl, getBucketLocation, getBucketVersioning, getObjectAcl, getObjectTagging, getPublicAccessBlock, putPublicAccessBlock } from './bucket-settings.ts';
import { createBucket, deleteBucket, headBucket, listBuckets } from './buckets.ts';
import type { S3Answer, S3Call } from './call.ts';
import { completeUpload } from './complete-upload.ts';
import { copyObject } from './copy.ts';
import { deleteObjects } from './delete-objects.ts';
import { isHoisted } from './hoisted-headers.ts';
import { listObjectsV1, listObjectsV2 } from './listing.ts';
import { abortUpload, createUpload, uploadPart, uploadPartCopy } from './multipart.ts';
import { OVERRIDES } from './object-headers.ts';
import { deleteObject, getObject, headObject, putObject } from './objects.ts';
import { S3Error } from './s3-error.ts';
import type { S3Target } from './target.ts';
import { listParts, listUploads } from './upload-listing.ts';

/** One operation. The first that fits method, kind of target, selector and header is the one. */
interface S3Operation<K extends S3Target['kind']> {
  readonly name: string;
  readonly method: string;
  readonly kind: K;
  /** A query parameter that must be there, e.g. `location`. */
  readonly selector?: string;
  /** A header that must be there. */
  readonly header?: string;
  /** Further parameters that it knows. Any other makes the request something that is not implemented. */
  readonly parameters?: readonly string[];
  readonly run: (call: S3Call<K>) => Promise<S3Answer>;
}

const PAGE = ['prefix', 'delimiter', 'encoding-type'];
const READ = ['partNumber', ...OVERRIDES];
const COPY_SOURCE = 'x-amz-copy-source';

type AnyOperation = { readonly [K in S3Target['kind']]: S3Operation<K> }[S3Target['kind']];

const OPERATIONS: readonly AnyOperation[] = [
  { name: 'ListBuckets', method: 'GET', kind: 'service', parameters: ['max-buckets', 'continuation-token', 'prefix', 'bucket-region'], run: listBuckets },

  { name: 'GetBucketLocation', method: 'GET', kind: 'bucket', selector: 'location', run: getBucketLocation },
  { name: 'GetBucketVersioning', method: 'GET', kind: 'bucket', selector: 'versioning', run: getBucketVersioning },
  { name: 'GetBucketAcl', method: 'GET', kind: 'bucket', selector: 'acl', run: getBucketAcl },
  { name: 'GetPublicAccessBlock', method: 'GET', kind: 'bucket', selector: 'publicAccessBlock', run: getPublicAccessBlock },
  { name: 'PutPublicAccessBlock', method: 'PUT', kind: 'bucket', selector: 'publicAccessBlock', run: putPublicAccessBlock },
  { name: 'DeletePublicAccessBlock', method: 'DELETE', kind: 'bucket', selector: 'publicAccessBlock', run: deletePublicAccessBlock },
  { name: 'ListMultipartUploads', method: 'GET', kind: 'bucket', selector: 'uploads', parameters: [...PAGE, 'max-uploads', 'key-marker', 'upload-id-marker'], run: listUploads },
  { name: 'ListObjectsV2', method: 'GET', kind: 'bucket', selector: 'list-type', parameters: [...PAGE, 'max-keys', 'continuation-token', 'start-after', 'fetch-owner'], run: listObjectsV2 },
  { name: 'ListObjects', method: 'GET', kind: 'bucket', parameters: [...PAGE, 'max-keys', 'marker'], run: listObjectsV1 },
  { name: 'DeleteObjects', method: 'POST', kind: 'bucket', selector: 'delete', run: deleteObjects },
  { name: 'CreateBucket', method: 'PUT', kind: 'bucket', run: createBucket },
  { name: 'HeadBucket', method: 'HEAD', kind: 'bucket', run: headBucket },
  { name: 'DeleteBucket', method: 'DELETE', kind: 'bucket', run: deleteBucket },

  { name: 'CreateMultipartUpload', method: 'POST', kind: 'object', selector: 'uploads', run: createUpload },
  { name: 'UploadPartCopy', method: 'PUT', kind: 'object', selector: 'uploadId', header: COPY_SOURCE, parameters: ['partNumber'], run: uploadPartCopy },
  { name: 'UploadPart', method: 'PUT', kind: 'object', selector: 'uploadId', parameters: ['partNumber'], run: uploadPart },
  { name: 'CompleteMultipartUpload', method: 'POST', kind: 'object', selector: 'uploadId', run: completeUpload },
  { name: 'AbortMultipartUpload', method: 'DELETE', kind: 'object', selector: 'uploadId', run: abortUpload },
  { name: 'ListParts', method: 'GET', kind: 'object', selector: 'uploadId', parameters: ['max-parts', 'part-number-marker'], run: listParts },
  { name: 'GetObjectAcl', method: 'GET', kind: 'object', selector: 'acl', run: getObjectAcl },
  { name: 'GetObjectTagging', method: 'GET', kind: 'object', selector: 'tagging', run: getObjectTagging },
  { name: 'CopyObject', method: 'PUT', kind: 'object', header: COPY_SOURCE, run: copyObject },
  { name: 'PutObject', method: 'PUT', kind: 'object', run: putObject },
  { name: 'GetObject', method: 'GET', kind: 'object', parameters: READ, run: getObject },
  { name: 'HeadObject', method: 'HEAD', kind: 'object', parameters: READ, run: headObject },
  { name: 'DeleteObject', method: 'DELETE', kind: 'object', run: deleteObject },
];

/** Parameters that say nothing about the operation: the SDK's own, those of a presigned URL, and headers. */
const isNeutral = (name: string) => name === 'x-id' || isHoisted(name);

/** Runs the operation that a request is. @throws S3Error NotImplemented, MethodNotAllowed */
export function operate(method: string, call: S3Call): Promise<S3Answer> {
  const { target, headers } = call;
  const names = [...call.query.keys()].filter((name) => !isNeutral(name));
  for (const operation of OPERATIONS) {
    const { selector, header, parameters = [] } = operation;
    if (operation.method !== method || operation.kind !== target.kind) continue;
    if (selector !== undefined && !names.includes(selector)) continue;
    if (header !== undefined && headers[header] === undefined) continue;
    const unknown = names.find((name) => name !== selector && !parameters.includes(name));
    if (unknown !== undefined) throw new S3Error('NotImplemented', { detail: { Parameter: unknown } });
    return run(operation, call);
  }
  const others = OPERATIONS.some((operation) => operation.method === method && operation.kind === target.kind);
  throw new S3Error(others || names.length > 0 ? 'NotImplemented' : 'MethodNotAllowed');
}

function run(operation: AnyOperation, call: S3Call): Promise<S3Answer> {
  const { target } = call;
  switch (operation.kind) {
    case 'service':
      if (target.kind === 'service') return operation.run({ ...call, target });
      break;
    case 'bucket':
      if (target.kind === 'bucket') return operation.run({ ...call, target });
      break;
    case 'object':
      if (target.kind === 'object') return operation.run({ ...call, target });
      break;
  }
  throw new Error(`${operation.name} was chosen for a ${target.kind}`);
}
