/** Ports of the object store: buckets, objects and multipart uploads in the store, their bytes in files. */
import type { Readable } from 'node:stream';

/** Checksums that S3 clients send, by the names that S3 has for them (S3 User Guide, "Checking object integrity"). */
export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];
/** Base64 values by algorithm; a composite one ends in `-<parts>`. */
export type Checksums = { readonly [A in ChecksumAlgorithm]?: string | undefined };

/** Whether a checksum is of all bytes, or of the checksums of the parts (S3 User Guide, "Checksums for multipart uploads"). */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

/** What a client says of an object, and gets back. */
export interface ObjectDescription {
  readonly contentType: string;
  /** Further headers that come back as they were sent (`cache-control`, …), by lower-case name. */
  readonly systemMetadata: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A stored object: its bytes are in a file of the object store, never in the database. */
export interface StoredObject extends ObjectDescription {
  readonly bucket: string;
  /** Data, never a path. */
  readonly key: string;
  /** Name of the file that holds the bytes: a uuid of ours. */
  readonly blobId: string;
  readonly size: number;
  /** Hex MD5, without quotes; of a multipart upload, the MD5 of its parts' MD5s and `-<parts>`. */
  readonly etag: string;
  readonly checksums: Checksums;
  readonly checksumType: ChecksumType;
  readonly modifiedAtMs: number;
  /** The multipart upload that made it; null for one that came whole. */
  readonly multipart: { readonly uploadId: string; readonly partSizes: readonly number[] } | null;
}

/** What a listing shows of an object. */
export type ListedObject = Pick<StoredObject, 'key' | 'size' | 'etag' | 'checksums' | 'checksumType' | 'modifiedAtMs'>;

/** What must be true of the key at the moment of a write: nothing is there, or an object with this ETag. */
export type WriteCondition = 'absent' | { readonly etag: string };

/** `freed` are the blobs that nothing refers to any more, which the caller then removes. */
export type WriteOutcome =
  | { readonly outcome: 'stored'; readonly freed: readonly string[] }
  | { readonly outcome: 'no-bucket' | 'no-key' | 'no-upload' | 'precondition-failed' };

export interface Bucket {
  readonly bucket: string;
  readonly createdAtMs: number;
}

export interface ObjectRepository {
  createBucket(bucket: string, createdAtMs: number): Promise<'created' | 'exists'>;
  hasBucket(bucket: string): Promise<boolean>;
  /** By name, strictly after `after`. */
  listBuckets(options: { prefix: string; after: string; limit: number }): Promise<readonly Bucket[]>;
  /** Deletes it with its unfinished uploads, whose blobs are returned; undefined where it still holds objects. */
  deleteBucket(bucket: string): Promise<readonly string[] | undefined>;
  /** What was kept of the bucket's public access block (a JSON text); null where nothing was. */
  publicAccessBlock(bucket: string): Promise<string | null>;
  keepPublicAccessBlock(bucket: string, block: string | null): Promise<void>;
  /** Replaces what was there, where the condition holds. */
  put(object: StoredObject, condition?: WriteCondition): Promise<WriteOutcome>;
  get(bucket: string, key: string): Promise<StoredObject | undefined>;
  /** Deletes those that are there, at once; returns the blobs that are no longer referred to. */
  delete(bucket: string, keys: readonly string[]): Promise<readonly string[]>;
  /** Keys in UTF-8 binary order, strictly after `after`. */
  list(bucket: string, options: { prefix: string; after: string; limit: number }): Promise<readonly ListedObject[]>;
  /** Every blob that an object, a part or a version of an image refers to (for clean-up of orphans). */
  blobIds(): Promise<readonly string[]>;
}

/** A multipart upload that was neither completed nor aborted. */
export interface MultipartUpload extends ObjectDescription {
  readonly bucket: string;
  readonly key: string;
  /** Ids of one key sort by the time that they began. */
  readonly uploadId: string;
  /** The checksum that the object will have; null where none was asked for. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType } | null;
  readonly startedAtMs: number;
}

/** A part of an upload: a blob of its own until the upload is completed. */
export interface UploadedPart {
  readonly partNumber: number;
  readonly blobId: string;
  readonly size: number;
  /** Hex MD5, without quotes. */
  readonly etag: string;
  readonly checksums: Checksums;
  readonly modifiedAtMs: number;
}

export interface UploadRepository {
  /** @param maxOfBucket how many unfinished ones a bucket may have */
  create(upload: MultipartUpload, maxOfBucket: number): Promise<'created' | 'no-bucket' | 'too-many'>;
  /** Undefined too where it is an upload of another key. */
  get(bucket: string, key: string, uploadId: string): Promise<MultipartUpload | undefined>;
  /** Replaces a part with the same number. */
  putPart(uploadId: string, part: UploadedPart): Promise<WriteOutcome>;
  /** By number, strictly after `after`. */
  parts(uploadId: string, options: { after: number; limit: number }): Promise<readonly UploadedPart[]>;
  /** By key, then by id, strictly after `after`. */
  list(bucket: string, options: { prefix: string; after: UploadPosition; limit: number }): Promise<readonly MultipartUpload[]>;
  /** Ends the upload that made the object and puts the object, in one transaction. `freed` has the parts' blobs too. */
  complete(object: StoredObject, condition?: WriteCondition): Promise<WriteOutcome>;
  /** Returns the blobs of its parts; undefined where there is no such upload. */
  abort(bucket: string, key: string, uploadId: string): Promise<readonly string[] | undefined>;
  /** Forgets uploads that began before; their blobs are orphans then. */
  forgetBefore(startedBeforeMs: number): Promise<void>;
}

export interface UploadPosition {
  readonly key: string;
  readonly uploadId: string;
}

/** The bytes of stored objects. */
export interface BlobStore {
  /** Streams to disk, fsyncs, and returns the size and hex MD5; removes the file if the stream fails. */
  write(source: Readable): Promise<{ blobId: string; size: number; md5: string }>;
  /**
   * Makes one blob of several, one after the other, durably; they stay. Of a single one it is a second name, which lives on when the
   * first is removed.
   * @returns undefined where one of them is gone
   */
  join(blobIds: readonly string[]): Promise<string | undefined>;
  /** Opens the bytes `[start, end]`, both included; all of them without a range. */
  read(blobId: string, range?: { start: number; end: number }): Readable;
  remove(blobId: string): Promise<void>;
  /** What is not among `kept`, and has not been touched since `beforeMs`: something that is just stored has no row yet. */
  orphans(kept: ReadonlySet<string>, beforeMs: number): Promise<readonly { readonly path: string; readonly sizeBytes: number }[]>;
  /** Path of the file, for those who need one (the zip reader). */
  path(blobId: string): string;
}
