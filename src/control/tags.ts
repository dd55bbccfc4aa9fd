/** Tags of images and of network connectors: contract reference, section 1.3, "Tags". */
import type { LullError } from '../domain/errors.ts';
import type { Realm } from '../domain/ids.ts';
import { imageArn, parseImageArn } from '../domain/ids.ts';
import { customerConnectorOf } from '../domain/network-connector.ts';
import type { Store, Tags } from '../domain/ports.ts';
import { connectorNotFound, imageNotFound, tagKeyReserved, taggedResourceNotFound, tooManyTags } from '../domain/refusals.ts';
import { requireConnector } from './connectors/connector-lookup.ts';
import type { TagChange, TagUseCases } from './control-plane.ts';

/** AWS's limit on the tags of a resource ("Tagging your AWS resources"). */
const MAX_TAGS = 50;
const RESERVED_PREFIX = 'aws:';

/**
 * The tags after a change.
 * @throws LullError validation where there would be too many, or a key is AWS's own
 */
export function changedTags(tags: Tags, { add = {}, remove = [] }: TagChange): Tags {
  const reserved = [...Object.keys(add), ...remove].find((key) => key.toLowerCase().startsWith(RESERVED_PREFIX));
  if (reserved !== undefined) throw tagKeyReserved(reserved);
  const merged = Object.entries({ ...tags, ...add }).filter(([key]) => !remove.includes(key));
  if (merged.length > MAX_TAGS) throw tooManyTags(MAX_TAGS);
  return Object.fromEntries(merged);
}

type TagPorts = { readonly store: Pick<Store, 'images' | 'connectors'>; readonly realm: Realm };

/** Puts the use-cases together. */
export function createTagUseCases(ports: TagPorts): TagUseCases {
  return {
    list: async (resource) => {
      const { read, missing } = tagged(ports, resource);
      const tags = await read();
      if (tags === undefined) throw missing;
      return tags;
    },
    change: async (resource, change) => {
      const { write, missing } = tagged(ports, resource);
      const tags = await write((before) => changedTags(before, change));
      if (tags === undefined) throw missing;
    },
  };
}

/** How the tags of one resource are reached, and what is said where it is not there. */
interface Tagged {
  readonly read: () => Promise<Tags | undefined>;
  readonly write: (change: (tags: Tags) => Tags) => Promise<Tags | undefined>;
  readonly missing: LullError;
}

/** @throws LullError not-found for whatever is no image and no connector of this installation */
function tagged(ports: TagPorts, arn: string): Tagged {
  const { images, connectors } = ports.store;
  const name = parseImageArn(arn)?.name;
  if (name !== undefined) {
    const missing = imageNotFound(arn);
    if (arn !== imageArn(ports.realm, name)) throw missing;
    return { read: async () => (await images.get(name))?.tags, write: (change) => images.changeTags(name, change), missing };
  }
  if (customerConnectorOf(arn) === undefined) throw taggedResourceNotFound(arn);
  return {
    read: async () => (await requireConnector(ports, arn)).tags,
    write: async (change) => connectors.changeTags((await requireConnector(ports, arn)).connectorId, change),
    missing: connectorNotFound(arn),
  };
}
