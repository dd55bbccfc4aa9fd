/** The finished snapshots of images, as launches need them. */
import { stat } from 'node:fs/promises';
import type { PlacementKey } from '../vmm/driver.ts';
import type { DataLayout } from './data-layout.ts';
import { requireIntact, requireSize } from './kept-files.ts';
import { checkPlacement, readSnapshotManifest, type SnapshotManifest } from './manifests.ts';

/** Reads each manifest once, as long as nobody touches it: a finished snapshot never changes. */
export class Snapshots {
  readonly #layout: DataLayout;
  readonly #placement: PlacementKey;
  readonly #loaded = new Map<string, { readonly stamp: string; readonly manifest: SnapshotManifest }>();

  constructor(layout: DataLayout, placement: PlacementKey) {
    this.#layout = layout;
    this.#placement = placement;
  }

  /**
   * One that is to be restored. Its device state is read whole, of the large files the length is asked (`lull verify` reads them).
   * @throws LullError internal that names what is missing, damaged, of another image, or of another kind of machine
   */
  async restorable(snapshotId: string): Promise<SnapshotManifest> {
    const manifest = await this.load(snapshotId);
    checkPlacement(manifest.placement, this.#placement);
    const { deviceState, memory, rootDisk, scratch } = this.#layout.snapshot(snapshotId);
    await requireIntact(deviceState, manifest.files.deviceState);
    await requireSize(memory, manifest.files.memory);
    await requireSize(rootDisk, manifest.files.rootDisk);
    await requireSize(scratch, manifest.files.scratch);
    return manifest;
  }

  /** One whose microVMs may be running already, whatever this machine has become. @throws LullError internal where it is missing or damaged */
  async load(snapshotId: string): Promise<SnapshotManifest> {
    const { manifest: path } = this.#layout.snapshot(snapshotId);
    const stamp = await stampOf(path);
    const known = this.#loaded.get(snapshotId);
    if (known !== undefined && known.stamp === stamp) return known.manifest;
    const manifest = await readSnapshotManifest(path, snapshotId);
    if (stamp !== undefined) this.#loaded.set(snapshotId, { stamp, manifest });
    return manifest;
  }

  /** Called when its files are removed. */
  forget(snapshotId: string): void {
    this.#loaded.delete(snapshotId);
  }
}

/** Changes with every write to a file, and with its replacement; undefined where there is none. */
async function stampOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found && `${found.ino} ${found.size} ${found.mtimeNs}`;
}
