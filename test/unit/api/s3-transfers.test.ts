/** Uploads as AWS's transfer manager makes them, and what can go wrong while parts come and go. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { LullError } from '../../../src/domain/errors.ts';
import type { BlobStore } from '../../../src/domain/object-store.ts';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const MIB = 1024 * 1024;
const Bucket = 'transfers';

/** A stream that is nowhere as a whole: a mebibyte that differs from the one before it, again and again. */
function* flood(mebibytes: number): Generator<Buffer> {
  for (let n = 0; n < mebibytes; n++) yield Buffer.alloc(MIB, `${n},`);
}

/** Like a real store, but a step can be made to wait. */
class SteeredBlobs {
  /** Awaited before parts are joined, and after. */
  beforeJoin: () => Promise<unknown> = async () => {};
  afterJoin: () => Promise<unknown> = async () => {};
  /** Awaited before a body is written. */
  beforeWrite: () => Promise<unknown> = async () => {};
  joins = 0;

  around(blobs: BlobStore): BlobStore {
    return {
      write: async (source) => {
        await this.beforeWrite();
        return blobs.write(source);
      },
      read: (blobId, range) => blobs.read(blobId, range),
      remove: (blobId) => blobs.remove(blobId),
      orphans: (kept, beforeMs) => blobs.orphans(kept, beforeMs),
      path: (blobId) => blobs.path(blobId),
      join: async (blobIds) => {
        this.joins++;
        await this.beforeJoin();
        const joined = await blobs.join(blobIds);
        await this.afterJoin();
        return joined;
      },
    };
  }
}

interface Begun {
  readonly Bucket: string;
  readonly Key: string;
  readonly UploadId: string | undefined;
}

async function begin(bed: ApiBed, Key: string): Promise<Begun> {
  const { UploadId } = await bed.s3.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key }));
  return { Bucket, Key, UploadId };
}

async function sendPart(bed: ApiBed, upload: Begun, Body: string): Promise<sdk.CompletedPart> {
  return { ...(await bed.s3.send(new sdk.UploadPartCommand({ ...upload, PartNumber: 1, Body }))), PartNumber: 1 };
}

const complete = (bed: ApiBed, upload: Begun, Parts: sdk.CompletedPart[]) => bed.s3.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
const read = async (bed: ApiBed, Key: string) => (await bed.s3.send(new sdk.GetObjectCommand({ Bucket, Key }))).Body!.transformToString();

async function openBed(steered = new SteeredBlobs()): Promise<ApiBed> {
  const bed = await startApi({ uploadStallMs: 500 }, { around: (blobs) => steered.around(blobs) });
  await bed.s3.send(new sdk.CreateBucketCommand({ Bucket }));
  return bed;
}

