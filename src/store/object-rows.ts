/** Rows of objects, uploads and parts into records and back. */
import { z } from 'zod';
import { CHECKSUM_ALGORITHMS } from '../domain/object-store.ts';
import type { Checksums, ListedObject, MultipartUpload, StoredObject, UploadedPart } from '../domain/object-store.ts';
import { count, json, jsonOrNull, reader, texts, timeMs } from './rows.ts';
import type { ObjectTable, PartTable, UploadTable } from './tables.ts';

const checksumType = z.enum(['FULL_OBJECT', 'COMPOSITE']);
const algorithm = z.enum(CHECKSUM_ALGORITHMS);
const checksums: z.ZodType<Checksums> = z.partialRecord(algorithm, z.string());

const description = { contentType: z.string(), systemMetadata: json(texts), metadata: json(texts) };

const listed = {
  key: z.string(),
  size: count,
  etag: z.string(),
  checksums: json(checksums),
  checksumType,
  modifiedAtMs: timeMs,
};

const objectRow: z.ZodType<StoredObject> = z.object({
  ...description,
  ...listed,
  bucket: z.string(),
  blobId: z.string(),
  multipart: json(z.object({ uploadId: z.string(), partSizes: z.array(count) })).nullable(),
});

const uploadRow: z.ZodType<MultipartUpload> = z.object({
  ...description,
  bucket: z.string(),
  key: z.string(),
  uploadId: z.string(),
  checksum: json(z.object({ algorithm, type: checksumType })).nullable(),
  startedAtMs: timeMs,
});

const partRow: z.ZodType<UploadedPart> = z.object({
  partNumber: count,
  blobId: z.string(),
  size: count,
  etag: z.string(),
  checksums: json(checksums),
  modifiedAtMs: timeMs,
});

/** @throws LullError internal where the row is not what this code writes */
export const toStoredObject = reader('objects', objectRow);
/** @throws LullError internal where the row is not what this code writes */
export const toListedObject: (row: unknown) => ListedObject = reader('objects', z.object(listed));
/** @throws LullError internal where the row is not what this code writes */
export const toUpload = reader('uploads', uploadRow);
/** @throws LullError internal where the row is not what this code writes */
export const toPart = reader('parts', partRow);

/** Columns that a listing reads: the others may be long. */
export const LISTED_COLUMNS = ['key', 'size', 'etag', 'checksums', 'checksumType', 'modifiedAtMs'] as const;

export const fromObject = (object: StoredObject): ObjectTable => ({
  ...object,
  systemMetadata: JSON.stringify(object.systemMetadata),
  metadata: JSON.stringify(object.metadata),
  checksums: JSON.stringify(object.checksums),
  multipart: jsonOrNull(object.multipart),
});

export const fromUpload = (upload: MultipartUpload): UploadTable => ({
  ...upload,
  systemMetadata: JSON.stringify(upload.systemMetadata),
  metadata: JSON.stringify(upload.metadata),
  checksum: jsonOrNull(upload.checksum),
});

export const fromPart = (uploadId: string, part: UploadedPart): PartTable => ({ ...part, uploadId, checksums: JSON.stringify(part.checksums) });
