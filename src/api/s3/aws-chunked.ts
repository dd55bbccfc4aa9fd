/**
 * The `aws-chunked` content encoding: chunks with a signature each, or unsigned, and trailing headers. Amazon S3 API
 * Reference, "Signature calculations … transferring payload in multiple chunks" and "… with trailing headers".
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { Transform } from 'node:stream';
import type { TransformCallback } from 'node:stream';
import {
  chunkStringToSign,
  constantTimeEqual,
  sha256Hex,
  signatureOf,
  trailerStringToSign,
} from '../../lib/sigv4.ts';
import type { CredentialScope } from '../../lib/sigv4.ts';
import { S3Error } from './s3-error.ts';

/** The chain of signatures starts with the request's own. */
export interface ChunkSigning {
  readonly key: Buffer;
  readonly scope: CredentialScope;
  readonly amzDate: string;
  readonly seedSignature: string;
}

/** What the body is declared to be. */
export interface ChunkedFormat {
  /** Null where chunks carry no signature. */
  readonly signing: ChunkSigning | null;
  /** Lower-case names that `x-amz-trailer` announced. */
  readonly trailerNames: readonly string[];
}

/** A chunk's header is a size and a signature; a trailer a few short lines. */
const MAX_LINE_BYTES = 4096;
const MAX_TRAILER_LINES = 8;
const TRAILER_SIGNATURE = 'x-amz-trailer-signature';

type State = 'chunk-header' | 'chunk-data' | 'chunk-end' | 'trailer' | 'done';

/** Decodes the body; what is pushed is data whose signature is checked at the end of its chunk, so the end decides. */
export class AwsChunkedDecoder extends Transform {
  /** The trailing headers by lower-case name; complete when the stream ends. */
  readonly trailers = new Map<string, string>();
  readonly #format: ChunkedFormat;
  #state: State = 'chunk-header';
  #line: Buffer[] = [];
  #lineBytes = 0;
  #remaining = 0;
  #signature: string | undefined;
  #previousSignature: string;
  #hash: Hash = createHash('sha256');

  constructor(format: ChunkedFormat) {
    super();
    this.#format = format;
    this.#previousSignature = format.signing?.seedSignature ?? '';
  }

  override _transform(data: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#consume(data);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  override _flush(done: TransformCallback): void {
    try {
      this.#finish();
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #consume(data: Buffer): void {
    let rest = data;
    while (rest.length > 0) {
      if (this.#state === 'chunk-data') {
        rest = this.#takeData(rest);
        continue;
      }
      const newline = rest.indexOf(0x0a);
      const piece = newline < 0 ? rest : rest.subarray(0, newline);
      this.#lineBytes += piece.length;
      if (this.#lineBytes > MAX_LINE_BYTES) throw broken('a line of the chunked body is too long');
      this.#line.push(piece);
      if (newline < 0) return;
      rest = rest.subarray(newline + 1);
      const line = Buffer.concat(this.#line).toString('latin1').replace(/\r$/, '');
      this.#line = [];
      this.#lineBytes = 0;
      this.#takeLine(line);
    }
  }

  #takeData(data: Buffer): Buffer {
    const mine = data.subarray(0, this.#remaining);
    this.#remaining -= mine.length;
    if (this.#format.signing !== null) this.#hash.update(mine);
    this.push(mine);
    if (this.#remaining === 0) this.#state = 'chunk-end';
    return data.subarray(mine.length);
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case 'chunk-header':
        return this.#takeHeader(line);
      case 'chunk-end':
        if (line !== '') throw broken('a chunk does not end where its size says');
        this.#checkChunk();
        this.#state = 'chunk-header';
        return;
      case 'trailer':
        return this.#takeTrailer(line);
      case 'done':
        if (line !== '') throw broken('there is more after the end of the chunked body');
        return;
      case 'chunk-data':
        throw new Error('data is not read by lines');
    }
    this.#state satisfies never;
  }

  #takeHeader(line: string): void {
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
    if (match === null) throw broken('a chunk header is not a size and a signature');
    this.#remaining = Number.parseInt(match[1]!, 16);
    this.#signature = match[2];
    if (this.#format.signing !== null && this.#signature === undefined) throw new S3Error('SignatureDoesNotMatch');
    if (this.#remaining > 0) {
      this.#state = 'chunk-data';
      return;
    }
    this.#checkChunk();
    this.#state = 'trailer';
  }

  #checkChunk(): void {
    const { signing } = this.#format;
    if (signing === null) return;
    const dataSha256 = this.#hash.digest('hex');
    this.#hash = createHash('sha256');
    const expected = signatureOf(
      signing.key,
      chunkStringToSign({ ...signing, previousSignature: this.#previousSignature, dataSha256 }),
    );
    if (!constantTimeEqual(expected, this.#signature ?? '')) throw new S3Error('SignatureDoesNotMatch');
    this.#previousSignature = expected;
  }

  #takeTrailer(line: string): void {
    if (line === '') {
      this.#state = 'done';
      return;
    }
    const at = line.indexOf(':');
    const name = line.slice(0, at).trim().toLowerCase();
    const announced = this.#format.trailerNames.includes(name) || name === TRAILER_SIGNATURE;
    if (at < 1 || !announced || this.trailers.has(name) || this.trailers.size >= MAX_TRAILER_LINES) {
      throw new S3Error('MalformedTrailerError');
    }
    this.trailers.set(name, line.slice(at + 1).trim());
  }

  #finish(): void {
    if (this.#state !== 'trailer' && this.#state !== 'done') throw new S3Error('IncompleteBody');
    if (this.#lineBytes > 0) throw new S3Error('MalformedTrailerError');
    if (this.#format.trailerNames.some((name) => !this.trailers.has(name))) throw new S3Error('MalformedTrailerError');
    const { signing } = this.#format;
    if (signing === null || this.#format.trailerNames.length === 0) return;
    const lines = [...this.trailers].filter(([name]) => name !== TRAILER_SIGNATURE).map(([name, value]) => `${name}:${value}\n`);
    const expected = signatureOf(
      signing.key,
      trailerStringToSign({ ...signing, previousSignature: this.#previousSignature, trailerSha256: sha256Hex(lines.join('')) }),
    );
    if (!constantTimeEqual(expected, this.trailers.get(TRAILER_SIGNATURE) ?? '')) throw new S3Error('SignatureDoesNotMatch');
  }
}

const broken = (message: string) => new S3Error('InvalidRequest', { message: `The aws-chunked body is malformed: ${message}.` });
