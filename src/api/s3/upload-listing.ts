/** ListMultipartUploads and ListParts: Amazon S3 API Reference. */
import type { MultipartUpload } from '../../domain/object-store.ts';
import type { Realm } from '../../domain/ids.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { MAX_ITEMS, encoderOf, given, pageSize, renderPrefixes, walkRequest } from './listing.ts';
import { requireUpload } from './multipart.ts';
import { checksumElements } from './object-headers.ts';
import { requireBucket } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { positionAfter, walk } from './walk.ts';
import { element, isoTime, ownerElement, wrap, xmlDocument } from './xml.ts';

/** After every id of an upload: a key marker alone means the next key. */
const AFTER_ALL_IDS = '~';

export async function listUploads(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { store, target, query } = call;
  const asked = walkRequest(query, 'max-uploads');
  const encode = encoderOf(query);
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '');
  const from = positionAfter({ key: keyMarker, id: idMarker === '' ? AFTER_ALL_IDS : idMarker }, asked);
  await requireBucket(store, target.bucket);
  const listing = await walk(
    { ...asked, from },
    {
      fetch: ({ key, id }, limit) => store.uploads.list(target.bucket, { prefix: asked.prefix, after: { key, uploadId: id }, limit }),
      idOf: (upload) => upload.uploadId,
    },
  );
  const [, nextKey = '', nextId = ''] = listing.next ?? [];
  return xmlAnswer(
    xmlDocument(
      'ListMultipartUploadsResult',
      [
        element('Bucket', target.bucket),
        element('KeyMarker', encode(keyMarker)),
        element('UploadIdMarker', idMarker),
        listing.next === null ? '' : element('NextKeyMarker', encode(nextKey)) + element('NextUploadIdMarker', nextId),
        element('Prefix', encode(asked.prefix)),
        given('Delimiter', query.get('delimiter'), encode),
        given('EncodingType', query.get('encoding-type')),
        element('MaxUploads', asked.limit),
        element('IsTruncated', listing.next !== null),
        ...listing.items.map((upload) =>
          wrap('Upload', element('Key', encode(upload.key)) + element('UploadId', upload.uploadId) + aboutUpload(upload, store.realm) + element('Initiated', isoTime(upload.startedAtMs))),
        ),
        ...renderPrefixes(listing, encode),
      ].join(''),
    ),
  );
}

export async function listParts(call: S3Call<'object'>): Promise<S3Answer> {
  const { store, target, query } = call;
  const marker = query.get('part-number-marker') ?? '0';
  if (!/^\d{1,9}$/.test(marker)) throw new S3Error('InvalidArgument', { message: 'Provided part-number-marker not an integer or within integer range' });
  const limit = pageSize(query, 'max-parts', MAX_ITEMS);
  const upload = await requireUpload(call);
  const found = await store.uploads.parts(upload.uploadId, { after: Number(marker), limit: limit + 1 });
  const parts = found.slice(0, limit);
  return xmlAnswer(
    xmlDocument(
      'ListPartsResult',
      [
        element('Bucket', target.bucket),
        element('Key', target.key),
        element('UploadId', upload.uploadId),
        aboutUpload(upload, store.realm),
        element('PartNumberMarker', marker),
        element('NextPartNumberMarker', parts.at(-1)?.partNumber ?? 0),
        element('MaxParts', limit),
        element('IsTruncated', found.length > limit),
        ...parts.map((part) =>
          wrap(
            'Part',
            element('PartNumber', part.partNumber) +
              element('LastModified', isoTime(part.modifiedAtMs)) +
              element('ETag', `"${part.etag}"`) +
              element('Size', part.size) +
              checksumElements({ checksums: part.checksums }),
          ),
        ),
      ].join(''),
    ),
  );
}

const aboutUpload = ({ checksum }: MultipartUpload, realm: Realm) =>
  [
    ownerElement('Initiator', realm),
    ownerElement('Owner', realm),
    element('StorageClass', 'STANDARD'),
    checksum === null ? '' : element('ChecksumAlgorithm', checksum.algorithm) + element('ChecksumType', checksum.type),
  ].join('');
