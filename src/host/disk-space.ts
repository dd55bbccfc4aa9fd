/**
 * What disks have left, and how much of it has been promised. A promise is counted until it is given back, also while it is written
 * to: what goes on at the same time is rather refused too early than broken off half-way.
 */
import { stat, statfs } from 'node:fs/promises';
import type { DiskFigures } from '../domain/disk.ts';
import { hostFull } from '../domain/refusals.ts';

const MIB = 1024 ** 2;
/** Promised to nobody: the store, secrets and logs are written when nothing else can be. */
const KEPT_BYTES = 32 * MIB;

/** The promises of this process, by disk: folders of one file system share what it has. */
export class DiskSpace {
  readonly #reserved = new Map<number, number>();

  async figures(folder: string): Promise<DiskFigures> {
    return (await this.#look(folder)).figures;
  }

  /** Promises `bytes` of the disk of a folder until the answer is disposed of; undefined where they are not there. */
  async take(folder: string, bytes: number): Promise<Disposable | undefined> {
    const { dev, figures } = await this.#look(folder);
    // Asked anew, and without a pause from here on, so that two at once are not promised the same.
    const reserved = this.#reserved.get(dev) ?? 0;
    if (figures.availableBytes - KEPT_BYTES - reserved < bytes) return undefined;
    this.#reserved.set(dev, reserved + bytes);
    return { [Symbol.dispose]: () => this.#reserved.set(dev, this.#reserved.get(dev)! - bytes) };
  }

  /**
   * {@link take}, or the refusal.
   * @param purpose completes "… MiB are needed to"
   * @throws LullError insufficient-capacity
   */
  async reserve(folder: string, bytes: number, purpose: string): Promise<Disposable> {
    const taken = await this.take(folder, bytes);
    if (taken !== undefined) return taken;
    const { availableBytes, reservedBytes } = await this.figures(folder);
    const left = Math.max(0, Math.floor((availableBytes - KEPT_BYTES - reservedBytes) / MIB));
    throw hostFull(`The host's disk has ${left} MiB left to give and ${Math.ceil(bytes / MIB)} MiB are needed to ${purpose}; make room on it (\`lull gc\`), or terminate others.`);
  }
  async #look(folder: string): Promise<{ readonly dev: number; readonly figures: DiskFigures }> {
    const [{ dev }, { bsize, bavail, blocks }] = await Promise.all([stat(folder), statfs(folder)]);
    return { dev, figures: { sizeBytes: bsize * blocks, availableBytes: bsize * bavail, reservedBytes: this.#reserved.get(dev) ?? 0 } };
  }
}
