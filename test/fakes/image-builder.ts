/** An {@link ImageBuilder} without machines: builds end when the test says so, and as it says. */
import { readFileSync } from 'node:fs';
import type { SnapshotSizes } from '../../src/domain/image.ts';
import type { BuildEvent, BuildRequest, ImageBuilder } from '../../src/domain/ports.ts';

/** One call of `build`, open until the test settles it. */
export interface OpenBuild {
  readonly request: BuildRequest;
  /** The artifact's bytes when the build began. */
  readonly artifact: string;
  readonly signal: AbortSignal;
  /** Goes on to whatever end the test gives it, as one that is nearly done when it is aborted. */
  ignoresAbort: boolean;
  succeed(sizes?: SnapshotSizes): void;
  fail(error: unknown): void;
}

const SIZES: SnapshotSizes = { memoryBytes: 1000, codeBytes: 200, diskBytes: 30 };

/** Fails on command; {@link next} waits for the next build to begin. */
export class FakeImageBuilder implements ImageBuilder {
  /** Snapshots of which files exist. */
  readonly files = new Set<string>();
  readonly removed: string[] = [];
  /** Where set, `remove` rejects with it. */
  removeError: Error | undefined;
  readonly #open: OpenBuild[] = [];
  readonly #wanted: ((build: OpenBuild) => void)[] = [];

  /** The oldest build that no earlier call was given. */
  next(): Promise<OpenBuild> {
    const build = this.#open.shift();
    return build === undefined ? new Promise((resolve) => this.#wanted.push(resolve)) : Promise.resolve(build);
  }

  /** How many builds have begun that {@link next} has not given out. */
  get begun(): number {
    return this.#open.length;
  }

  build(request: BuildRequest, signal: AbortSignal): Promise<SnapshotSizes> {
    const { promise, resolve, reject } = Promise.withResolvers<SnapshotSizes>();
    this.files.add(request.snapshotId);
    let hasSucceeded = false;
    const fail = (error: unknown) => {
      if (hasSucceeded) return;
      this.files.delete(request.snapshotId);
      reject(error);
    };
    signal.addEventListener('abort', () => {
      if (!build.ignoresAbort) fail(signal.reason);
    });
    const build: OpenBuild = {
      ignoresAbort: false,
      request,
      artifact: readFileSync(request.artifactPath, 'utf8'),
      signal,
      succeed: (sizes = SIZES) => {
        hasSucceeded = true;
        resolve(sizes);
      },
      fail,
    };
    const wanted = this.#wanted.shift();
    if (wanted === undefined) this.#open.push(build);
    else wanted(build);
    return promise;
  }

  async *events(snapshotId: string, { signal }: { follow: boolean; signal: AbortSignal }): AsyncIterable<BuildEvent> {
    signal.throwIfAborted();
    if (this.files.has(snapshotId)) yield { atMs: 1, type: 'line', step: 'build', text: `hello from ${snapshotId}` };
  }

  async present(): Promise<readonly string[]> {
    return [...this.files];
  }

  async tidy(): Promise<readonly string[]> {
    return [];
  }

  async remove(snapshotId: string): Promise<void> {
    if (this.removeError !== undefined) throw this.removeError;
    this.files.delete(snapshotId);
    this.removed.push(snapshotId);
  }
}
