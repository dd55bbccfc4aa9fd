/** What an S3 operation receives and returns. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Realm } from '../../domain/ids.ts';
import type { BlobStore, ObjectRepository, UploadRepository } from '../../domain/object-store.ts';
import type { Clock, Random } from '../../domain/ports.ts';
import type { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { Principal } from '../authentication.ts';
import type { S3Target } from './target.ts';
import type { Upload, UploadLimits, UploadOptions } from './upload.ts';

/** The parts of the house that the object store rests on. */
export interface ObjectStore {
  readonly objects: ObjectRepository;
  readonly uploads: UploadRepository;
  readonly blobs: BlobStore;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly realm: Realm;
  readonly limits: UploadLimits;
  /** Completions of one upload wait for each other: the second then finds what the first has made. */
  readonly completions: KeyedQueue;
}

/** An authenticated request, whatever it is about. */
export interface S3Request {
  readonly store: ObjectStore;
  readonly query: ReadonlyMap<string, string>;
  /** Those of the request, and those that its query holds. */
  readonly headers: IncomingHttpHeaders;
  readonly request: IncomingMessage;
  readonly principal: Principal;
  /** Opens the body; every operation that may have one reads it to the end, or refuses it. */
  readonly upload: (options?: UploadOptions) => Upload;
}

/** A request with its target. */
export interface S3Call<K extends S3Target['kind'] = S3Target['kind']> extends S3Request {
  readonly target: Extract<S3Target, { kind: K }>;
}

export interface S3Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Readable;
}

/** An answer of XML. */
export const xmlAnswer = (body: string, headers: Readonly<Record<string, string>> = {}): S3Answer => ({
  status: 200,
  headers: { 'content-type': 'application/xml', ...headers },
  body,
});
