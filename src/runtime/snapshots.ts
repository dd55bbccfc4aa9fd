/** The finished snapshots of images, as launches need them. */
import { stat } from 'node:fs/promises';
import type { Driver, Drivers } from '../vmm/driver.ts';
import type { DataLayout } from './data-layout.ts';
import { requireIntact, requireSize } from './kept-files.ts';
import { checkPlacement, readSnapshotManifest, type SnapshotManifest } from './manifests.ts';

/** A whole snapshot, and the driver that restores it. */
export interface RestorableSnapshot {
  readonly manifest: SnapshotManifest;
  readonly driver: Driver;
}

/** Reads each manifest once, as long as nobody touches it: a finished snapshot never changes. */
export class Snapshots {
  readonly #layout: DataLayout;
  readonly #drivers: Drivers;
  readonly #loaded = new Map<string, { readonly stamp: string; readonly manifest: SnapshotManifest }>();

  constructor(layout: DataLayout, drivers: Drivers) {
    this.#layout = layout;
    this.#drivers = drivers;
  }

  /**
   * One that is to be restored, by the VMM that made it. Its device state is read whole, of the large files the length is asked
   * (`lull verify` reads them).
   * @throws LullError internal that names what is missing, damaged, of another image, or of another kind of machine; not-found
   * where its VMM is gone
   */
  async restorable(snapshotId: string): Promise<RestorableSnapshot> {
    const manifest = await this.load(snapshotId);
    const driver = await this.#drivers.withVmm(manifest.placement.vmm);
    checkPlacement(manifest.placement, driver.placement);
    const { deviceState, memory, rootDisk, scratch } = this.#layout.snapshot(snapshotId);
    await requireIntact(deviceState, manifest.files.deviceState);
    await requireSize(memory, manifest.files.memory);
    await requireSize(rootDisk, manifest.files.rootDisk);
    await requireSize(scratch, manifest.files.scratch);
    return { manifest, driver };
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
