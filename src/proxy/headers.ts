/** Which header fields pass through: RFC 9110 section 7.6.1, RFC 9112 section 6, contract reference section 5.2. */

/** Fields as they stood on the wire: name, value, name, value, … */
export type RawHeaders = readonly string[];

/** Meant for the next hop only. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade', 'http2-settings']);
/** A client may not have these removed by naming them in Connection: the application would see another request. */
const NEVER_DROPPED = new Set(['host', 'content-length']);
/** Not valid in a trailer (RFC 9110, 6.5.1): framing, routing, authentication. */
const NOT_IN_TRAILERS = new Set([
  ...HOP_BY_HOP,
  ...['content-length', 'content-encoding', 'content-type', 'content-range', 'trailer', 'host', 'expect', 'max-forwards', 'cache-control'],
  ...['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'range', 'x-amzn-requestid'],
]);
/** Ours alone: the application never sees it, above all not the token. */
const RESERVED_PREFIX = 'x-aws-proxy-';
const REQUEST_ID = 'x-amzn-requestid';

/** How the body of a request is delimited. */
export type Framing = 'none' | 'length' | 'chunked';

/** Every value of a field, in order. */
export function valuesOf(raw: RawHeaders, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) if (raw[at]!.toLowerCase() === name) values.push(raw[at + 1]!);
  return values;
}

/** The members of a comma-separated list, in lower case. */
const members = (values: readonly string[]) =>
  values.flatMap((value) => value.split(',')).map((member) => member.trim().toLowerCase());

/** How a request's body is delimited; undefined where it is in a transfer coding that we do not know. */
export function framingOf(raw: RawHeaders): Framing | undefined {
  const codings = members(valuesOf(raw, 'transfer-encoding'));
  if (codings.length > 0) return codings.length === 1 && codings[0] === 'chunked' ? 'chunked' : undefined;
  return valuesOf(raw, 'content-length').length > 0 ? 'length' : 'none';
}

/**
 * The fields that the application gets: the client's, in order, without those of this hop and the reserved ones, and
 * with our request id. The body's framing is stated anew.
 * @param options.upgrade the protocols of an Upgrade that is passed on
 */
export function requestHeaders(
  raw: RawHeaders,
  options: { requestId: string; framing: Framing; needsLength: boolean; upgrade?: string | undefined },
): string[] {
  const { requestId, framing, needsLength, upgrade } = options;
  const dropped = new Set(members(valuesOf(raw, 'connection')));
  const headers: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    if (name.startsWith(RESERVED_PREFIX) || name === REQUEST_ID || HOP_BY_HOP.has(name)) continue;
    if (dropped.has(name) && !NEVER_DROPPED.has(name)) continue;
    headers.push(raw[at]!, raw[at + 1]!);
  }
  headers.push(REQUEST_ID, requestId);
  if (framing === 'chunked') headers.push('Transfer-Encoding', 'chunked');
  // Without it, Node would announce a chunked body that never comes.
  if (framing === 'none' && needsLength) headers.push('Content-Length', '0');
  if (upgrade !== undefined) headers.push('Upgrade', upgrade, 'Connection', 'Upgrade');
  // Trailers are passed on, so the wish for them is too.
  else if (members(valuesOf(raw, 'te')).includes('trailers')) headers.push('TE', 'trailers', 'Connection', 'TE');
  return headers;
}

/** The fields that the client gets of an application's answer. An `Upgrade` stays where the status is about it (101, 426). */
export function responseHeaders(raw: RawHeaders, status: number): string[] {
  const dropped = new Set(members(valuesOf(raw, 'connection')));
  const keepsUpgrade = status === 101 || status === 426;
  const headers: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    if (keepsUpgrade && name === 'upgrade') headers.push(raw[at]!, raw[at + 1]!, 'Connection', 'Upgrade');
    if (HOP_BY_HOP.has(name) || (dropped.has(name) && !NEVER_DROPPED.has(name))) continue;
    headers.push(raw[at]!, raw[at + 1]!);
  }
  return headers;
}

/** The trailer fields that may pass. */
export function trailersOf(raw: RawHeaders): [string, string][] {
  const trailers: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    if (!NOT_IN_TRAILERS.has(name) && !name.startsWith(RESERVED_PREFIX)) trailers.push([raw[at]!, raw[at + 1]!]);
  }
  return trailers;
}
