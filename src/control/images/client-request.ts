/** Client tokens: a repeated call gets the answer of the first one, another call with its token is refused (section 1.8). */
import { createHash } from 'node:crypto';
import type { ClientRequest } from '../../domain/image.ts';
import { clientTokenReused } from '../../domain/refusals.ts';
import type { ImageWithVersion } from '../control-plane.ts';
import type { ImageContext } from './context.ts';

/** The mark of a call; undefined where it has no client token. */
export function clientRequest(operation: 'create' | 'update', call: { clientToken: string | null }): ClientRequest | undefined {
  const { clientToken } = call;
  return clientToken === null ? undefined : markOf(operation, { ...call, clientToken });
}

/** The mark of a call that must have a client token. */
export function markOf(operation: 'create' | 'update', { clientToken, ...parameters }: { clientToken: string }): ClientRequest {
  const fingerprint = createHash('sha256').update(canonicalJson({ operation, parameters })).digest('hex');
  return { clientToken, fingerprint };
}

/**
 * What an earlier call with the same token and parameters made, as it is now.
 * @throws LullError conflict where the token belongs to another call
 */
export async function repeatedRequest({ store }: ImageContext, request: ClientRequest | undefined): Promise<ImageWithVersion | undefined> {
  if (request === undefined) return undefined;
  const version = await store.images.versionByClientToken(request.clientToken);
  if (version === undefined) return undefined;
  if (version.request?.fingerprint !== request.fingerprint) throw clientTokenReused(request.clientToken);
  const image = await store.images.get(version.imageName);
  return image === undefined ? undefined : { image, version };
}

/** JSON with sorted names, so that the order in which a client writes them does not matter. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
