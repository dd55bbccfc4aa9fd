/**
 * Multipart uploads up to their completion: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, UploadPartCopy,
 * AbortMultipartUpload. Each part is a blob of its own.
 */
import { Readable } from 'node:stream';
import type { ChecksumAlgorithm, ChecksumType, MultipartUpload, StoredObject, UploadedPart } from '../../domain/object-store.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call, S3Request } from './call.ts';
import { isCrc, startChecksum } from './checksums.ts';
import { copyResult, findCopySource } from './copy.ts';
import { askedAlgorithm, checksumHeaders, describedBy } from './object-headers.ts';
import type { ByteRange } from './object-headers.ts';
import { openBlob, requireBucket, whileReplaced } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { declaredAlgorithm } from './upload.ts';
import { checkKey, commit, removeBlobs, writeBlob } from './writing.ts';
import { element, xmlDocument } from './xml.ts';

/** S3 User Guide, "Amazon S3 multipart upload limits". */
export const MAX_PARTS = 10_000;
/** S3 has no such limit; it keeps a client that never ends its uploads from filling the disk unnoticed. */
const MAX_UPLOADS_OF_BUCKET = 1000;

export async function createUpload(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target, headers } = call;
  checkKey(target.key);
  const startedAtMs = store.clock.nowMs();
  const upload: MultipartUpload = {
    ...describedBy(headers),
    bucket: target.bucket,
    key: target.key,
    uploadId: startedAtMs.toString(16).padStart(12, '0') + store.random.uuid().replaceAll('-', ''),
    checksum: checksumToBe(call),
    startedAtMs,
  };
  const outcome = await store.uploads.create(upload, MAX_UPLOADS_OF_BUCKET);
  if (outcome === 'no-bucket') throw new S3Error('NoSuchBucket', { detail: { BucketName: target.bucket } });
  if (outcome === 'too-many') {
    throw new S3Error('InvalidRequest', {
      message: `The bucket has ${MAX_UPLOADS_OF_BUCKET} unfinished multipart uploads; ListMultipartUploads shows them. Complete or abort some.`,
    });
  }
  const { checksum } = upload;
  return xmlAnswer(
    xmlDocument('InitiateMultipartUploadResult', element('Bucket', target.bucket) + element('Key', target.key) + element('UploadId', upload.uploadId)),
    checksum === null ? {} : { 'x-amz-checksum-algorithm': checksum.algorithm, 'x-amz-checksum-type': checksum.type },
  );
}

/** S3 User Guide, "Checking object integrity": CRC64NVME is of the whole object only, SHA of the parts only, the others of either. */
function checksumToBe({ headers }: S3Request): MultipartUpload['checksum'] {
  const algorithm = askedAlgorithm(headers);
  const asked = headers['x-amz-checksum-type'];
  if (algorithm === undefined) return null;
  const usual: ChecksumType = algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE';
  const type = asked ?? usual;
  if (type !== 'FULL_OBJECT' && type !== 'COMPOSITE') throw new S3Error('InvalidRequest', { message: 'Value for x-amz-checksum-type header is invalid.' });
  const possible = type === 'FULL_OBJECT' ? isCrc(algorithm) : algorithm !== 'CRC64NVME';
  if (possible) return { algorithm, type };
  throw new S3Error('InvalidRequest', { message: `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.` });
}

export async function uploadPart(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, headers } = call;
  const partNumber = partNumberOf(call);
  const { uploadId, checksum } = await requireUpload(call);
  const take = checksumToTake(checksum, declaredAlgorithm(headers));
  const upload = call.upload({ take });
  const { blobId, size, md5 } = await writeBlob(store, upload.stream);
  const part: UploadedPart = { partNumber, blobId, size, etag: md5, checksums: { ...upload.checksums }, modifiedAtMs: store.clock.nowMs() };
  await commit(call, { blobId, write: () => store.uploads.putPart(uploadId, part) });
  return { status: 200, headers: { etag: `"${part.etag}"`, ...checksumHeaders({ checksums: part.checksums }) } };
}

