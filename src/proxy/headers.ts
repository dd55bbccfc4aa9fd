/** Which header fields pass through: RFC 9110 section 7.6.1, RFC 9112 section 6, contract reference section 5.2. */

/** Fields as they stood on the wire: name, value, name, value, … */
export type Fields = readonly string[];

/** Meant for the next hop only. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade', 'http2-settings']);
/** A client may not have this removed by naming it in Connection: the application would see another request. */
const NEVER_DROPPED = 'content-length';
/** Not valid in a trailer (RFC 9110, 6.5.1): framing, routing, authentication. */
const NOT_IN_TRAILERS = new Set([
  ...HOP_BY_HOP,
  ...['content-length', 'content-encoding', 'content-type', 'content-range', 'trailer', 'host', 'expect', 'max-forwards', 'cache-control'],
  ...['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'range', 'x-amzn-requestid'],
]);
/** Ours alone: the application never sees it, above all not the token. */
const RESERVED_PREFIX = 'x-aws-proxy-';
const REQUEST_ID = 'x-amzn-requestid';

/** How the body of a request is delimited: in HTTP/2 `chunked` is one of a length that nobody stated. */
export type Framing = 'none' | 'length' | 'chunked';

/** Every value of a field, in order. */
export function valuesOf(fields: Fields, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) if (fields[at]!.toLowerCase() === name) values.push(fields[at + 1]!);
  return values;
}

/** The one value of a field. Two of a kind contradict each other: joined, they are neither a token nor a port. */
export function valueOf(fields: Fields, name: string): string | undefined {
  const values = valuesOf(fields, name);
  return values.length === 0 ? undefined : values.join(', ');
}

/** The fields whose name, in lower case, is none of those that `isDropped` names. */
function filtered(fields: Fields, isDropped: (name: string) => boolean): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    if (!isDropped(fields[at]!.toLowerCase())) kept.push(fields[at]!, fields[at + 1]!);
  }
  return kept;
}

/** The fields without those of one name. */
export const without = (fields: Fields, dropped: string): string[] => filtered(fields, (name) => name === dropped);

/** The members of a comma-separated list, in lower case. */
const members = (values: readonly string[]) =>
  values.flatMap((value) => value.split(',')).map((member) => member.trim().toLowerCase());

/** The members of a field that is a list (RFC 9110, 5.6.1), in lower case. */
export const membersOf = (fields: Fields, name: string): string[] => members(valuesOf(fields, name)).filter((member) => member !== '');

/** How the body of an HTTP/1.1 request is delimited; undefined where it is in a transfer coding that we do not know. */
export function framingOf(fields: Fields): Framing | undefined {
  const codings = members(valuesOf(fields, 'transfer-encoding'));
  if (codings.length > 0) return codings.length === 1 && codings[0] === 'chunked' ? 'chunked' : undefined;
  return valuesOf(fields, 'content-length').length > 0 ? 'length' : 'none';
}

/** A target that goes to the application as it is: origin form, or the asterisk of OPTIONS (RFC 9112, 3.2.1 and 3.2.4). */
export const isPlainTarget = (method: string, path: string): boolean => path.startsWith('/') || (path === '*' && method === 'OPTIONS');

/** The fields that are for the other end, and not for this hop. */
function endToEnd(fields: Fields, isDropped: (name: string) => boolean = () => false): string[] {
  const named = new Set(members(valuesOf(fields, 'connection')));
  return filtered(fields, (name) => HOP_BY_HOP.has(name) || (named.has(name) && name !== NEVER_DROPPED) || isDropped(name));
}

/** The fields that the application gets: the client's, without those of this hop and the reserved ones, and with our request id. */
export function requestFields(fields: Fields, requestId: string): string[] {
  const kept = endToEnd(fields, (name) => name.startsWith(RESERVED_PREFIX) || name === REQUEST_ID);
  return [...kept, REQUEST_ID, requestId];
}

/** Trailers are passed on, so the wish for them is too (RFC 9110, 10.1.4). */
export const wantsTrailers = (fields: Fields): boolean => members(valuesOf(fields, 'te')).includes('trailers');

/** The fields that the client gets of an application's answer. */
export const responseFields = (fields: Fields): string[] => endToEnd(fields);

/** What `Upgrade` says in an answer whose status is about it. */
export function upgradeOf(fields: Fields, status: number): string | undefined {
  return status === 101 || status === 426 ? valueOf(fields, 'upgrade') : undefined;
}

/** The trailer fields that may pass. */
export const trailersOf = (fields: Fields): string[] =>
  filtered(fields, (name) => NOT_IN_TRAILERS.has(name) || name.startsWith(RESERVED_PREFIX));

/** As Node's HTTP/1.1 takes trailers. */
export const trailerPairs = (fields: Fields): [string, string][] =>
  Array.from({ length: fields.length / 2 }, (_, at) => [fields[2 * at]!, fields[2 * at + 1]!]);
