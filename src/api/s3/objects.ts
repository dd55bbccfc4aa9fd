/** Object operations: Amazon S3 API Reference, PutObject, GetObject, HeadObject, DeleteObject. */
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { StoredObject } from '../../domain/ports.ts';
import { requireBucket } from './buckets.ts';
import type { ObjectStore, S3Answer, S3Call } from './call.ts';
import { CHECKSUM_ALGORITHMS, checksumHeader } from './checksums.ts';
import { S3Error } from './s3-error.ts';

/** S3 User Guide, "Creating object key names". */
const MAX_KEY_BYTES = 1024;
/** S3 User Guide, "Working with object metadata". */
const MAX_METADATA_BYTES = 2048;
const METADATA_PREFIX = 'x-amz-meta-';
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';
/** How often an object is looked up again when its file went away in between: each time, somebody else replaced it. */
const READ_ATTEMPTS = 5;

const CONDITIONS = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'] as const;

export async function putObject(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target, request } = call;
  checkKey(target.key);
  refuseUnsupported(request.headers);
  const metadata = userMetadata(request.headers);
  await requireBucket(call);
  const upload = call.upload();
  const blob = await writeBlob(store, upload.stream);
  const object: StoredObject = {
    bucket: target.bucket,
    key: target.key,
    blobId: blob.blobId,
    size: blob.size,
    etag: blob.md5,
    contentType: request.headers['content-type'] ?? DEFAULT_CONTENT_TYPE,
    metadata,
    checksums: { ...upload.checksums },
    modifiedAtMs: store.clock.nowMs(),
  };
  await commit(store, object);
  return { status: 200, headers: { etag: `"${object.etag}"`, ...checksumHeaders(object) } };
}

/** What failed in the stream is the reason, whatever the writer makes of it. */
async function writeBlob(store: ObjectStore, stream: Readable) {
  try {
    return await store.blobs.write(stream);
  } catch (error) {
    stream.destroy();
    throw stream.errored ?? error;
  }
}

/** The row is what makes the object; a blob without one is removed again. */
async function commit(store: ObjectStore, object: StoredObject): Promise<void> {
  let replaced: string | undefined;
  try {
    replaced = await store.objects.put(object);
  } catch (error) {
    await store.blobs.remove(object.blobId);
    throw error;
  }
  if (replaced !== undefined) await store.blobs.remove(replaced);
}

export async function getObject(call: S3Call<'object'>): Promise<S3Answer> {
  for (let attempt = 1; ; attempt++) {
    const object = await findObject(call);
    const unchanged = unmodified(object, call.request.headers);
    if (unchanged !== undefined) return unchanged;
    const range = requestedRange(call.request.headers.range, object.size);
    if (object.size === 0) return { status: 200, headers: { ...objectHeaders(call, object), 'content-length': '0' }, body: '' };
    const stream = await openBlob(call.store, object, range);
    if (stream === undefined && attempt < READ_ATTEMPTS) continue;
    if (stream === undefined) throw new S3Error('InternalError', { cause: new Error(`the file of blob ${object.blobId} is missing`) });
    if (range === undefined) {
      return { status: 200, headers: { ...objectHeaders(call, object), 'content-length': String(object.size) }, body: stream };
    }
    return { status: 206, headers: rangeHeaders(call, object, range), body: stream };
  }
}

export async function headObject(call: S3Call<'object'>): Promise<S3Answer> {
  const object = await findObject(call);
  const unchanged = unmodified(object, call.request.headers);
  if (unchanged !== undefined) return unchanged;
  const range = requestedRange(call.request.headers.range, object.size);
  if (range !== undefined) return { status: 206, headers: rangeHeaders(call, object, range) };
  return { status: 200, headers: { ...objectHeaders(call, object), 'content-length': String(object.size) } };
}

/** 204 also where there is no such key. */
export async function deleteObject(call: S3Call<'object'>): Promise<S3Answer> {
  await requireBucket(call);
  const blobId = await call.store.objects.delete(call.target.bucket, call.target.key);
  if (blobId !== undefined) await call.store.blobs.remove(blobId);
  return { status: 204 };
}

async function findObject(call: S3Call<'object'>): Promise<StoredObject> {
  const { bucket, key } = call.target;
  const object = await call.store.objects.get(bucket, key);
  if (object !== undefined) return object;
  await requireBucket(call);
  throw new S3Error('NoSuchKey', { detail: { Key: key } });
}

