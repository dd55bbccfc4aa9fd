/** What an S3 operation receives and returns. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Realm } from '../../domain/ids.ts';
import type { BlobStore, Clock, ObjectRepository } from '../../domain/ports.ts';
import type { Upload, UploadLimits } from './upload.ts';

/** The parts of the house that the object store rests on. */
export interface ObjectStore {
  readonly objects: ObjectRepository;
  readonly blobs: BlobStore;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly realm: Realm;
  readonly limits: UploadLimits;
}

/** What a path names. Keys are data, never paths. */
export type S3Target =
  | { readonly kind: 'service' }
  | { readonly kind: 'bucket'; readonly bucket: string }
  | { readonly kind: 'object'; readonly bucket: string; readonly key: string };

/** An authenticated request. */
export interface S3Call<K extends S3Target['kind'] = S3Target['kind']> {
  readonly store: ObjectStore;
  readonly target: Extract<S3Target, { kind: K }>;
  readonly query: ReadonlyMap<string, string>;
  readonly request: IncomingMessage;
  /** Opens the body; every operation that may have one reads it to the end, or refuses it. */
  readonly upload: () => Upload;
}

export interface S3Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Readable;
}

/** An answer of XML. */
export const xmlAnswer = (body: string): S3Answer => ({ status: 200, headers: { 'content-type': 'application/xml' }, body });