describe('@aws-sdk/lib-storage', () => {
  test('a stream of unknown length goes in by parts, four at once, and memory stays flat', async () => {
    await using bed = await openBed();
    const mebibytes = 200;
    const expected = createHash('sha256');
    for (const chunk of flood(mebibytes)) expected.update(chunk);
    let highest = 0;
    const idle = process.memoryUsage().arrayBuffers;
    const watched = Readable.from(flood(mebibytes)).on('data', () => (highest = Math.max(highest, process.memoryUsage().arrayBuffers - idle)));
    await new Upload({ client: bed.s3, params: { Bucket, Key: 'big', Body: watched }, partSize: 8 * MIB, queueSize: 4 }).done();
    const { Body, ETag, ContentLength } = await bed.s3.send(new sdk.GetObjectCommand({ Bucket, Key: 'big' }));
    assert.deepEqual([ContentLength, ETag!.slice(33)], [mebibytes * MIB, '-25"']);
    const actual = createHash('sha256');
    for await (const chunk of Body as Readable) actual.update(chunk as Buffer);
    assert.equal(actual.digest('hex'), expected.digest('hex'));
    // The client alone holds four parts of eight mebibytes; it and the server are one process here.
    assert.ok(highest < 100 * MIB, `${Math.round(highest / MIB)} MiB were held`);
  });

  test('what is smaller than a part goes in at once; what its client gives up leaves nothing', { timeout: 20_000 }, async () => {
    await using bed = await openBed();
    await new Upload({ client: bed.s3, params: { Bucket, Key: 'small', Body: 'hello' } }).done();
    assert.equal(await read(bed, 'small'), 'hello');
    const broken = Readable.from(
      (function* () {
        yield* flood(12);
        throw new Error('the disk of the client');
      })(),
    );
    await assert.rejects(new Upload({ client: bed.s3, params: { Bucket, Key: 'broken', Body: broken }, partSize: 5 * MIB, queueSize: 1 }).done(), /the disk of the client/);
    assert.equal((await bed.s3.send(new sdk.ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined);
    assert.equal((await bed.blobFiles()).length, 1);
  });
});

describe('while parts come and go', () => {
  test('a part that is sent again while the upload is completed: the completion sees it, or is the earlier one', async () => {
    const steered = new SteeredBlobs();
    await using bed = await openBed(steered);
    const upload = await begin(bed, 'again');
    const first = await sendPart(bed, upload, 'first');
    steered.beforeJoin = () => sendPart(bed, upload, 'second');
    await assert.rejects(complete(bed, upload, [first]), { name: 'InvalidPart' });
    steered.beforeJoin = async () => {};
    steered.afterJoin = () => sendPart(bed, upload, 'third');
    await complete(bed, upload, [await sendPart(bed, upload, 'second')]);
    assert.equal(await read(bed, 'again'), 'second');
    assert.equal((await bed.blobFiles()).length, 1);
  });

  test('an abort while the upload is completed: no object, no file', async () => {
    const steered = new SteeredBlobs();
    await using bed = await openBed(steered);
    for (const moment of ['beforeJoin', 'afterJoin'] as const) {
      const upload = await begin(bed, 'gone');
      const part = await sendPart(bed, upload, 'x');
      steered[moment] = () => bed.s3.send(new sdk.AbortMultipartUploadCommand(upload));
      await assert.rejects(complete(bed, upload, [part]), { name: 'NoSuchUpload' });
      steered[moment] = async () => {};
    }
    await assert.rejects(read(bed, 'gone'), { name: 'NoSuchKey' });
    assert.deepEqual(await bed.blobFiles(), []);
  });

  test('two completions at once: one joins the parts, the other finds the object', async () => {
    const steered = new SteeredBlobs();
    await using bed = await openBed(steered);
    const upload = await begin(bed, 'two');
    const part = await sendPart(bed, upload, 'x');
    const answers = await Promise.all([1, 2, 3].map(() => complete(bed, upload, [part])));
    assert.equal(new Set(answers.map(({ ETag }) => ETag)).size, 1);
    assert.equal(steered.joins, 1);
  });

  test('a bucket that is deleted while the upload is completed', async () => {
    const steered = new SteeredBlobs();
    await using bed = await openBed(steered);
    const upload = await begin(bed, 'k');
    const part = await sendPart(bed, upload, 'x');
    steered.afterJoin = () => bed.s3.send(new sdk.DeleteBucketCommand({ Bucket }));
    await assert.rejects(complete(bed, upload, [part]), { name: 'NoSuchUpload' });
    assert.deepEqual(await bed.blobFiles(), []);
  });

  test('a part that is cut off, or whose upload is aborted meanwhile, leaves nothing', { timeout: 20_000 }, async () => {
    await using bed = await openBed();
    const upload = await begin(bed, 'cut');
    const begun = async () => {
      const path = `/${Bucket}/cut?partNumber=1&uploadId=${upload.UploadId}`;
      const signed = signHeaders({ method: 'PUT', url: new URL(bed.origin + path), headers: {} }, { hash: 'UNSIGNED-PAYLOAD' }, bed.context('s3'));
      const socket = connect(bed.port, '127.0.0.1');
      const lines = Object.entries({ ...signed, host: `127.0.0.1:${bed.port}`, 'content-length': '10', connection: 'close' }).map(([name, value]) => `${name}: ${value}`);
      socket.write([`PUT ${path} HTTP/1.1`, ...lines, '', 'half'].join('\r\n'));
      return socket;
    };
    const silent = await begun();
    assert.match((await buffer(silent)).toString(), /<Code>RequestTimeout<\/Code>/);
    const hungUp = await begun();
    hungUp.destroy();
    await once(hungUp, 'close');
    const late = await begun();
    await bed.s3.send(new sdk.AbortMultipartUploadCommand(upload));
    late.write('whole.');
    assert.match((await buffer(late)).toString(), /<Code>NoSuchUpload<\/Code>/);
    assert.deepEqual((await bed.blobFiles()).filter((name) => !name.endsWith('.partial')), []);
  });

  test('a part with a wrong Content-MD5 or checksum is refused and leaves the one before it', async () => {
    await using bed = await openBed();
    const upload = await begin(bed, 'kept');
    const part = await sendPart(bed, upload, 'good');
    const bad = (more: Partial<sdk.UploadPartCommandInput>) => bed.s3.send(new sdk.UploadPartCommand({ ...upload, PartNumber: 1, Body: 'bad', ...more }));
    await assert.rejects(bad({ ContentMD5: createHash('md5').update('x').digest('base64') }), { name: 'BadDigest' });
    await assert.rejects(bad({ ChecksumSHA256: createHash('sha256').update('x').digest('base64') }), { name: 'BadDigest' });
    await complete(bed, upload, [part]);
    assert.equal(await read(bed, 'kept'), 'good');
  });
});

describe('when the store fails', () => {
  test('the bytes stay where the row may have been written: the next start knows', async () => {
    const steered = new SteeredBlobs();
    await using bed = await openBed(steered);
    steered.beforeWrite = async () => bed.store[Symbol.asyncDispose]();
    await assert.rejects(bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'unsure', Body: 'kept' })), { name: 'InternalError' });
    assert.equal((await bed.blobFiles()).length, 1);
  });

  test('the bytes go where the disk is full', async () => {
    await using bed = await openBed();
    bed.store.objects.put = async () => {
      throw new LullError('insufficient-capacity', 'The disk that holds the store is full.');
    };
    await assert.rejects(bed.s3.send(new sdk.PutObjectCommand({ Bucket, Key: 'refused', Body: 'lost' })));
    assert.deepEqual(await bed.blobFiles(), []);
  });
});
