/** The manifests of snapshots and generations: written last, so where one is there everything it names is on the disk. */
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import type { Files } from '../lib/files.ts';
import { shortName } from './data-layout.ts';
import { pageStructsSchema } from './page-structs.ts';
import type { PlacementKey } from '../vmm/driver.ts';

const MANIFEST_VERSION = 1;

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

const snapshotManifest = z.object({
  version: z.literal(MANIFEST_VERSION),
  placement: placementKey,
  guestMemoryMib: z.number(),
  vcpus: z.number(),
  /** What the frozen agent in the snapshot knows. */
  agentSecret: z.string(),
  /** How to tell which pages of a paused guest are free; absent where its kernel does not let us. */
  pageStructs: pageStructsSchema.optional(),
  /** What of `memory` is not a hole. */
  memoryExtents: z.array(z.tuple([z.number(), z.number()])),
  files: z.object({ memory: fileEntry, deviceState: fileEntry, rootDisk: fileEntry, scratch: fileEntry }),
  createdAtMs: z.number(),
});
export type SnapshotManifest = z.infer<typeof snapshotManifest>;

const generationManifest = z.object({
  version: z.literal(MANIFEST_VERSION),
  snapshotId: z.string(),
  placement: placementKey,
  agentSecret: z.string(),
  files: z.object({ deviceState: fileEntry, memoryDiff: fileEntry }),
  /** The state of the scratch disk that this memory belongs to. */
  scratch: z.object({ sizeBytes: z.number(), modifiedNs: z.string() }),
  hostBootId: z.string(),
});
export type GenerationManifest = z.infer<typeof generationManifest>;

type Unversioned = Omit<SnapshotManifest, 'version'> | Omit<GenerationManifest, 'version'>;

/** Writes a manifest, durably: the last step of a snapshot or a generation. */
export async function writeManifest(files: Files, path: string, manifest: Unversioned): Promise<void> {
  await files.writeAtomic(path, `${JSON.stringify({ version: MANIFEST_VERSION, ...manifest }, null, 2)}\n`);
}

/** @throws LullError internal where it is missing or not what Lull wrote */
export const readSnapshotManifest = (path: string) => readManifest(path, snapshotManifest);

/** @throws LullError internal where it is missing or not what Lull wrote */
export const readGenerationManifest = (path: string) => readManifest(path, generationManifest);

async function readManifest<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    throw new LullError('internal', `${shortName(path)} is missing or damaged`, { cause: error });
  }
}

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
