/** The finished snapshots of images, as launches need them. */
import type { PlacementKey } from '../vmm/driver.ts';
import type { DataLayout } from './data-layout.ts';
import { checkPlacement, readSnapshotManifest, type SnapshotManifest } from './manifests.ts';

/** Reads each manifest once: a finished snapshot never changes. */
export class Snapshots {
  readonly #layout: DataLayout;
  readonly #placement: PlacementKey;
  readonly #loaded = new Map<string, Promise<SnapshotManifest>>();

  constructor(layout: DataLayout, placement: PlacementKey) {
    this.#layout = layout;
    this.#placement = placement;
  }

  /** One that is to be restored. @throws LullError internal where it is missing, damaged, or of another kind of machine */
  async restorable(snapshotId: string): Promise<SnapshotManifest> {
    const manifest = await this.load(snapshotId);
    checkPlacement(manifest.placement, this.#placement);
    return manifest;
  }

  /** One whose microVMs may be running already, whatever this machine has become. @throws LullError internal where it is missing or damaged */
  load(snapshotId: string): Promise<SnapshotManifest> {
    const known = this.#loaded.get(snapshotId) ?? readSnapshotManifest(this.#layout.snapshot(snapshotId).manifest);
    this.#loaded.set(snapshotId, known);
    known.catch(() => this.#loaded.delete(snapshotId));
    return known;
  }

  /** Called when its files are removed. */
  forget(snapshotId: string): void {
    this.#loaded.delete(snapshotId);
  }
}
