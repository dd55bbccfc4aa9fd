/**
 * The body of an upload, checked while it streams: length, hash, chunk signatures, Content-MD5 and checksums (Amazon S3 User
 * Guide, "Checking object integrity for data uploads"). The stream ends well only where everything held, so whoever
 * writes it to disk commits only then.
 */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Transform, pipeline } from 'node:stream';
import type { Readable, TransformCallback } from 'node:stream';
import { CHECKSUM_ALGORITHMS } from '../../domain/object-store.ts';
import type { ChecksumAlgorithm, Checksums } from '../../domain/object-store.ts';
import { UNSIGNED_PAYLOAD, constantTimeEqual, queryPairs } from '../../lib/sigv4.ts';
import { receivedUrl, splitUrl } from '../authentication.ts';
import type { KnownSigner, SignatureClaim } from '../authentication.ts';
import { AwsChunkedDecoder } from './aws-chunked.ts';
import type { ChunkSigning } from './aws-chunked.ts';
import { algorithmOfHeader, checksumHeader, isChecksumValue, startChecksum } from './checksums.ts';
import type { RunningChecksum } from './checksums.ts';
import { S3Error } from './s3-error.ts';

/** Values of `x-amz-content-sha256` that announce an `aws-chunked` body. */
const CHUNKED: ReadonlyMap<string, { readonly signed: boolean; readonly trailer: boolean }> = new Map([
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', { signed: true, trailer: false }],
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', { signed: true, trailer: true }],
  ['STREAMING-UNSIGNED-PAYLOAD-TRAILER', { signed: false, trailer: true }],
]);

/** What an upload may be. */
export interface UploadLimits {
  readonly maxObjectBytes: number;
  /** Longest silence in milliseconds. */
  readonly uploadStallMs: number;
}

/** How an operation takes its body. */
export interface UploadOptions {
  /** At most this, where it is less than what an object may be. */
  readonly maxBytes?: number;
  /** A checksum that is taken although the client may not have sent it. */
  readonly take?: ChecksumAlgorithm | undefined;
  /** The checksum headers are of something else than this body. */
  readonly ignoreChecksumHeaders?: boolean;
}

/** A checked body. `checksums` is complete when the stream has ended. */
export interface Upload {
  readonly stream: Readable;
  readonly checksums: Checksums;
}

/**
 * The payload hash that the signature of a request covers.
 * @param claim null for a link of Signature V2, which covers the header as every other `x-amz-…` one
 * @throws S3Error InvalidRequest where the header is missing; InvalidArgument where it, or the parameter, is no such value
 */
export function declaredPayloadHash(request: IncomingMessage, claim: SignatureClaim | null): string {
  const header = request.headers['x-amz-content-sha256'];
  if (claim === null && header === undefined) return UNSIGNED_PAYLOAD;
  const inQuery = claim?.by === 'query' && !claim.signedHeaders.includes('x-amz-content-sha256');
  const declared = inQuery ? hashInQuery(request) : header;
  if (typeof declared !== 'string') {
    throw new S3Error('InvalidRequest', { message: 'Missing required header for this request: x-amz-content-sha256' });
  }
  if (declared === UNSIGNED_PAYLOAD || CHUNKED.has(declared) || /^[0-9a-f]{64}$/.test(declared)) return declared;
  throw new S3Error('InvalidArgument', {
    message: 'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING-… value, or a valid sha256 value.',
  });
}

function hashInQuery(request: IncomingMessage): string {
  const pair = queryPairs(splitUrl(receivedUrl(request)).query).find(([name]) => name === 'X-Amz-Content-Sha256');
  return pair?.[1] ?? UNSIGNED_PAYLOAD;
}

/**
 * Opens the body of a request whose signature over `payloadHash` has been verified.
 * @param signer null where its signature is no beginning for those of chunks
 * @throws S3Error SignatureDoesNotMatch, MissingContentLength, EntityTooLarge, InvalidDigest, InvalidRequest
 */
