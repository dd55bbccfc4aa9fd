/** Request bodies that are XML: read whole, bounded, checked against a schema. */
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import type { S3Request } from './call.ts';
import { S3Error } from './s3-error.ts';
import type { UploadOptions } from './upload.ts';
import { readXml } from './xml-reader.ts';

/** A thousand keys of a kilobyte, or ten thousand parts with a SHA-256 each (1.7 MiB). */
export const LONG_DOCUMENT_BYTES = 2 * 1024 * 1024;
/** Settings; as tags of a bucket, which are passed over, they are the longest. */
export const SHORT_DOCUMENT_BYTES = 64 * 1024;

/** The text of an element that is there once. */
export const xmlText = z.tuple([z.string()]).transform(([text]) => text);
/** A boolean as XML Schema writes it. */
export const xmlBoolean = z.tuple([z.enum(['true', 'false', '1', '0'])]).transform(([text]) => text === 'true' || text === '1');

/** One kind of document: the name of its root and what is below it. */
export interface DocumentKind<T> {
  readonly root: string;
  /** Of all elements below the root. */
  readonly names: readonly string[];
  readonly maxBytes: number;
  readonly schema: z.ZodType<T>;
}

/**
 * Reads the body to its end.
 * @returns undefined where there is none
 * @throws S3Error MalformedXML, EntityTooLarge, and what {@link S3Request.upload} finds wrong with the body
 */
export async function readDocument<T>(call: S3Request, kind: DocumentKind<T>, options: UploadOptions = {}): Promise<T | undefined> {
  const bytes = await buffer(call.upload({ maxBytes: kind.maxBytes, ...options }).stream);
  if (bytes.length === 0) return undefined;
  try {
    const { root, value } = readXml(new TextDecoder('utf-8', { fatal: true }).decode(bytes), new Set([kind.root, ...kind.names]));
    if (root === kind.root) return kind.schema.parse(value);
  } catch (cause) {
    throw new S3Error('MalformedXML', { cause });
  }
  throw new S3Error('MalformedXML');
}

/** As {@link readDocument}, where there must be one. */
export async function requireDocument<T>(call: S3Request, kind: DocumentKind<T>, options: UploadOptions = {}): Promise<T> {
  const document = await readDocument(call, kind, options);
  if (document === undefined) throw new S3Error('MalformedXML');
  return document;
}
