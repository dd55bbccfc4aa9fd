/** Object operations: Amazon S3 API Reference, PutObject, GetObject, HeadObject, DeleteObject. */
import type { StoredObject } from '../../domain/object-store.ts';
import type { S3Answer, S3Call } from './call.ts';
import { judge, writeCondition } from './conditions.ts';
import { answerHeaders, checksumHeaders, describedBy, validators } from './object-headers.ts';
import type { ByteRange } from './object-headers.ts';
import { findObject, openBlob, requireBucket, whileReplaced } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { checkKey, commit, removeBlobs, writeBlob } from './writing.ts';

export async function putObject(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target, headers } = call;
  checkKey(target.key);
  const description = describedBy(headers);
  const condition = writeCondition(headers);
  await requireBucket(store, target.bucket);
  const upload = call.upload();
  const blob = await writeBlob(store, upload.stream);
  const object: StoredObject = {
    ...description,
    bucket: target.bucket,
    key: target.key,
    blobId: blob.blobId,
    size: blob.size,
    etag: blob.md5,
    checksums: { ...upload.checksums },
    checksumType: 'FULL_OBJECT',
    modifiedAtMs: store.clock.nowMs(),
    multipart: null,
  };
  await commit(call, { blobId: blob.blobId, write: () => store.objects.put(object, condition), condition });
  return { status: 200, headers: { etag: `"${object.etag}"`, ...checksumHeaders(object) } };
}

export function getObject(call: S3Call<'object'>): Promise<S3Answer> {
  return whileReplaced(async () => {
    const { object, answer, range } = await look(call);
    if (answer.status === 304) return answer;
    if (object.size === 0) return { ...answer, body: '' };
    const body = await openBlob(call.store, object.blobId, range);
    return body === undefined ? undefined : { ...answer, body };
  });
}

export async function headObject(call: S3Call<'object'>): Promise<S3Answer> {
  return (await look(call)).answer;
}

/** 204 also where there is no such key. */
export async function deleteObject(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target } = call;
  const conditional = ['if-match', 'x-amz-if-match-last-modified-time', 'x-amz-if-match-size'].find((name) => call.headers[name] !== undefined);
  if (conditional !== undefined) throw new S3Error('NotImplemented', { detail: { Header: conditional } });
  await requireBucket(store, target.bucket);
  await removeBlobs(store, await store.objects.delete(target.bucket, [target.key]));
  return { status: 204 };
}

/** GetObject and HeadObject alike, without the bytes. */
async function look(call: S3Call<'object'>): Promise<{ object: StoredObject; answer: S3Answer; range: ByteRange | undefined }> {
  const { headers } = call;
  const object = await findObject(call, call.target);
  const verdict = judge(object, headers);
  if (typeof verdict === 'object') throw new S3Error('PreconditionFailed', { detail: { Condition: verdict.failed } });
  if (verdict === 'unchanged') return { object, answer: { status: 304, headers: validators(object) }, range: undefined };
  const part = requestedPart(call, object);
  const range = part ?? requestedRange(headers.range, object.size);
  if (range === undefined) return { object, answer: { status: 200, headers: answerHeaders(call, object, undefined) }, range };
  const count = part === undefined || object.multipart === null ? {} : { 'x-amz-mp-parts-count': String(object.multipart.partSizes.length) };
  return { object, answer: { status: 206, headers: { ...answerHeaders(call, object, range), ...count } }, range };
}

/**
 * The bytes of the part that `partNumber` asks for; an object that came whole is its own first part.
 * @throws S3Error InvalidPartNumber, InvalidRequest
 */
function requestedPart({ query, headers }: S3Call<'object'>, { multipart, size }: StoredObject): ByteRange | undefined {
  const number = query.get('partNumber');
  if (number === undefined) return undefined;
  if (headers.range !== undefined) throw new S3Error('InvalidRequest', { message: 'Cannot specify both Range header and partNumber query parameter' });
  const sizes = multipart?.partSizes ?? [size];
  const index = /^\d{1,5}$/.test(number) ? Number(number) - 1 : -1;
  const partSize = sizes[index];
  if (partSize === undefined) throw new S3Error('InvalidPartNumber', { detail: { PartNumberRequested: number, ActualPartCount: String(sizes.length) } });
  // An empty range cannot be said in HTTP.
  if (partSize === 0) return undefined;
  const start = sizes.slice(0, index).reduce((sum, each) => sum + each, 0);
  return { start, end: start + partSize - 1 };
}

/**
 * One range (RFC 9110, section 14.1); anything else in the header is ignored, as S3 does.
 * @throws S3Error InvalidRange where it lies outside of the object
 */
function requestedRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (start > end || start >= size) {
    throw new S3Error('InvalidRange', { detail: { RangeRequested: header ?? '', ActualObjectSize: String(size) } });
  }
  return { start, end };
}
