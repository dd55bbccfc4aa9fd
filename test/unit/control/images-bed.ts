/** The image use-cases over a real store and real blobs, with a builder that the test steers. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { CreateImageInput, ImageConfigInput } from '../../../src/control/control-plane.ts';
import type { ImageLimits } from '../../../src/control/images/context.ts';
import { createImageUseCases, type ImageControl } from '../../../src/control/images/image-use-cases.ts';
import { managedImages } from '../../../src/control/images/managed.ts';
import { createPassRole } from '../../../src/control/roles/pass-role.ts';
import { DEFAULT_REALM, managedImageArn } from '../../../src/domain/ids.ts';
import type { BlobStore } from '../../../src/domain/object-store.ts';
import type { Store } from '../../../src/domain/ports.ts';
import { SILENT, type Log } from '../../../src/lib/log.ts';
import { openBlobs } from '../../../src/store/blobs.ts';
import { openStore } from '../../../src/store/store.ts';
import { FakeImageBuilder } from '../../fakes/image-builder.ts';

export const AL2023 = managedImageArn(DEFAULT_REALM, 'al2023-1');

export const configInput = (fields: Partial<ImageConfigInput> = {}): ImageConfigInput => ({
  baseImageArn: AL2023,
  baseImageVersion: null,
  buildRoleArn: 'arn:aws:iam::000000000000:role/build',
  codeArtifactUri: 's3://artifacts/app.zip',
  description: null,
  logging: null,
  egressConnectors: null,
  cpuArchitectures: null,
  minimumMemoryMib: 512,
  additionalOsCapabilities: null,
  hooks: null,
  environmentVariables: null,
  ...fields,
});

export const createInput = (name: string, fields: Partial<CreateImageInput> = {}): CreateImageInput => ({
  name,
  config: configInput(),
  tags: {},
  clientToken: null,
  ...fields,
});

export interface ImagesBed extends AsyncDisposable {
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly builder: FakeImageBuilder;
  readonly images: ImageControl;
  /** What was logged at `error`. */
  readonly errors: string[];
  /** Another server over the same store, as after a restart. */
  restart(): ImageControl;
  /** Puts an object into the bucket `artifacts`. */
  upload(key: string, bytes: string): Promise<void>;
  /** Makes an image whose first build has succeeded. */
  made(name: string): Promise<void>;
}

const LIMITS: ImageLimits = { buildsAtOnce: 2, buildsWaiting: 2, images: 100, versionsPerImage: 50 };

export async function imagesBed({ isStrict, ...limits }: Partial<ImageLimits> & { isStrict?: boolean } = {}): Promise<ImagesBed> {
  const folder = await mkdtemp(join(tmpdir(), 'lull-images-'));
  const store = await openStore({ path: ':memory:' });
  const blobs = await openBlobs(join(folder, 'blobs'));
  const builder = new FakeImageBuilder();
  const errors: string[] = [];
  const log: Log = { ...SILENT, error: (_fields, message) => errors.push(message) };
  let nowMs = 1_000_000;
  let uuids = 0;
  const servers: ImageControl[] = [];
  const start = () => {
    const images = createImageUseCases({
      store,
      builder,
      blobs,
      clock: { nowMs: () => ++nowMs },
      random: { uuid: () => `uuid-${++uuids}` },
      realm: DEFAULT_REALM,
      passRole: createPassRole({ roles: store.roles, realm: DEFAULT_REALM, check: 'own-account' }),
      limits: { ...LIMITS, ...limits },
      architecture: { host: 'x86_64', isStrict: isStrict ?? false },
      managed: managedImages(DEFAULT_REALM, [{ arnName: 'lull-base', createdAtMs: 5 }]),
      log,
    });
    servers.push(images);
    return images;
  };
  const images = start();
  await store.objects.createBucket('artifacts', 1);
  const upload = async (key: string, bytes: string) => {
    const { blobId, size, md5 } = await blobs.write(Readable.from([bytes]));
    const written = await store.objects.put({
      bucket: 'artifacts',
      key,
      blobId,
      size,
      etag: md5,
      contentType: 'application/zip',
      systemMetadata: {},
      metadata: {},
      checksums: {},
      checksumType: 'FULL_OBJECT',
      modifiedAtMs: 1,
      multipart: null,
    });
    assert.equal(written.outcome, 'stored');
    for (const blob of written.freed) await blobs.remove(blob);
  };
  await upload('app.zip', 'zip');
  return {
    store,
    blobs,
    builder,
    images,
    errors,
    restart: start,
    upload,
    async made(name) {
      await images.create(createInput(name));
      (await builder.next()).succeed();
      await images.idle();
    },
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}