export function openUpload(request: IncomingMessage, signer: KnownSigner | null, options: UploadOptions & { payloadHash: string; limits: UploadLimits }): Upload {
  const { payloadHash, limits } = options;
  const maxBytes = options.maxBytes ?? limits.maxObjectBytes;
  const chunked = CHUNKED.get(payloadHash);
  const length = declaredLength(request.headers, chunked !== undefined);
  if (length > maxBytes) throw new S3Error('EntityTooLarge', { detail: { MaxSizeAllowed: String(maxBytes) } });
  const trailerNames = chunked?.trailer === true ? announcedTrailers(request.headers) : [];
  const decoder =
    chunked === undefined
      ? undefined
      : new AwsChunkedDecoder({
          signing: chunked.signed ? chunkSigning(signer) : null,
          trailerNames,
        });
  const check = new PayloadCheck({
    length,
    sha256: /^[0-9a-f]{64}$/.test(payloadHash) ? payloadHash : undefined,
    md5: declaredMd5(request.headers),
    checksums: options.ignoreChecksumHeaders === true ? new Map() : declaredChecksums(request.headers),
    take: options.take,
    trailerAlgorithms: trailerNames.map(algorithmOfHeader).filter((algorithm) => algorithm !== undefined),
    trailers: decoder?.trailers ?? new Map<string, string>(),
  });
  // Whoever reads the stream learns of its failure; without a listener a failure that nobody reads would end the process.
  check.on('error', () => {});
  if (decoder !== undefined) pipeline(decoder, check, () => {});
  feed(request, decoder ?? check, limits.uploadStallMs);
  return { stream: check, checksums: check.checksums };
}

function chunkSigning(signer: KnownSigner | null): ChunkSigning {
  if (signer === null) throw new S3Error('SignatureDoesNotMatch');
  const { key, claim } = signer;
  return { key, scope: claim.scope, amzDate: claim.date, seedSignature: claim.signature };
}

function declaredLength(headers: IncomingHttpHeaders, chunked: boolean): number {
  const text = chunked ? headers['x-amz-decoded-content-length'] : headers['content-length'];
  if (text === undefined && !chunked && headers['transfer-encoding'] === undefined) return 0;
  if (typeof text !== 'string' || !/^\d{1,15}$/.test(text)) throw new S3Error('MissingContentLength');
  return Number(text);
}

function declaredMd5(headers: IncomingHttpHeaders): string | undefined {
  const md5 = headers['content-md5'];
  if (md5 === undefined) return undefined;
  if (typeof md5 !== 'string' || Buffer.from(md5, 'base64').length !== 16) throw new S3Error('InvalidDigest');
  return md5;
}

/** The checksum that comes with a body, in a header or a trailer; undefined where there is none. */
export function declaredAlgorithm(headers: IncomingHttpHeaders): ChecksumAlgorithm | undefined {
  return declaredChecksums(headers).keys().next().value ?? algorithmOfHeader(String(headers['x-amz-trailer'] ?? ''));
}

