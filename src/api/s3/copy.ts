/** Copies inside the store: Amazon S3 API Reference, CopyObject. A copy of a whole object is a second name of its bytes. */
import type { ChecksumAlgorithm, StoredObject } from '../../domain/object-store.ts';
import { requireAccess } from './access.ts';
import { xmlAnswer } from './call.ts';
import type { ObjectStore, S3Answer, S3Call } from './call.ts';
import { checksumOf } from './checksums.ts';
import { COPY_SOURCE_PREFIX, judge, writeCondition } from './conditions.ts';
import { askedAlgorithm, checksumElements, describedBy } from './object-headers.ts';
import { findObject, openBlob, requireBucket, whileReplaced } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { checkKey, commit } from './writing.ts';
import { element, isoTime, xmlDocument } from './xml.ts';

type CopiedChecksums = Pick<StoredObject, 'checksums' | 'checksumType'>;

export async function copyObject(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target, headers } = call;
  checkKey(target.key);
  const condition = writeCondition(headers);
  const described = describedBy(headers);
  const replaces = replacesMetadata(call);
  const asked = askedAlgorithm(headers);
  await requireBucket(store, target.bucket);
  const source = await whileReplaced(async () => {
    const found = await findCopySource(call);
    checkCopy(call, { source: found, replaces });
    const checksums = await checksumsOfCopy(store, found, asked);
    const blobId = checksums && (await store.blobs.join([found.blobId]));
    return blobId === undefined ? undefined : { ...found, ...checksums, blobId };
  });
  const object: StoredObject = {
    ...source,
    ...(replaces ? described : {}),
    bucket: target.bucket,
    key: target.key,
    modifiedAtMs: store.clock.nowMs(),
    multipart: null,
  };
  await commit(call, { blobId: object.blobId, write: () => store.objects.put(object, condition), condition });
  return xmlAnswer(copyResult('CopyObjectResult', object));
}

/** The answer of a copy, of an object or a part. */
export const copyResult = (root: string, made: Pick<StoredObject, 'etag' | 'modifiedAtMs' | 'checksums'> & Partial<StoredObject>) =>
  xmlDocument(root, element('LastModified', isoTime(made.modifiedAtMs)) + element('ETag', `"${made.etag}"`) + checksumElements(made));

/**
 * The object that `x-amz-copy-source` names, where the conditions on it hold.
 * @throws S3Error InvalidArgument, AccessDenied, NoSuchBucket, NoSuchKey, PreconditionFailed
 */
export async function findCopySource(call: S3Call<'object'>): Promise<StoredObject> {
  const { headers } = call;
  const source = copySource(String(headers['x-amz-copy-source']));
  requireAccess(call.principal, source.bucket);
  const object = await findObject(call, source);
  const verdict = judge(object, headers, COPY_SOURCE_PREFIX);
  if (verdict === 'holds') return object;
  throw new S3Error('PreconditionFailed', verdict === 'unchanged' ? {} : { detail: { Condition: `${COPY_SOURCE_PREFIX}${verdict.failed}` } });
}

/** `/bucket/key`, percent-encoded, the first slash at will, maybe with a version; there are no versions here. */
function copySource(header: string): { bucket: string; key: string } {
  const match = /^\/?([^/?]+)\/([^?]+)(?:\?versionId=(.*))?$/s.exec(header);
  if (match === null) throw new S3Error('InvalidArgument', { message: 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey' });
  const [, bucket = '', key = '', version = 'null'] = match;
  if (version !== 'null') throw new S3Error('InvalidArgument', { message: 'Invalid version id specified', detail: { ArgumentName: 'versionId', ArgumentValue: version } });
  try {
    return { bucket: decodeURIComponent(bucket), key: decodeURIComponent(key) };
  } catch (cause) {
    throw new S3Error('InvalidArgument', { message: 'Invalid copy source encoding.', cause });
  }
}

function replacesMetadata({ headers }: S3Call<'object'>): boolean {
  const directive = headers['x-amz-metadata-directive'] ?? 'COPY';
  if (directive === 'COPY' || directive === 'REPLACE') return directive === 'REPLACE';
  throw new S3Error('InvalidArgument', { message: 'Unknown metadata directive.', detail: { ArgumentName: 'x-amz-metadata-directive', ArgumentValue: String(directive) } });
}

function checkCopy({ store, target, headers }: S3Call<'object'>, { source, replaces }: { source: StoredObject; replaces: boolean }): void {
  const { maxObjectBytes } = store.limits;
  if (source.size > maxObjectBytes) {
    throw new S3Error('InvalidRequest', { message: `The specified copy source is larger than the maximum allowable size for a copy source: ${maxObjectBytes}` });
  }
  const changes = replaces || ['x-amz-storage-class', 'x-amz-server-side-encryption'].some((name) => headers[name] !== undefined);
  if (source.bucket !== target.bucket || source.key !== target.key || changes) return;
  throw new S3Error('InvalidRequest', {
    message:
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  });
}

/** Those of the source, or the one that is asked for; undefined where the bytes are gone. */
async function checksumsOfCopy(store: ObjectStore, source: StoredObject, asked: ChecksumAlgorithm | undefined): Promise<CopiedChecksums | undefined> {
  const { checksums, checksumType } = source;
  if (asked === undefined) return { checksums, checksumType };
  const kept = checksums[asked];
  if (kept !== undefined && checksumType === 'FULL_OBJECT') return { checksums: { [asked]: kept }, checksumType };
  const stream = await openBlob(store, source.blobId, undefined);
  return stream === undefined ? undefined : { checksums: { [asked]: await checksumOf(asked, stream) }, checksumType: 'FULL_OBJECT' };
}
