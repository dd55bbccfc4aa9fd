/** ListObjectsV2: Amazon S3 API Reference. */
import { z } from 'zod';
import type { StoredObject } from '../../domain/ports.ts';
import { uriEncode } from '../../lib/sigv4.ts';
import { requireBucket } from './buckets.ts';
import { xmlAnswer } from './call.ts';
import type { ObjectStore, S3Answer, S3Call } from './call.ts';
import { S3Error } from './s3-error.ts';
import { element, isoTime, wrap, xmlDocument } from './xml.ts';

const MAX_KEYS = 1000;

/**
 * A key after every key of up to 1024 bytes that starts with the prefix: the last code point there is has four bytes, so 256 of
 * them fill a key.
 */
const afterAllWith = (prefix: string) => prefix + '\u{10FFFF}'.repeat(256);

/** Where a listing goes on: after a key, or after all keys with a common prefix. */
const position = z.tuple([z.enum(['key', 'prefix']), z.string()]);
type Position = z.output<typeof position>;

interface Listing {
  readonly objects: readonly StoredObject[];
  readonly commonPrefixes: readonly string[];
  /** Null where it is complete. */
  readonly next: Position | null;
}

interface ListingRequest {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  readonly maxKeys: number;
  readonly from: Position;
}

export async function listObjects(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { query, target, store } = call;
  await requireBucket(call);
  const token = query.get('continuation-token');
  const request: ListingRequest = {
    bucket: target.bucket,
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    maxKeys: maxKeysOf(query.get('max-keys')),
    from: token === undefined ? ['key', query.get('start-after') ?? ''] : positionOf(token),
  };
  const encoding = query.get('encoding-type');
  if (encoding !== undefined && encoding !== 'url') throw new S3Error('InvalidArgument', { message: 'Invalid Encoding Method specified in Request' });
  const encode = encoding === 'url' ? (text: string) => uriEncode(text).replaceAll('%2F', '/') : (text: string) => text;
  return xmlAnswer(renderListing(await collect(store, request), { request, query, encode, owner: store.realm.account }));
}

function maxKeysOf(text: string | undefined): number {
  if (text === undefined || text === '') return MAX_KEYS;
  if (!/^\d{1,9}$/.test(text)) throw new S3Error('InvalidArgument', { message: 'Provided max-keys not an integer or within integer range' });
  return Math.min(MAX_KEYS, Number(text));
}

function positionOf(token: string): Position {
  try {
    return position.parse(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch (cause) {
    throw new S3Error('InvalidArgument', { message: 'The continuation token provided is incorrect', cause });
  }
}

/** The part of a key up to and with the first delimiter after the prefix; undefined where there is none. */
function commonPrefix(key: string, { prefix, delimiter }: ListingRequest): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** Walks the keys in order, and jumps over what a common prefix stands for. */
async function collect(store: ObjectStore, request: ListingRequest): Promise<Listing> {
  const objects: StoredObject[] = [];
  const commonPrefixes: string[] = [];
  if (request.maxKeys === 0) return { objects, commonPrefixes, next: null };
  let from = request.from;
  for (;;) {
    const room = request.maxKeys - objects.length - commonPrefixes.length;
    const after = from[0] === 'key' ? from[1] : afterAllWith(from[1]);
    const batch = await store.objects.list(request.bucket, { prefix: request.prefix, after, limit: room + 1 });
    if (batch.length === 0) return { objects, commonPrefixes, next: null };
    if (room === 0) return { objects, commonPrefixes, next: from };
    let jumped = false;
    for (const object of batch.slice(0, room)) {
      const common = commonPrefix(object.key, request);
      if (common === undefined) {
        objects.push(object);
        from = ['key', object.key];
      } else {
        commonPrefixes.push(common);
        from = ['prefix', common];
        jumped = true;
        break;
      }
    }
    if (!jumped) return { objects, commonPrefixes, next: batch.length > room ? from : null };
  }
}

interface ListingView {
  readonly request: ListingRequest;
  readonly query: ReadonlyMap<string, string>;
  readonly encode: (text: string) => string;
  readonly owner: string;
}

function renderListing(listing: Listing, view: ListingView): string {
  const { request, query, encode } = view;
  const given = (name: string, value: string | undefined) => (value === undefined ? '' : element(name, value));
  const encoded = (name: string, value: string | undefined) => given(name, value === undefined ? undefined : encode(value));
  return xmlDocument(
    'ListBucketResult',
    [
      element('Name', request.bucket),
      element('Prefix', encode(request.prefix)),
      encoded('Delimiter', query.get('delimiter')),
      encoded('StartAfter', query.get('start-after')),
      given('ContinuationToken', query.get('continuation-token')),
      given('EncodingType', query.get('encoding-type')),
      element('MaxKeys', request.maxKeys),
      element('KeyCount', listing.objects.length + listing.commonPrefixes.length),
      element('IsTruncated', listing.next !== null),
      listing.next === null ? '' : element('NextContinuationToken', Buffer.from(JSON.stringify(listing.next)).toString('base64url')),
      ...listing.objects.map((object) => renderObject(object, view)),
      ...listing.commonPrefixes.map((prefix) => wrap('CommonPrefixes', element('Prefix', encode(prefix)))),
    ].join(''),
  );
}

function renderObject(object: StoredObject, { encode, query, owner }: ListingView): string {
  const parts = [
    element('Key', encode(object.key)),
    element('LastModified', isoTime(object.modifiedAtMs)),
    element('ETag', `"${object.etag}"`),
    ...Object.keys(object.checksums).map((algorithm) => element('ChecksumAlgorithm', algorithm)),
    element('Size', object.size),
    query.get('fetch-owner') === 'true' ? wrap('Owner', element('ID', owner)) : '',
    element('StorageClass', 'STANDARD'),
  ];
  return wrap('Contents', parts.join(''));
}