/** A checksum of the whole object is computed where the client leaves it out; one of parts it has to send itself. */
function checksumToTake(expected: MultipartUpload['checksum'], declared: ChecksumAlgorithm | undefined): ChecksumAlgorithm | undefined {
  if (expected === null) return undefined;
  const algorithm = expected.algorithm;
  if (declared === algorithm || (declared === undefined && expected.type === 'FULL_OBJECT')) return algorithm;
  throw new S3Error('InvalidRequest', {
    message: `Checksum Type mismatch occurred, expected checksum Type: ${algorithm.toLowerCase()}, actual checksum Type: ${declared?.toLowerCase() ?? 'null'}`,
  });
}

export async function uploadPartCopy(call: S3Call<'object'>): Promise<S3Answer> {
  const { store } = call;
  const partNumber = partNumberOf(call);
  const { uploadId, checksum } = await requireUpload(call);
  const source = await whileReplaced(async () => {
    const object = await findCopySource(call);
    return openBlob(store, object.blobId, copiedRange(call, object));
  });
  const checksums: { [A in ChecksumAlgorithm]?: string } = {};
  const { blobId, size, md5 } = await writeBlob(store, Readable.from(summed(source, { algorithm: checksum?.algorithm, checksums })));
  const part: UploadedPart = { partNumber, blobId, size, etag: md5, checksums, modifiedAtMs: store.clock.nowMs() };
  await commit(call, { blobId, write: () => store.uploads.putPart(uploadId, part) });
  return xmlAnswer(copyResult('CopyPartResult', part));
}

/** Passes a stream on, and takes its checksum on the way. */
async function* summed(stream: Readable, sum: { algorithm: ChecksumAlgorithm | undefined; checksums: { [A in ChecksumAlgorithm]?: string } }): AsyncGenerator<Buffer> {
  const running = sum.algorithm && startChecksum(sum.algorithm);
  for await (const chunk of stream) {
    running?.update(chunk as Buffer);
    yield chunk as Buffer;
  }
  if (sum.algorithm !== undefined && running !== undefined) sum.checksums[sum.algorithm] = running.digest();
}

function copiedRange({ headers, store }: S3Request, { size }: StoredObject): ByteRange | undefined {
  const header = headers['x-amz-copy-source-range'];
  const invalid = (message: string) => new S3Error('InvalidArgument', { message, detail: { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: String(header) } });
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(String(header)) ?? [];
  if (header !== undefined && (first === undefined || last === undefined)) {
    throw invalid('The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy');
  }
  const range = first === undefined ? { start: 0, end: size - 1 } : { start: Number(first), end: Number(last) };
  if (first !== undefined && (range.start > range.end || range.end >= size)) throw invalid(`Range specified is not valid for source object of size: ${size}`);
  const { maxObjectBytes } = store.limits;
  if (range.end - range.start >= maxObjectBytes) {
    throw new S3Error('InvalidRequest', { message: `The specified copy source is larger than the maximum allowable size for a copy source: ${maxObjectBytes}` });
  }
  return first === undefined ? undefined : range;
}

export async function abortUpload(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target } = call;
  const freed = await store.uploads.abort(target.bucket, target.key, uploadIdOf(call));
  if (freed === undefined) throw await missingUpload(call);
  await removeBlobs(store, freed);
  return { status: 204 };
}

export const uploadIdOf = ({ query }: S3Request) => query.get('uploadId') ?? '';

/** @throws S3Error NoSuchBucket, NoSuchUpload */
export async function requireUpload(call: S3Call<'object'>): Promise<MultipartUpload> {
  const { store, target } = call;
  const upload = await store.uploads.get(target.bucket, target.key, uploadIdOf(call));
  if (upload === undefined) throw await missingUpload(call);
  return upload;
}

/** Why an upload is not there. */
export async function missingUpload(call: S3Call<'object'>): Promise<S3Error> {
  await requireBucket(call.store, call.target.bucket);
  return new S3Error('NoSuchUpload', { detail: { UploadId: uploadIdOf(call) } });
}

function partNumberOf({ query }: S3Request): number {
  const text = query.get('partNumber') ?? '';
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MAX_PARTS) return number;
  throw new S3Error('InvalidArgument', {
    message: `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`,
    detail: { ArgumentName: 'partNumber', ArgumentValue: text },
  });
}
