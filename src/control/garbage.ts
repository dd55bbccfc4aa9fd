/** What nobody owns or uses any more, and its end (`lull gc`). The reconciler removes most of it by itself; this shows it, and takes the rest. */
import type { Log } from '../lib/log.ts';

/** Bytes of objects; disks of images; logs beyond what is kept; copies of kernel, agent and hypervisor; layers of builds. */
export const GARBAGE_KINDS = ['object', 'root disk', 'log', 'platform copy', 'layers'] as const;
export type GarbageKind = (typeof GARBAGE_KINDS)[number];

export interface Garbage {
  readonly kind: GarbageKind;
  readonly name: string;
  readonly sizeBytes: number;
}

/** Where garbage of one kind is, inside Lull's own folders. */
export interface GarbageSource {
  readonly kind: GarbageKind;
  /** Safe to remove whatever is done meanwhile. */
  find(): Promise<readonly FoundGarbage[]>;
}

/** A piece of it, and how it is removed. */
export interface FoundGarbage extends Omit<Garbage, 'kind'> {
  remove(): Promise<void>;
}

export interface GarbageUseCases {
  /** @param options.dryRun removes nothing @returns what was removed, or would be */
  collect(options: { readonly dryRun: boolean }): Promise<readonly Garbage[]>;
}

export function createGarbageUseCases({ sources, log }: { readonly sources: readonly GarbageSource[]; readonly log: Log }): GarbageUseCases {
  return {
    collect: async ({ dryRun }) => {
      const collected: Garbage[] = [];
      for (const source of sources) {
        for (const found of await source.find()) {
          if (!dryRun) await found.remove();
          collected.push({ kind: source.kind, name: found.name, sizeBytes: found.sizeBytes });
        }
      }
      if (!dryRun && collected.length > 0) log.info({ collected }, 'removed what nobody uses');
      return collected;
    },
  };
}
