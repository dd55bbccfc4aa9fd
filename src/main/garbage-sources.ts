/** Where a server looks for what nobody uses: only in Lull's own folders. */
import type { FoundGarbage, GarbageSource } from '../control/garbage.ts';
import type { LogCatalogue } from '../control/logs/log-catalogue.ts';
import type { LogRetention } from '../control/logs/log-retention.ts';
import type { BlobStore } from '../domain/object-store.ts';
import type { Store } from '../domain/ports.ts';
import type { RootDiskPool } from '../image/root-disk-pool.ts';
import type { Files } from '../lib/files.ts';
import { shortName } from '../runtime/data-layout.ts';
import { removeArtifact, unusedArtifacts } from '../setup/platform-users.ts';
import type { LazyContainerBuilder } from './container-builder.ts';
import type { EngineGround } from './engine.ts';

const DAY_MS = 86_400_000;

export interface GarbageParts {
  readonly store: Pick<Store, 'objects' | 'images'>;
  readonly containers: Pick<LazyContainerBuilder, 'cached' | 'forget'>;
  readonly blobs: Pick<BlobStore, 'orphans'>;
  readonly rootDisks: RootDiskPool;
  readonly logRetention: LogRetention;
  readonly catalogue: LogCatalogue;
}

export function garbageSources(ground: Pick<EngineGround, 'files' | 'clock' | 'options'>, parts: GarbageParts): readonly GarbageSource[] {
  const { files, clock, options } = ground;
  const { store, containers, blobs, rootDisks, logRetention, catalogue } = parts;
  return [
    {
      kind: 'object',
      // Longer than any upload goes without a byte, and any build holds its artifact.
      find: async () => asFiles(files, await blobs.orphans(new Set(await store.objects.blobIds()), clock.nowMs() - DAY_MS)),
    },
    { kind: 'root disk', find: async () => asFiles(files, await rootDisks.unused()) },
    {
      kind: 'log',
      find: async () =>
        (await logRetention.due()).map((stream) => ({
          name: `${stream.group} ${stream.name}`,
          sizeBytes: stream.storedBytes,
          remove: () => catalogue.remove(stream),
        })),
    },
    {
      kind: 'platform copy',
      find: async () =>
        (await unusedArtifacts(options.platformFolder, options.dataFolder, clock.nowMs())).map((artifact) => ({
          name: artifact.id,
          sizeBytes: artifact.sizeBytes,
          remove: () => removeArtifact(options.platformFolder, artifact),
        })),
    },
    {
      kind: 'layers',
      find: async () => {
        const found: FoundGarbage[] = [];
        for (const { tag, sizeBytes } of await containers.cached()) {
          // Those of another data folder's versions too: they only make its next build longer.
          const isUsed = (await store.images.versionOfSnapshot(tag)) !== undefined;
          if (!isUsed) found.push({ name: tag, sizeBytes, remove: () => containers.forget(tag) });
        }
        return found;
      },
    },
  ];
}

const asFiles = (files: Files, found: readonly { readonly path: string; readonly sizeBytes: number }[]) =>
  found.map(({ path, sizeBytes }) => ({ name: shortName(path), sizeBytes, remove: () => files.remove(path) }));