function declaredChecksums(headers: IncomingHttpHeaders): Map<ChecksumAlgorithm, string> {
  const declared = new Map<ChecksumAlgorithm, string>();
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const value = headers[checksumHeader(algorithm)];
    if (value === undefined) continue;
    if (typeof value !== 'string' || !isChecksumValue(algorithm, value)) throw invalidChecksum(checksumHeader(algorithm));
    declared.set(algorithm, value);
  }
  if (declared.size > 1) throw new S3Error('InvalidRequest', { message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.' });
  return declared;
}

function announcedTrailers(headers: IncomingHttpHeaders): string[] {
  const given = headers['x-amz-trailer'];
  const names = (typeof given === 'string' ? given : '').split(',').map((name) => name.trim().toLowerCase());
  const unknown = names.filter((name) => algorithmOfHeader(name) === undefined);
  if (unknown.length > 0) {
    throw new S3Error('InvalidRequest', { message: 'The value specified in the x-amz-trailer header is not supported' });
  }
  return names;
}

/** What a client declared does not agree with what arrived. */
export const checksumMismatch = (algorithm: ChecksumAlgorithm) =>
  new S3Error('BadDigest', { message: `The ${algorithm} you specified did not match the calculated checksum.` });

const invalidChecksum = (header: string) => new S3Error('InvalidRequest', { message: `Value for ${header} header is invalid.` });

/**
 * Lets the request flow into the first stage. The request itself is never destroyed, or its answer could not be sent: what
 * comes after a failure is read and dropped.
 */
function feed(request: IncomingMessage, first: Transform, stallMs: number): void {
  const stall = setTimeout(() => first.destroy(new S3Error('RequestTimeout')), stallMs);
  const onData = () => stall.refresh();
  const onClose = () => {
    if (!request.complete) first.destroy(new S3Error('IncompleteBody'));
  };
  request.on('data', onData);
  request.once('close', onClose);
  request.once('error', onClose);
  request.once('end', () => clearTimeout(stall));
  first.once('close', () => {
    clearTimeout(stall);
    request.removeListener('data', onData);
    request.unpipe(first);
    request.resume();
  });
  request.pipe(first);
}

interface Expectations {
  readonly length: number;
  readonly sha256: string | undefined;
  readonly md5: string | undefined;
  readonly checksums: ReadonlyMap<ChecksumAlgorithm, string>;
  readonly trailerAlgorithms: readonly ChecksumAlgorithm[];
  readonly take: ChecksumAlgorithm | undefined;
  /** Filled by the decoder before the end of the data reaches the check. */
  readonly trailers: ReadonlyMap<string, string>;
}

/** Passes data on; fails at its end (or as soon as it is too long) where it is not what was declared. */
class PayloadCheck extends Transform {
  readonly checksums: { [A in ChecksumAlgorithm]?: string } = {};
  readonly #expected: Expectations;
  readonly #sha256 = createHash('sha256');
  readonly #md5 = createHash('md5');
  readonly #running = new Map<ChecksumAlgorithm, RunningChecksum>();
  #length = 0;

  constructor(expected: Expectations) {
    super();
    this.#expected = expected;
    const taken = expected.take === undefined ? [] : [expected.take];
    for (const algorithm of [...expected.checksums.keys(), ...expected.trailerAlgorithms, ...taken]) {
      this.#running.set(algorithm, startChecksum(algorithm));
    }
  }

  override _transform(data: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#length += data.length;
    if (this.#length > this.#expected.length) {
      done(new S3Error('IncompleteBody', { message: 'The request body is longer than its declared length.' }));
      return;
    }
    if (this.#expected.sha256 !== undefined) this.#sha256.update(data);
    if (this.#expected.md5 !== undefined) this.#md5.update(data);
    for (const running of this.#running.values()) running.update(data);
    done(null, data);
  }

  override _flush(done: TransformCallback): void {
    done(this.#verdict());
  }

  #verdict(): S3Error | null {
    const { length, sha256, md5 } = this.#expected;
    if (this.#length !== length) return new S3Error('IncompleteBody');
    if (sha256 !== undefined && !constantTimeEqual(this.#sha256.digest('hex'), sha256)) return new S3Error('XAmzContentSHA256Mismatch');
    if (md5 !== undefined && this.#md5.digest('base64') !== md5) return new S3Error('BadDigest');
    for (const [algorithm, running] of this.#running) {
      const declared = this.#expected.checksums.get(algorithm) ?? this.#expected.trailers.get(checksumHeader(algorithm));
      const computed = running.digest();
      if (declared !== undefined && !isChecksumValue(algorithm, declared)) return invalidChecksum(checksumHeader(algorithm));
      if (declared !== undefined && computed !== declared) return checksumMismatch(algorithm);
      this.checksums[algorithm] = computed;
    }
    return null;
  }
}
