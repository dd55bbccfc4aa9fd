/** What every use-case of images works with. */
import { imageArn, imageNameOf, parseImageArn, type Realm } from '../../domain/ids.ts';
import type { Image } from '../../domain/image.ts';
import type { ArchitecturePolicy } from '../../domain/platform.ts';
import type { BlobStore } from '../../domain/object-store.ts';
import type { Clock, ImageBuilder, Random, Store } from '../../domain/ports.ts';
import { imageNotFound, imageVersionNotFound } from '../../domain/refusals.ts';
import type { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { Log } from '../../lib/log.ts';
import type { ImageWithVersion, ManagedImage } from '../control-plane.ts';
import type { PassRole } from '../roles/pass-role.ts';

/** How much there may be: quotas (section 7.2), and how many builds the host runs at a time. */
export interface ImageLimits {
  /** Builds that run at the same time: each is a `buildah` and a virtual machine. */
  readonly buildsAtOnce: number;
  /** Builds that wait behind them before new ones are refused. */
  readonly buildsWaiting: number;
  /** Images of the account, whatever their state. */
  readonly images: number;
  readonly versionsPerImage: number;
}

/** The ports and settings of the image use-cases. */
export interface ImagePorts {
  readonly store: Pick<Store, 'images' | 'objects'>;
  readonly builder: ImageBuilder;
  readonly blobs: Pick<BlobStore, 'join' | 'remove' | 'path'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly realm: Realm;
  readonly passRole: PassRole;
  readonly architecture: ArchitecturePolicy;
  readonly limits: ImageLimits;
  /** The base images on offer, see {@link managedImages}. */
  readonly managed: readonly ManagedImage[];
  readonly log: Log;
}

/** The ports, and the queue in which changes of one image follow each other. */
export interface ImageContext extends ImagePorts {
  readonly changes: KeyedQueue;
}

/** What looking an image up takes. */
export interface ImageRows {
  readonly store: Pick<Store, 'images'>;
}

/** The image that an identifier names, with the ARN that refusals show. */
export interface NamedImage {
  readonly name: string;
  readonly arn: string;
}

/**
 * Takes an ARN of this installation, or a bare name.
 * @throws LullError validation `Invalid ARN format: …`; not-found for an ARN of another account or region
 */
export function nameImage({ realm }: Pick<ImagePorts, 'realm'>, imageIdentifier: string): NamedImage {
  const name = imageNameOf(imageIdentifier);
  const parts = parseImageArn(imageIdentifier);
  if (parts === undefined) return { name, arn: imageArn(realm, name) };
  if (parts.account !== realm.account || parts.region !== realm.region) throw imageNotFound(imageIdentifier);
  return { name, arn: imageIdentifier };
}

/** @throws LullError not-found in AWS's words */
export async function requireImage({ store }: ImageRows, { name, arn }: NamedImage): Promise<Image> {
  const image = await store.images.get(name);
  if (image === undefined) throw imageNotFound(arn);
  return image;
}

/** @throws LullError not-found in AWS's words */
export async function findVersion(context: ImageRows & Pick<ImagePorts, 'realm'>, imageIdentifier: string, number: string): Promise<ImageWithVersion> {
  const named = nameImage(context, imageIdentifier);
  const image = await context.store.images.get(named.name);
  const version = image && (await context.store.images.version(named.name, number));
  if (image === undefined || version === undefined) throw imageVersionNotFound(named.arn, number);
  return { image, version };
}
