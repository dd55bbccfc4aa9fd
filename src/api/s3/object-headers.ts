/** Headers of objects: what a client says of one, and what it hears. S3 User Guide, "Working with object metadata". */
import type { IncomingHttpHeaders } from 'node:http';
import { CHECKSUM_ALGORITHMS } from '../../domain/object-store.ts';
import type { ChecksumAlgorithm, ObjectDescription, StoredObject } from '../../domain/object-store.ts';
import type { S3Call } from './call.ts';
import { checksumHeader } from './checksums.ts';
import { S3Error } from './s3-error.ts';
import { element } from './xml.ts';

const MAX_METADATA_BYTES = 2048;
const METADATA_PREFIX = 'x-amz-meta-';
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';
const SYSTEM_HEADERS = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const;
/** S3 API Reference, PutObject, `x-amz-storage-class`. All bytes are kept the same way, so it is not kept. */
const STORAGE_CLASSES = ['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'DEEP_ARCHIVE', 'GLACIER_IR'];

/** Headers whose promise would be broken silently. */
const UNSUPPORTED = [
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-copy-source-server-side-encryption-customer-algorithm',
  'x-amz-object-lock-mode',
  'x-amz-object-lock-retain-until-date',
  'x-amz-object-lock-legal-hold',
  'x-amz-website-redirect-location',
  'x-amz-write-offset-bytes',
];

/**
 * What the headers of a write say of the object.
 * @throws S3Error MetadataTooLarge, InvalidStorageClass, NotImplemented
 */
export function describedBy(headers: IncomingHttpHeaders): ObjectDescription {
  const refused = UNSUPPORTED.find((name) => headers[name] !== undefined);
  if (refused !== undefined) throw new S3Error('NotImplemented', { detail: { Header: refused } });
  const storageClass = headers['x-amz-storage-class'];
  if (storageClass !== undefined && !STORAGE_CLASSES.includes(String(storageClass))) throw new S3Error('InvalidStorageClass');
  return { contentType: headers['content-type'] ?? DEFAULT_CONTENT_TYPE, systemMetadata: systemMetadata(headers), metadata: userMetadata(headers) };
}

/**
 * The algorithm that `x-amz-checksum-algorithm` asks for.
 * @throws S3Error InvalidRequest
 */
export function askedAlgorithm(headers: IncomingHttpHeaders): ChecksumAlgorithm | undefined {
  const asked = headers['x-amz-checksum-algorithm'];
  if (asked === undefined) return undefined;
  const algorithm = CHECKSUM_ALGORITHMS.find((each) => each === asked);
  if (algorithm !== undefined) return algorithm;
  throw new S3Error('InvalidRequest', {
    message: `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${CHECKSUM_ALGORITHMS.join(', ')}]`,
  });
}

function systemMetadata(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of SYSTEM_HEADERS) {
    const value = headers[name]?.toString();
    // `aws-chunked` is how the body travelled, not what it is.
    const own = name === 'content-encoding' ? value?.split(',').map((coding) => coding.trim()).filter((coding) => coding !== 'aws-chunked').join(',') : value;
    if (own !== undefined && own !== '') kept[name] = own;
  }
  return kept;
}

function userMetadata(headers: IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers)
    .filter(([name, value]) => name.startsWith(METADATA_PREFIX) && typeof value === 'string')
    .map(([name, value]) => [name.slice(METADATA_PREFIX.length), String(value)] as const);
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > MAX_METADATA_BYTES) throw new S3Error('MetadataTooLarge', { detail: { MaxSizeAllowed: String(MAX_METADATA_BYTES) } });
  return Object.fromEntries(entries);
}

type Checksummed = Pick<StoredObject, 'checksums' | 'checksumType'>;

const checksumsOf = ({ checksums }: Pick<Checksummed, 'checksums'>) =>
  CHECKSUM_ALGORITHMS.flatMap((algorithm) => (checksums[algorithm] === undefined ? [] : [[algorithm, checksums[algorithm]] as const]));

/** The checksum headers of a part or, with its type, of an object. */
export function checksumHeaders(of: Pick<Checksummed, 'checksums'> & Partial<Checksummed>): Record<string, string> {
  const headers: Record<string, string> = Object.fromEntries(checksumsOf(of).map(([algorithm, value]) => [checksumHeader(algorithm), value]));
  if (of.checksumType !== undefined && Object.keys(headers).length > 0) headers['x-amz-checksum-type'] = of.checksumType;
  return headers;
}

/** The same as elements of XML. */
export function checksumElements(of: Pick<Checksummed, 'checksums'> & Partial<Checksummed>): string {
  const elements = checksumsOf(of).map(([algorithm, value]) => element(`Checksum${algorithm}`, value));
  if (of.checksumType !== undefined && elements.length > 0) elements.push(element('ChecksumType', of.checksumType));
  return elements.join('');
}

/** First and last byte, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What a client compares the next time. */
export const validators = ({ etag, modifiedAtMs }: StoredObject): Record<string, string> => ({
  etag: `"${etag}"`,
  'last-modified': new Date(modifiedAtMs).toUTCString(),
});

/** The headers of GetObject and HeadObject for the whole object, or for a piece of it, which carries no checksums: those are of the whole. */
export function answerHeaders(call: S3Call<'object'>, object: StoredObject, range: ByteRange | undefined): Record<string, string> {
  const { headers, query } = call;
  const wantsChecksum = headers['x-amz-checksum-mode'] === 'ENABLED';
  const metadata = Object.entries(object.metadata).map(([name, value]) => [`${METADATA_PREFIX}${name}`, value] as const);
  return {
    ...validators(object),
    'content-type': object.contentType,
    'accept-ranges': 'bytes',
    ...object.systemMetadata,
    ...Object.fromEntries(metadata),
    ...(wantsChecksum && range === undefined ? checksumHeaders(object) : {}),
    ...overrides(query),
    'content-length': String(range === undefined ? object.size : range.end - range.start + 1),
    ...(range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end}/${object.size}` }),
  };
}

/** Query parameters of GetObject that replace a header of the answer. */
export const OVERRIDES = ['content-type', ...SYSTEM_HEADERS].map((name) => `response-${name}`);

function overrides(query: ReadonlyMap<string, string>): Record<string, string> {
  const replaced: Record<string, string> = {};
  for (const name of OVERRIDES) {
    const value = query.get(name);
    if (value === undefined) continue;
    if (!/^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value)) throw new S3Error('InvalidArgument', { detail: { ArgumentName: name } });
    replaced[name.slice('response-'.length)] = value;
  }
  return replaced;
}
