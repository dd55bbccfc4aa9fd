/** CompleteMultipartUpload: Amazon S3 API Reference. The parts become one file; then one transaction ends the upload and puts the object. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { CHECKSUM_ALGORITHMS } from '../../domain/object-store.ts';
import type { ChecksumAlgorithm, MultipartUpload, StoredObject, UploadedPart, WriteCondition } from '../../domain/object-store.ts';
import { uriEncode } from '../../lib/sigv4.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { checksumHeader, isCrc, startChecksum } from './checksums.ts';
import { entityTag, writeCondition } from './conditions.ts';
import { combineCrcs } from './crc-combine.ts';
import { LONG_DOCUMENT_BYTES, requireDocument, xmlText } from './document.ts';
import type { DocumentKind } from './document.ts';
import { MAX_PARTS, missingUpload, uploadIdOf } from './multipart.ts';
import { checksumElements } from './object-headers.ts';
import { whileReplaced } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { checksumMismatch } from './upload.ts';
import { commit } from './writing.ts';
import { element, xmlDocument } from './xml.ts';

/** S3 User Guide, "Amazon S3 multipart upload limits": all parts but the last. */
const MIN_PART_BYTES = 5 * 1024 * 1024;

const listedPart = z.strictObject({
  PartNumber: xmlText.pipe(z.string().regex(/^\d{1,5}$/)).transform(Number),
  ETag: xmlText.transform(entityTag),
  ChecksumCRC32: xmlText.optional(),
  ChecksumCRC32C: xmlText.optional(),
  ChecksumCRC64NVME: xmlText.optional(),
  ChecksumSHA1: xmlText.optional(),
  ChecksumSHA256: xmlText.optional(),
});
type ListedPart = z.output<typeof listedPart>;

const COMPLETION: DocumentKind<{ Part: ListedPart[] }> = {
  root: 'CompleteMultipartUpload',
  names: ['Part', ...Object.keys(listedPart.shape)],
  maxBytes: LONG_DOCUMENT_BYTES,
  schema: z.strictObject({ Part: z.array(listedPart).min(1).max(MAX_PARTS) }),
};

/** A completion as asked for. */
interface Completion {
  readonly listed: readonly ListedPart[];
  readonly condition: WriteCondition | undefined;
}

/** Said twice, the second is answered as the first. */
export async function completeUpload(call: S3Call<'object'>): Promise<S3Answer> {
  const condition = writeCondition(call.headers);
  const { Part: listed } = await requireDocument(call, COMPLETION, { ignoreChecksumHeaders: true });
  if (listed.some((part, n) => n > 0 && part.PartNumber <= listed[n - 1]!.PartNumber)) throw new S3Error('InvalidPartOrder');
  const object = await call.store.completions.run(uploadIdOf(call), () => complete(call, { listed, condition }));
  const { bucket, key } = call.target;
  return xmlAnswer(
    xmlDocument(
      'CompleteMultipartUploadResult',
      [element('Location', locationOf(call)), element('Bucket', bucket), element('Key', key), element('ETag', `"${object.etag}"`), checksumElements(object)].join(''),
    ),
  );
}

async function complete(call: S3Call<'object'>, { listed, condition }: Completion): Promise<StoredObject> {
  const { store } = call;
  const { object, isNew } = await whileReplaced(() => assemble(call, listed));
  if (isNew) await commit(call, { blobId: object.blobId, write: () => store.uploads.complete(object, condition), condition });
  return object;
}

/** The object as it is to be, its bytes in one blob; undefined where a part was replaced or the upload ended meanwhile. */
async function assemble(call: S3Call<'object'>, listed: readonly ListedPart[]): Promise<{ object: StoredObject; isNew: boolean } | undefined> {
  const { store, target, headers } = call;
  const upload = await store.uploads.get(target.bucket, target.key, uploadIdOf(call));
  if (upload === undefined) return { object: await completedBefore(call, listed), isNew: false };
  const parts = choose(await store.uploads.parts(upload.uploadId, { after: 0, limit: MAX_PARTS }), listed);
  checkSizes(headers, parts);
  const checksum = checksumOfObject(headers, { upload, parts, listed });
  const blobId = await store.blobs.join(parts.map((part) => part.blobId));
  if (blobId === undefined) return undefined;
  const { contentType, systemMetadata, metadata, bucket, key, uploadId } = upload;
  const partSizes = parts.map(({ size }) => size);
  const object: StoredObject = {
    ...{ contentType, systemMetadata, metadata, bucket, key, blobId },
    size: sumOf(partSizes),
    etag: etagOf(parts.map(({ etag }) => etag)),
    ...checksum,
    modifiedAtMs: store.clock.nowMs(),
    multipart: { uploadId, partSizes },
  };
  return { object, isNew: true };
}