/** The bytes, once the file is open (from then on, its removal does no harm); undefined where it is gone. */
async function openBlob(store: ObjectStore, object: StoredObject, range: ByteRange | undefined): Promise<Readable | undefined> {
  const stream = store.blobs.read(object.blobId, range);
  stream.on('error', () => {});
  try {
    await once(stream, 'readable');
    return stream;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function checkKey(key: string): void {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new S3Error('KeyTooLongError', { detail: { MaxSizeAllowed: String(MAX_KEY_BYTES) } });
  }
  if (key.includes('\0')) throw new S3Error('InvalidArgument', { message: 'A key cannot hold a NUL character.' });
}

/** What would be wrong to ignore. */
function refuseUnsupported(headers: IncomingHttpHeaders): void {
  const refused = ['x-amz-copy-source', ...CONDITIONS].find((name) => headers[name] !== undefined);
  if (refused !== undefined) throw new S3Error('NotImplemented', { detail: { Header: refused } });
}

function userMetadata(headers: IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers)
    .filter(([name, value]) => name.startsWith(METADATA_PREFIX) && typeof value === 'string')
    .map(([name, value]) => [name.slice(METADATA_PREFIX.length), String(value)] as const);
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > MAX_METADATA_BYTES) throw new S3Error('MetadataTooLarge', { detail: { MaxSizeAllowed: String(MAX_METADATA_BYTES) } });
  return Object.fromEntries(entries);
}

const checksumHeaders = (object: StoredObject): Record<string, string> => {
  const given = CHECKSUM_ALGORITHMS.filter((algorithm) => object.checksums[algorithm] !== undefined);
  if (given.length === 0) return {};
  const values = given.map((algorithm) => [checksumHeader(algorithm), object.checksums[algorithm] ?? ''] as const);
  return { ...Object.fromEntries(values), 'x-amz-checksum-type': 'FULL_OBJECT' };
};

function objectHeaders({ request, query }: S3Call<'object'>, object: StoredObject): Record<string, string> {
  const wantsChecksum = request.headers['x-amz-checksum-mode'] === 'ENABLED' || query.get('x-amz-checksum-mode') === 'ENABLED';
  return {
    etag: `"${object.etag}"`,
    'last-modified': new Date(object.modifiedAtMs).toUTCString(),
    'content-type': object.contentType,
    'accept-ranges': 'bytes',
    ...Object.fromEntries(Object.entries(object.metadata).map(([name, value]) => [`${METADATA_PREFIX}${name}`, value])),
    ...(wantsChecksum ? checksumHeaders(object) : {}),
  };
}

/** First and last byte, both included. */
interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The headers of a part; checksums are of the whole object, so a part carries none. */
function rangeHeaders(call: S3Call<'object'>, object: StoredObject, { start, end }: ByteRange): Record<string, string> {
  const headers = Object.entries(objectHeaders(call, object)).filter(([name]) => !name.startsWith('x-amz-checksum-'));
  return {
    ...Object.fromEntries(headers),
    'content-range': `bytes ${start}-${end}/${object.size}`,
    'content-length': String(end - start + 1),
  };
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

/**
 * The answer where a precondition decides (RFC 9110, section 13.2.2).
 * @throws S3Error PreconditionFailed
 */
function unmodified(object: StoredObject, headers: IncomingHttpHeaders): S3Answer | undefined {
  const names = (list: string | undefined) => list?.split(',').map((tag) => tag.trim().replace(/^W\//, '').replaceAll('"', ''));
  const matches = (tags: readonly string[]) => tags.includes('*') || tags.includes(object.etag);
  const since = (date: string | undefined) => (date === undefined ? undefined : Date.parse(date));
  const modifiedMs = Math.floor(object.modifiedAtMs / 1000) * 1000;
  const ifMatch = names(headers['if-match']);
  const ifNoneMatch = names(headers['if-none-match']);
  const unmodifiedSince = since(headers['if-unmodified-since']);
  const modifiedSince = since(headers['if-modified-since']);
  if (ifMatch !== undefined ? !matches(ifMatch) : unmodifiedSince !== undefined && modifiedMs > unmodifiedSince) {
    throw new S3Error('PreconditionFailed');
  }
  const same = ifNoneMatch !== undefined ? matches(ifNoneMatch) : modifiedSince !== undefined && modifiedMs <= modifiedSince;
  return same ? { status: 304, headers: { etag: `"${object.etag}"` } } : undefined;
}
