/** The manifests of snapshots and generations: written last, so where one is there everything it names is on the disk. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import type { Files } from '../lib/files.ts';
import { shortName } from './data-layout.ts';
import { pageStructsSchema } from './page-structs.ts';
import type { PlacementKey } from '../vmm/driver.ts';

/** What is written now. Version 1 did not say whose it was, and had no checksum of its own; it is still read. */
const MANIFEST_VERSION = 2;

/** The frequency is measured anew at each start; the guest's own clock is set after every restore. */
const TSC_TOLERANCE = 0.01;

const placementKey = z.object({
  architecture: z.string(),
  driver: z.string(),
  accelerator: z.string(),
  cpu: z.string(),
  vmm: z.string(),
  machine: z.string(),
  tscKhz: z.number(),
});

const fileEntry = z.object({ sizeBytes: z.number(), sha256: z.string() });
export type FileEntry = z.infer<typeof fileEntry>;

/** Bytes `[offset, offset + length)` of a sparse file that are not a hole. */
const extents = z.array(z.tuple([z.number(), z.number()]));

const snapshotFields = z.object({
  placement: placementKey,
  guestMemoryMib: z.number(),
  vcpus: z.number(),
  /** What the frozen agent in the snapshot knows. */
  agentSecret: z.string(),
  /** How to tell which pages of a paused guest are free; absent where its kernel does not let us. */
  pageStructs: pageStructsSchema.optional(),
  memoryExtents: extents,
  files: z.object({ memory: fileEntry, deviceState: fileEntry, rootDisk: fileEntry, scratch: fileEntry }),
  createdAtMs: z.number(),
});
const newSnapshotManifest = snapshotFields.extend({
  version: z.literal(MANIFEST_VERSION),
  snapshotId: z.string(),
  /** What its guest was booted from, by content hash; its VMM is in the placement. */
  bootedFrom: z.object({ kernel: z.string(), initramfs: z.string(), agent: z.string() }),
  scratchExtents: extents,
});
const snapshotManifest = z.discriminatedUnion('version', [snapshotFields.extend({ version: z.literal(1) }), newSnapshotManifest]);
export type SnapshotManifest = z.infer<typeof snapshotManifest>;

const generationFields = z.object({
  snapshotId: z.string(),
  placement: placementKey,
  agentSecret: z.string(),
  files: z.object({ deviceState: fileEntry, memoryDiff: fileEntry }),
  /** The state of the scratch disk that this memory belongs to. */
  scratch: z.object({ sizeBytes: z.number(), modifiedNs: z.string() }),
  hostBootId: z.string(),
});
const newGenerationManifest = generationFields.extend({ version: z.literal(MANIFEST_VERSION), microvmId: z.string(), generation: z.number() });
const generationManifest = z.discriminatedUnion('version', [generationFields.extend({ version: z.literal(1) }), newGenerationManifest]);
export type GenerationManifest = z.infer<typeof generationManifest>;

/** What is in a manifest beside its version and its checksum. */
export type NewSnapshotManifest = Omit<z.infer<typeof newSnapshotManifest>, 'version'>;
export type NewGenerationManifest = Omit<z.infer<typeof newGenerationManifest>, 'version'>;

/** Writes a manifest, durably: the last step of a snapshot or a generation. */
export async function writeManifest(files: Files, path: string, manifest: NewSnapshotManifest | NewGenerationManifest): Promise<void> {
  const body = { version: MANIFEST_VERSION, ...manifest };
  await files.writeAtomic(path, `${JSON.stringify({ ...body, checksum: checksumOf(body) }, null, 2)}\n`);
}

/** @throws LullError internal where it is missing, not what Lull wrote, or of another snapshot */
export async function readSnapshotManifest(path: string, snapshotId: string): Promise<SnapshotManifest> {
  const manifest = await readManifest(path, snapshotManifest);
  if (manifest.version !== 1 && manifest.snapshotId !== snapshotId) throw belongsElsewhere(path, 'image');
  return manifest;
}

/** @throws LullError internal where it is missing, not what Lull wrote, or of another microVM or generation */
export async function readGenerationManifest(path: string, { microvmId, generation }: { microvmId: string; generation: number }): Promise<GenerationManifest> {
  const manifest = await readManifest(path, generationManifest);
  if (manifest.version === 1) return manifest;
  if (manifest.microvmId !== microvmId) throw belongsElsewhere(path, 'microVM');
  if (manifest.generation !== generation) throw belongsElsewhere(path, 'generation');
  return manifest;
}

/** The refusal of files that are whole and in the wrong place. */
export const belongsElsewhere = (manifestPath: string, of: 'image' | 'microVM' | 'generation') =>
  new LullError('internal', `${shortName(manifestPath)} belongs to another ${of}`);

/** The refusal of a file that is not what was written. */
export const damagedFile = (path: string, cause?: unknown) => new LullError('internal', `${shortName(path)} is missing or damaged`, { cause });

async function readManifest<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  try {
    const { checksum, ...body } = z.looseObject({ version: z.number(), checksum: z.string().optional() }).parse(JSON.parse(await readFile(path, 'utf8')));
    const isIntact = checksum === undefined ? body.version === 1 : checksum === checksumOf(body);
    if (!isIntact) throw new Error('its checksum is another');
    return schema.parse(body);
  } catch (error) {
    throw damagedFile(path, error);
  }
}

/** Members keep their order from the writer to the reader. */
const checksumOf = (body: object) => createHash('sha256').update(JSON.stringify(body)).digest('hex');

/**
 * Refuses a snapshot that was made for another kind of machine.
 * @throws LullError internal that names what differs
 */
export function checkPlacement(made: PlacementKey, here: PlacementKey): void {
  const { tscKhz, ...exact } = here;
  const differing = (Object.keys(exact) as (keyof PlacementKey)[]).filter((key) => made[key] !== here[key]);
  if (Math.abs(made.tscKhz - tscKhz) > tscKhz * TSC_TOLERANCE) differing.push('tscKhz');
  if (differing.length === 0) return;
  const list = differing.map((key) => `${key} ${made[key]}, here ${here[key]}`).join('; ');
  throw new LullError('internal', `The snapshot was made for another machine (${list}); rebuild the image here.`);
}

/** Size and modification time of the scratch disk: equal exactly where nothing has written to it. */
export async function scratchFingerprint(path: string): Promise<GenerationManifest['scratch']> {
  const { size, mtimeNs } = await stat(path, { bigint: true });
  return { sizeBytes: Number(size), modifiedNs: `${mtimeNs}` };
}

/** True where the scratch disk is there and as its fingerprint says. */
export async function isUnchanged(path: string, { sizeBytes, modifiedNs }: GenerationManifest['scratch']): Promise<boolean> {
  const now = await scratchFingerprint(path).catch(() => undefined);
  return now?.sizeBytes === sizeBytes && now.modifiedNs === modifiedNs;
}
