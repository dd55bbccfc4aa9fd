/** Client tokens: a repeated call gets the answer of the first one, another call with its token is refused (section 1.8). */
import { createHash } from 'node:crypto';
import type { ClientRequest } from '../domain/image.ts';
import { clientTokenReused } from '../domain/refusals.ts';

/** The operations that take a client token. */
type TokenOperation = 'CreateMicrovmImage' | 'UpdateMicrovmImage' | 'RunMicrovm' | 'CreateNetworkConnector' | 'UpdateNetworkConnector';

/** The mark of a call; undefined where it has no client token. */
export function clientRequest(operation: TokenOperation, call: { clientToken: string | null }): ClientRequest | undefined {
  const { clientToken } = call;
  return clientToken === null ? undefined : markOf(operation, { ...call, clientToken });
}

/** The mark of a call that must have a client token. */
export function markOf(operation: TokenOperation, { clientToken, ...parameters }: { clientToken: string }): ClientRequest {
  const fingerprint = createHash('sha256').update(canonicalJson({ operation, parameters })).digest('hex');
  return { clientToken, fingerprint };
}

/**
 * Checks that a call repeats the one that its token belongs to.
 * @param earlier digest of that call; none in rows of earlier versions of Lull
 * @throws LullError conflict where it asks for something else
 */
export function requireSameRequest(request: ClientRequest, earlier: string | null | undefined): void {
  if (earlier !== request.fingerprint) throw clientTokenReused(request.clientToken);
}

/** JSON with sorted names, so that the order in which a client writes them does not matter. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
