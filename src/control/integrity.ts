/** `lull verify`: what is kept against what was written, for images and for microVMs that sleep. */
import { LullError } from '../domain/errors.ts';
import type { Realm } from '../domain/ids.ts';
import type { ImageVersion } from '../domain/image.ts';
import type { FileFinding, Inspection, VerifiedFile, VerifyRequest } from '../domain/integrity.ts';
import type { Microvm } from '../domain/microvm.ts';
import type { Store } from '../domain/ports.ts';
import { microvmNotFound } from '../domain/refusals.ts';
import type { IntegrityUseCases } from './control-plane.ts';
import { findVersion, nameImage, requireImage } from './images/context.ts';

export interface IntegrityParts {
  readonly store: Pick<Store, 'images' | 'microvms'>;
  readonly realm: Realm;
  /** Begins one; it is disposed of at its end. */
  readonly inspect: () => Inspection;
}

/** Something to be read, and whether a fault in it still counts: it may have gone, or have been woken, meanwhile. */
interface Target {
  readonly subject: string;
  readonly read: (inspection: Inspection) => AsyncIterable<FileFinding>;
  readonly isAsItWas: () => Promise<boolean>;
}

export function createIntegrityUseCases(parts: IntegrityParts): IntegrityUseCases {
  // Each is a thread that reads as fast as the disk gives.
  let underWay: AbortSignal | undefined;
  return {
    async verify(request, signal) {
      const targets = await targetsOf(parts, request);
      if (underWay?.aborted === false) throw new LullError('conflict', 'Another verification is under way: wait for its end.');
      underWay = signal;
      return (async function* () {
        try {
          yield* read(parts.inspect(), targets, signal);
        } finally {
          if (underWay === signal) underWay = undefined;
        }
      })();
    },
  };
}

async function* read(begun: Inspection, targets: readonly Target[], signal: AbortSignal): AsyncIterable<VerifiedFile> {
  await using inspection = begun;
  const give = () => void inspection[Symbol.asyncDispose]();
  signal.addEventListener('abort', give);
  try {
    for (const { subject, read: findings, isAsItWas } of targets) {
      for await (const found of findings(inspection)) {
        signal.throwIfAborted();
        if (found.fault !== null && !(await isAsItWas())) break;
        yield { subject, ...found };
      }
    }
  } finally {
    signal.removeEventListener('abort', give);
  }
}

async function targetsOf(parts: IntegrityParts, { images, microvms }: VerifyRequest): Promise<readonly Target[]> {
  const { store } = parts;
  const isEverything = images.length === 0 && microvms.length === 0;
  const versions = isEverything ? await store.images.versionsInStates(['SUCCESSFUL']) : (await Promise.all(images.map((image) => versionsOf(parts, image)))).flat();
  const asked = isEverything ? await store.microvms.inStates(['SUSPENDED']) : await Promise.all(microvms.map((id) => requireMicrovm(parts, id)));
  const snapshots = new Map(versions.map((version) => [version.snapshotId, version]));
  for (const { snapshotId } of asked) {
    const version = await store.images.versionOfSnapshot(snapshotId);
    if (version !== undefined) snapshots.set(snapshotId, version);
  }
  const sleepers = asked.filter(({ state }) => state === 'SUSPENDED');
  return [...[...snapshots.values()].map((version) => snapshotTarget(parts, version)), ...sleepers.map((microvm) => sleeperTarget(parts, microvm))];
}

async function versionsOf(parts: IntegrityParts, { imageIdentifier, imageVersion }: VerifyRequest['images'][number]): Promise<readonly ImageVersion[]> {
  if (imageVersion !== null) return [requireSnapshot((await findVersion(parts, imageIdentifier, imageVersion)).version)];
  const { name } = await requireImage(parts, nameImage(parts, imageIdentifier));
  return (await parts.store.images.versionsInStates(['SUCCESSFUL'])).filter(({ imageName }) => imageName === name);
}

function requireSnapshot(version: ImageVersion): ImageVersion {
  if (version.state === 'SUCCESSFUL') return version;
  throw new LullError('validation', `Version ${version.version} of the image ${version.imageName} is ${version.state}: it has no snapshot to verify.`);
}

async function requireMicrovm({ store }: IntegrityParts, microvmId: string): Promise<Microvm> {
  const microvm = await store.microvms.get(microvmId);
  if (microvm === undefined) throw microvmNotFound(microvmId);
  return microvm;
}

function snapshotTarget({ store }: IntegrityParts, { imageName, version, snapshotId }: ImageVersion): Target {
  return {
    subject: `${imageName}:${version}`,
    read: (inspection) => inspection.snapshot(snapshotId),
    isAsItWas: async () => {
      const now = await store.images.versionOfSnapshot(snapshotId);
      return now !== undefined && now.state !== 'DELETING' && !(await store.images.isUnused(snapshotId));
    },
  };
}

function sleeperTarget({ store }: IntegrityParts, { microvmId, snapshotId, generation }: Microvm): Target {
  return {
    subject: microvmId,
    read: (inspection) => inspection.generation({ microvmId, snapshotId, generation }),
    isAsItWas: async () => {
      const now = await store.microvms.get(microvmId);
      return now?.state === 'SUSPENDED' && now.generation === generation;
    },
  };
}
