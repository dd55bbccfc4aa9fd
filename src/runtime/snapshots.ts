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

  /** @throws LullError internal where it is missing, damaged, or of another kind of machine */
  load(snapshotId: string): Promise<SnapshotManifest> {
    const known = this.#loaded.get(snapshotId) ?? this.#read(snapshotId);
    this.#loaded.set(snapshotId, known);
    known.catch(() => this.#loaded.delete(snapshotId));
    return known;
  }

  /** Called when its files are removed. */
  forget(snapshotId: string): void {
    this.#loaded.delete(snapshotId);
  }

  async #read(snapshotId: string): Promise<SnapshotManifest> {
    const manifest = await readSnapshotManifest(this.#layout.snapshot(snapshotId).manifest);
    checkPlacement(manifest.placement, this.#placement);
    return manifest;
  }
}