/** @throws S3Error NoSuchUpload where the object at the key is not what this completion made */
async function completedBefore(call: S3Call<'object'>, listed: readonly ListedPart[]): Promise<StoredObject> {
  const object = await call.store.objects.get(call.target.bucket, call.target.key);
  if (object?.multipart?.uploadId === uploadIdOf(call) && object.etag === etagOf(listed.map((part) => part.ETag))) return object;
  throw await missingUpload(call);
}

/** The parts that are listed, as they are. */
function choose(parts: readonly UploadedPart[], listed: readonly ListedPart[]): UploadedPart[] {
  const byNumber = new Map(parts.map((part) => [part.partNumber, part]));
  return listed.map((wanted) => {
    const part = byNumber.get(wanted.PartNumber);
    const sums = CHECKSUM_ALGORITHMS.every((algorithm) => [undefined, part?.checksums[algorithm]].includes(wanted[`Checksum${algorithm}`]));
    if (part !== undefined && part.etag === wanted.ETag && sums) return part;
    throw new S3Error('InvalidPart', { detail: { PartNumber: String(wanted.PartNumber), ETag: wanted.ETag } });
  });
}

function checkSizes(headers: IncomingHttpHeaders, parts: readonly UploadedPart[]): void {
  const small = parts.slice(0, -1).find(({ size }) => size < MIN_PART_BYTES);
  if (small !== undefined) {
    const { partNumber, size, etag } = small;
    throw new S3Error('EntityTooSmall', {
      detail: { ProposedSize: String(size), MinSizeAllowed: String(MIN_PART_BYTES), PartNumber: String(partNumber), ETag: etag },
    });
  }
  const expected = headers['x-amz-mp-object-size'];
  const actual = String(sumOf(parts.map(({ size }) => size)));
  if (expected === undefined || expected === actual) return;
  throw new S3Error('InvalidRequest', { message: `The provided 'x-amz-mp-object-size' header value ${String(expected)} does not match what was computed: ${actual}` });
}

interface Assembly {
  readonly upload: MultipartUpload;
  readonly parts: readonly UploadedPart[];
  readonly listed: readonly ListedPart[];
}

/** The checksum of the object from those of its parts, compared with the one that the client declares. */
function checksumOfObject(headers: IncomingHttpHeaders, { upload, parts, listed }: Assembly): Pick<StoredObject, 'checksums' | 'checksumType'> {
  const declared = CHECKSUM_ALGORITHMS.find((each) => headers[checksumHeader(each)] !== undefined);
  const algorithm = upload.checksum?.algorithm ?? declared;
  if (algorithm === undefined) return { checksums: {}, checksumType: 'FULL_OBJECT' };
  const checksumType = upload.checksum?.type ?? 'FULL_OBJECT';
  const askedType = headers['x-amz-checksum-type'] ?? checksumType;
  if (askedType !== checksumType) {
    throw new S3Error('InvalidRequest', { message: `The upload was created using the ${checksumType} checksum mode. The complete request must use the same checksum mode.` });
  }
  const unlisted = checksumType === 'COMPOSITE' ? listed.find((part) => part[`Checksum${algorithm}`] === undefined) : undefined;
  if (unlisted !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${unlisted.PartNumber} in the request.`,
    });
  }
  const pieces = parts.flatMap(({ checksums, size }) => (checksums[algorithm] === undefined ? [] : [{ checksum: checksums[algorithm], size }]));
  if (pieces.length < parts.length || (checksumType === 'FULL_OBJECT' && !isCrc(algorithm))) {
    throw new S3Error('InvalidRequest', { message: `The upload was not created with a ${algorithm.toLowerCase()} checksum of the whole object, so none can be verified.` });
  }
  const value = checksumType === 'FULL_OBJECT' && isCrc(algorithm) ? combineCrcs(algorithm, pieces) : compositeOf(algorithm, pieces);
  const expected = declared === undefined ? value : String(headers[checksumHeader(declared)]);
  if (algorithm !== (declared ?? algorithm) || ![value, value.replace(/-\d+$/, '')].includes(expected)) throw checksumMismatch(declared ?? algorithm);
  return { checksums: { [algorithm]: value }, checksumType };
}

/** The checksum of the checksums, and how many they are. */
function compositeOf(algorithm: ChecksumAlgorithm, pieces: readonly { readonly checksum: string }[]): string {
  const running = startChecksum(algorithm);
  for (const { checksum } of pieces) running.update(Buffer.from(checksum, 'base64'));
  return `${running.digest()}-${pieces.length}`;
}

/** What S3 makes of the MD5s of parts. */
function etagOf(etags: readonly string[]): string {
  const md5 = createHash('md5');
  for (const etag of etags) md5.update(Buffer.from(etag, 'hex'));
  return `${md5.digest('hex')}-${etags.length}`;
}

const sumOf = (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + size, 0);

function locationOf({ request, target }: S3Call<'object'>): string {
  const scheme = (request.socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http';
  return `${scheme}://${request.headers.host ?? ''}/${uriEncode(target.bucket)}/${uriEncode(target.key)}`;
}
