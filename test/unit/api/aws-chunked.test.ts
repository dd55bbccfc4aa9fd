import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { amzDate, chunkStringToSign, sha256Hex, signHeaders, signatureOf, signingKey, trailerStringToSign } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const CHUNKS = ['a'.repeat(70_000), 'b'.repeat(9)];
const DATA = CHUNKS.join('');
const checksum = (text: string) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return bytes.toString('base64');
};

interface Upload {
  readonly hash: string;
  readonly trailer: string | undefined;
  readonly decodedLength?: number;
  /** Alters the encoded body. */
  readonly alter?: (body: string) => string;
}

describe('aws-chunked uploads', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.call('PUT', '/bucket', { service: 's3' });
  });
  after(() => bed[Symbol.asyncDispose]());

  async function upload({ hash, trailer, decodedLength = DATA.length, alter = (body) => body }: Upload) {
    const context = bed.context('s3');
    const url = new URL(`${bed.origin}/bucket/chunked`);
    const given: Record<string, string> = { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(decodedLength) };
    if (trailer !== undefined) given['x-amz-trailer'] = 'x-amz-checksum-crc32';
    const headers = signHeaders({ method: 'PUT', url, headers: given }, { hash }, context);
    const date = amzDate(context.nowMs);
    const scope = { date: date.slice(0, 8), region: context.region, service: 's3' };
    const key = signingKey(context.credentials.secretAccessKey, scope);
    let previousSignature = /Signature=(\w+)/.exec(headers['authorization']!)![1]!;
    const signed = hash.startsWith('STREAMING-AWS4');
    const encoded = [...CHUNKS, ''].map((chunk) => {
      const size = chunk.length.toString(16);
      if (!signed) return `${size}\r\n${chunk}${chunk === '' ? '' : '\r\n'}`;
      previousSignature = signatureOf(key, chunkStringToSign({ amzDate: date, scope, previousSignature, dataSha256: sha256Hex(chunk) }));
      return `${size};chunk-signature=${previousSignature}\r\n${chunk}${chunk === '' ? '' : '\r\n'}`;
    });
    if (trailer !== undefined) {
      encoded.push(`x-amz-checksum-crc32:${trailer}\r\n`);
      const trailerSha256 = sha256Hex(`x-amz-checksum-crc32:${trailer}\n`);
      if (signed) encoded.push(`x-amz-trailer-signature:${signatureOf(key, trailerStringToSign({ amzDate: date, scope, previousSignature, trailerSha256 }))}\r\n`);
    }
    const answer = await fetch(url, { method: 'PUT', headers, body: alter(`${encoded.join('')}\r\n`) });
    return { status: answer.status, code: /<Code>(\w+)/.exec(await answer.text())?.[1] };
  }

  const SIGNED = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';
  const good: [string, Upload][] = [
    ['signed chunks', { hash: SIGNED, trailer: undefined }],
    ['signed chunks and trailer', { hash: `${SIGNED}-TRAILER`, trailer: checksum(DATA) }],
    ['unsigned chunks with a checksum trailer', { hash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', trailer: checksum(DATA) }],
  ];
  for (const [title, one] of good) {
    test(`${title}: stored as decoded`, async () => {
      assert.deepEqual(await upload(one), { status: 200, code: undefined });
      const got = await bed.call('GET', '/bucket/chunked', { service: 's3' });
      assert.ok(got.text === DATA);
      assert.equal((await bed.blobFiles()).length, 1);
      await bed.call('DELETE', '/bucket/chunked', { service: 's3' });
    });
  }

  const UNSIGNED = { hash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', trailer: checksum(DATA) };
  const TRAILED = { hash: `${SIGNED}-TRAILER`, trailer: checksum(DATA) };
  const bad: [string, Upload, number, string][] = [
    ['a byte of a signed chunk', { hash: SIGNED, trailer: undefined, alter: (body) => body.replace('aaaa', 'aaba') }, 403, 'SignatureDoesNotMatch'],
    ['a byte of the last signed chunk', { hash: SIGNED, trailer: undefined, alter: (body) => body.replace('bbb', 'bcb') }, 403, 'SignatureDoesNotMatch'],
    ['a chunk signature left out', { hash: SIGNED, trailer: undefined, alter: (body) => body.replace(/;chunk-signature=\w+/, '') }, 403, 'SignatureDoesNotMatch'],
    ['the last chunk left out', { hash: SIGNED, trailer: undefined, alter: (body) => body.slice(0, body.lastIndexOf('0;chunk')) }, 400, 'IncompleteBody'],
    ['a trailer with another checksum, signed for the first', { ...TRAILED, alter: (body) => body.replace(checksum(DATA), checksum('x')) }, 403, 'SignatureDoesNotMatch'],
    ['a signed trailer without its signature', { ...TRAILED, alter: (body) => body.replace(/x-amz-trailer-signature.*\r\n/, '') }, 403, 'SignatureDoesNotMatch'],
    ['a wrong checksum, well signed', { ...TRAILED, trailer: checksum('x') }, 400, 'BadDigest'],
    ['a wrong checksum, unsigned', { ...UNSIGNED, trailer: checksum('x') }, 400, 'BadDigest'],
    ['a checksum that is none', { ...UNSIGNED, trailer: 'zz' }, 400, 'InvalidRequest'],
    ['the announced trailer left out', { ...UNSIGNED, alter: (body) => body.replace(/x-amz-checksum.*\r\n/, '') }, 400, 'MalformedTrailerError'],
    ['a trailer that nobody announced', { ...UNSIGNED, alter: (body) => body.replace('x-amz-checksum-crc32:', 'x-amz-meta-a:') }, 400, 'MalformedTrailerError'],
    ['a size that is none', { ...UNSIGNED, alter: (body) => `z${body}` }, 400, 'InvalidRequest'],
    ['a chunk longer than its size', { ...UNSIGNED, alter: (body) => body.replace('9\r\n', '8\r\n') }, 400, 'InvalidRequest'],
    ['a line without end', { ...UNSIGNED, alter: () => '1'.repeat(5000) }, 400, 'InvalidRequest'],
    ['more than was declared', { ...UNSIGNED, decodedLength: DATA.length - 1 }, 400, 'IncompleteBody'],
    ['less than was declared', { ...UNSIGNED, decodedLength: DATA.length + 1 }, 400, 'IncompleteBody'],
  ];
  for (const [title, one, status, code] of bad) {
    test(`refused, and nothing kept: ${title}`, async () => {
      assert.deepEqual(await upload(one), { status, code });
      assert.equal((await bed.call('GET', '/bucket/chunked', { service: 's3' })).status, 404);
      assert.deepEqual(await bed.blobFiles(), []);
    });
  }
});
