/** ListObjectsV2 and ListObjects: Amazon S3 API Reference. */
import { z } from 'zod';
import type { ListedObject } from '../../domain/object-store.ts';
import { uriEncode } from '../../lib/sigv4.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { requireBucket } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { positionAfter, walk } from './walk.ts';
import type { Position, WalkRequest, Walked } from './walk.ts';
import { element, isoTime, ownerElement, wrap, xmlDocument } from './xml.ts';

/** S3's largest page. */
export const MAX_ITEMS = 1000;

/** A continuation token is a position; it is nobody's but ours to read. */
const position: z.ZodType<Position> = z.union([z.tuple([z.literal('item'), z.string(), z.string()]), z.tuple([z.literal('prefix'), z.string()])]);

/** What both versions of the listing share. */
interface ListingView {
  readonly call: S3Call<'bucket'>;
  readonly request: WalkRequest;
  readonly listing: Walked<ListedObject>;
  readonly encode: (text: string) => string;
  readonly showsOwner: boolean;
}

export async function listObjectsV2(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { query } = call;
  const token = query.get('continuation-token');
  const request = { ...walkRequest(query, 'max-keys'), from: token === undefined ? (['item', query.get('start-after') ?? '', ''] as const) : positionOf(token) };
  const view = await list(call, { request, showsOwner: query.get('fetch-owner') === 'true' });
  const { listing, encode } = view;
  return render(view, [
    given('StartAfter', query.get('start-after'), encode),
    given('ContinuationToken', token),
    element('KeyCount', listing.items.length + listing.commonPrefixes.length),
    listing.next === null ? '' : element('NextContinuationToken', Buffer.from(JSON.stringify(listing.next)).toString('base64url')),
  ]);
}

/** The first version; `NextMarker` is there only with a delimiter, else it is the last key. */
export async function listObjectsV1(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { query } = call;
  const asked = walkRequest(query, 'max-keys');
  const marker = query.get('marker') ?? '';
  const view = await list(call, { request: { ...asked, from: positionAfter({ key: marker, id: '' }, asked) }, showsOwner: true });
  const { listing, encode } = view;
  return render(view, [
    element('Marker', encode(marker)),
    listing.next === null || asked.delimiter === '' ? '' : element('NextMarker', encode(listing.next[1])),
  ]);
}

async function list(call: S3Call<'bucket'>, { request, showsOwner }: Pick<ListingView, 'request' | 'showsOwner'>): Promise<ListingView> {
  const { store, target, query } = call;
  const encode = encoderOf(query);
  await requireBucket(store, target.bucket);
  const listing = await walk(request, {
    fetch: ({ key }, limit) => store.objects.list(target.bucket, { prefix: request.prefix, after: key, limit }),
    idOf: () => '',
  });
  return { call, request, listing, encode, showsOwner };
}

function render(view: ListingView, own: readonly string[]): S3Answer {
  const { call, request, listing, encode } = view;
  return xmlAnswer(
    xmlDocument(
      'ListBucketResult',
      [
        element('Name', call.target.bucket),
        element('Prefix', encode(request.prefix)),
        given('Delimiter', call.query.get('delimiter'), encode),
        given('EncodingType', call.query.get('encoding-type')),
        element('MaxKeys', request.limit),
        element('IsTruncated', listing.next !== null),
        ...own,
        ...listing.items.map((object) => renderObject(object, view)),
        ...renderPrefixes(listing, encode),
      ].join(''),
    ),
  );
}

function renderObject(object: ListedObject, { call, encode, showsOwner }: ListingView): string {
  const algorithms = Object.keys(object.checksums);
  const parts = [
    element('Key', encode(object.key)),
    element('LastModified', isoTime(object.modifiedAtMs)),
    element('ETag', `"${object.etag}"`),
    ...algorithms.map((algorithm) => element('ChecksumAlgorithm', algorithm)),
    algorithms.length === 0 ? '' : element('ChecksumType', object.checksumType),
    element('Size', object.size),
    showsOwner ? ownerElement('Owner', call.store.realm) : '',
    element('StorageClass', 'STANDARD'),
  ];
  return wrap('Contents', parts.join(''));
}

/** Prefix, delimiter and size of a page, as every listing takes them. */
export function walkRequest(query: ReadonlyMap<string, string>, maximum: string): Omit<WalkRequest, 'from'> {
  return { prefix: query.get('prefix') ?? '', delimiter: query.get('delimiter') ?? '', limit: pageSize(query, maximum) };
}

/** @throws S3Error InvalidArgument */
export function pageSize(query: ReadonlyMap<string, string>, name: string, largest = MAX_ITEMS): number {
  const text = query.get(name);
  if (text === undefined || text === '') return largest;
  if (!/^\d{1,9}$/.test(text)) throw new S3Error('InvalidArgument', { message: `Provided ${name} not an integer or within integer range` });
  return Math.min(largest, Number(text));
}

/** How names are written: `encoding-type=url` is for those that XML 1.0 cannot hold. @throws S3Error InvalidArgument */
export function encoderOf(query: ReadonlyMap<string, string>): (text: string) => string {
  const encoding = query.get('encoding-type');
  if (encoding !== undefined && encoding !== 'url') throw new S3Error('InvalidArgument', { message: 'Invalid Encoding Method specified in Request' });
  return encoding === 'url' ? (text) => uriEncode(text).replaceAll('%2F', '/') : (text) => text;
}

/** An element, where there is something to say. */
export const given = (name: string, value: string | undefined, encode = (text: string) => text) => (value === undefined ? '' : element(name, encode(value)));

export const renderPrefixes = ({ commonPrefixes }: Pick<Walked<unknown>, 'commonPrefixes'>, encode: (text: string) => string) =>
  commonPrefixes.map((prefix) => wrap('CommonPrefixes', element('Prefix', encode(prefix))));

function positionOf(token: string): Position {
  try {
    return position.parse(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch (cause) {
    throw new S3Error('InvalidArgument', { message: 'The continuation token provided is incorrect', cause });
  }
}
