/**
 * Who sent this request? Signature V4 by header or in the query, for every surface: AWS General Reference, "Create a
 * signed AWS API request"; appendix A of the contract reference. A failure is a reason; each surface words it its own way.
 * Signature V2 is taken in links of the object store only.
 */
import type { IncomingMessage } from 'node:http';
import { assumedRoleArn } from '../domain/ids.ts';
import type { Realm } from '../domain/ids.ts';
import type { AccessKey, Clock, RoleSession } from '../domain/ports.ts';
import {
  SIGV4_ALGORITHM,
  SIGV4_TERMINATOR,
  amzDate,
  canonicalRequest,
  constantTimeEqual,
  parseAmzDate,
  queryPairs,
  signatureOf,
  signingKey,
  stringToSign,
} from '../lib/sigv4.ts';
import { linkSignature } from '../lib/sigv2.ts';
import type { CredentialScope } from '../lib/sigv4.ts';

/** Section 1.1 does not say; AWS's documented tolerance for the clock of a signer. */
export const MAX_SKEW_MS = 15 * 60 * 1000;
/** S3: "Authenticating requests: using query parameters": a week. */
export const MAX_PRESIGNED_SECONDS = 604_800;
/** Of temporary keys; in a link of Signature V2 a parameter of this name too. */
export const TOKEN_HEADER = 'x-amz-security-token';

/** Services that are one for all regions, and the region that most of their clients sign with, wherever they are. */
const GLOBAL_SERVICES: Readonly<Record<string, string>> = { iam: 'us-east-1' };

/** Why a request is not let in. */
export type AuthReason =
  | 'missing'
  | 'two-mechanisms'
  | 'unsupported-algorithm'
  | 'incomplete'
  | 'unknown-key'
  | 'token-missing'
  | 'token-invalid'
  | 'token-expired'
  | 'wrong-region'
  | 'wrong-service'
  | 'wrong-terminator'
  | 'date-mismatch'
  | 'too-old'
  | 'too-new'
  | 'expired'
  | 'host-not-signed'
  | 'headers-not-signed'
  | 'mismatch'
  | 'not-permitted';

/** A request that is not let in. `detail` is the part of the message that differs from case to case. */
export class AuthFailure extends Error {
  override readonly name = 'AuthFailure';
  readonly reason: AuthReason;
  readonly detail: string;

  constructor(reason: AuthReason, detail = '') {
    super(`${reason} ${detail}`.trim());
    this.reason = reason;
    this.detail = detail;
  }
}

/** What a request says of its signature. Nothing of it is believed before {@link Authenticator.verify}. */
export interface SignatureClaim {
  readonly by: 'header' | 'query';
  readonly accessKeyId: string;
  readonly scope: CredentialScope;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** `YYYYMMDDTHHMMSSZ`. */
  readonly date: string;
  /** Of a presigned URL. */
  readonly expiresSeconds: number | null;
  /** Sent with the signature by whoever signs with a temporary key. */
  readonly securityToken: string | undefined;
}

/** Who signed. */
export type Principal =
  /** A key of the installation: everything is open to it. */
  | { readonly kind: 'installation'; readonly accessKeyId: string }
  /** A temporary key of a microVM's execution role (contract reference, section 8.2): the services of {@link ROLE_SERVICES} only. */
  | { readonly kind: 'role'; readonly accessKeyId: string; readonly session: RoleSession };

/** What the role of a microVM reaches; `sts` limits it to GetCallerIdentity itself. */
const ROLE_SERVICES: readonly string[] = ['s3', 'sts'];

/** A claim whose key is ours and whose time, region and service are right; the signature is still to be checked. */
export interface KnownSigner {
  readonly claim: SignatureClaim;
  /** Not to be believed before {@link Authenticator.verify} either. */
  readonly principal: Principal;
  /** Signs in the claim's scope (chunks of an upload are signed with it too). */
  readonly key: Buffer;
}

/** What a link of Signature V2 says of its signature. */
export interface SignedLink {
  readonly accessKeyId: string;
  readonly signature: string;
  readonly securityToken: string | undefined;
  readonly stringToSign: string;
}

/** One more than there may be: the rest is not looked at. */
const MAX_CREDENTIAL_PARTS = 6;
const HEADER_CREDENTIAL = 'Credential=';
const QUERY_CREDENTIAL = 'X-Amz-Credential=';

/** The service in the credential scope as far as the request names one: it tells the surfaces apart. Signature V2 in the query is S3's. */
export function claimedService({ headers, url = '' }: Pick<IncomingMessage, 'headers' | 'url'>): string | undefined {
  const parameters = splitUrl(url).query.split('&');
  return (
    serviceOf(credentialInHeader(headers.authorization ?? '')) ??
    serviceOf(credentialInQuery(parameters)) ??
    (parameters.some((parameter) => parameter.startsWith('AWSAccessKeyId=')) ? 's3' : undefined)
  );
}

function credentialInHeader(header: string): string {
  const at = header.indexOf(HEADER_CREDENTIAL);
  return at < 0 ? '' : (header.slice(at + HEADER_CREDENTIAL.length).split(/[,\s]/, 1)[0] ?? '');
}

function credentialInQuery(parameters: readonly string[]): string {
  const parameter = parameters.find((one) => one.startsWith(QUERY_CREDENTIAL)) ?? '';
  try {
    return decodeURIComponent(parameter.slice(QUERY_CREDENTIAL.length));
  } catch {
    return '';
  }
}

function serviceOf(credential: string): string | undefined {
  const { service = '', terminator } = credentialPartsOf(credential) ?? {};
  return service === '' || terminator !== SIGV4_TERMINATOR ? undefined : service;
}

/** Path and query as received. */
export function splitUrl(url: string): { path: string; query: string } {
  const at = url.indexOf('?');
  return at < 0 ? { path: url, query: '' } : { path: url.slice(0, at), query: url.slice(at + 1) };
}

/** The URL as the client sent it, before it was sorted to a surface. */
export const receivedUrl = (request: IncomingMessage & { originalUrl?: string }) => request.originalUrl ?? request.url ?? '/';

/** Reads the claim of a request. @throws AuthFailure missing, two-mechanisms, unsupported-algorithm, incomplete */
export function readClaim(request: IncomingMessage): SignatureClaim {
  const { query } = splitUrl(receivedUrl(request));
  const header = request.headers.authorization;
  const presigned = /(?:^|&)X-Amz-(?:Algorithm|Signature|Credential|Security-Token)=/.test(query);
  if (header !== undefined && presigned) throw new AuthFailure('two-mechanisms');
  if (header !== undefined) return claimOfHeader(header, request);
  if (presigned) return claimOfQuery(query, request);
  throw new AuthFailure('missing');
}

function claimOfHeader(header: string, request: IncomingMessage): SignatureClaim {
  const [, algorithm = '', text = ''] = /^(\S*)\s*(.*)$/s.exec(header) ?? [];
  if (algorithm !== SIGV4_ALGORITHM) throw new AuthFailure('unsupported-algorithm', algorithm.slice(0, 64));
  const fields = fieldsOf(text);
  const missing = ['Credential', 'Signature', 'SignedHeaders'].filter((name) => (fields.get(name) ?? '') === '');
  const lacks = missing.map((name) => `Authorization header requires '${name}' parameter.`);
  const date = dateOfHeaders(request);
  if (date === undefined) lacks.push("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  if (lacks.length > 0 || date === undefined) throw new AuthFailure('incomplete', lacks.join(' '));
  return {
    by: 'header',
    ...credentialOf(fields.get('Credential') ?? ''),
    signedHeaders: (fields.get('SignedHeaders') ?? '').split(';'),
    signature: fields.get('Signature') ?? '',
    date,
    expiresSeconds: null,
    securityToken: tokenOfHeaders(request),
  };
}

/** `Credential=…,SignedHeaders=…,Signature=…`, each once and nothing else. */
function fieldsOf(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const field of text === '' ? [] : text.split(',')) {
    const match = /^\s*(Credential|SignedHeaders|Signature)=(\S*)\s*$/.exec(field);
    if (match === null || fields.has(match[1]!)) {
      throw new AuthFailure('incomplete', `'${field.slice(0, 64)}' is not a valid key=value pair in the Authorization header.`);
    }
    fields.set(match[1]!, match[2]!);
  }
  return fields;
}

const tokenOfHeaders = (request: IncomingMessage) => request.headersDistinct[TOKEN_HEADER]?.join(',');

function dateOfHeaders(request: IncomingMessage): string | undefined {
  const given = request.headers['x-amz-date'];
  if (typeof given === 'string') return parseAmzDate(given) === undefined ? undefined : given;
  const plain = request.headers.date;
  if (plain === undefined) return undefined;
  const atMs = parseAmzDate(plain) ?? Date.parse(plain);
  return Number.isNaN(atMs) ? undefined : amzDate(atMs);
}

function claimOfQuery(query: string, request: IncomingMessage): SignatureClaim {
  const values = new Map<string, string>();
  try {
    for (const [name, value] of queryPairs(query)) {
      if (name.startsWith('X-Amz-') && values.has(name)) throw new AuthFailure('incomplete', `${name} is given twice.`);
      values.set(name, value);
    }
  } catch (error) {
    if (error instanceof URIError) throw new AuthFailure('incomplete', 'The query is not valid percent-encoding.');
    throw error;
  }
  const algorithm = values.get('X-Amz-Algorithm') ?? '';
  const names = ['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', 'X-Amz-Date', 'X-Amz-SignedHeaders', 'X-Amz-Expires'];
  const missing = names.filter((name) => (values.get(name) ?? '') === '');
  if (missing.length > 0) throw new AuthFailure('incomplete', `Query-string authentication requires ${missing.join(', ')}.`);
  if (algorithm !== SIGV4_ALGORITHM) throw new AuthFailure('unsupported-algorithm', algorithm.slice(0, 64));
  const expires = values.get('X-Amz-Expires') ?? '';
  const expiresSeconds = /^\d{1,6}$/.test(expires) ? Number(expires) : 0;
  if (expiresSeconds < 1 || expiresSeconds > MAX_PRESIGNED_SECONDS) {
    throw new AuthFailure('incomplete', `X-Amz-Expires must be between 1 and ${MAX_PRESIGNED_SECONDS} seconds.`);
  }
  const date = values.get('X-Amz-Date') ?? '';
  if (parseAmzDate(date) === undefined) throw new AuthFailure('incomplete', 'X-Amz-Date must be in the ISO8601 Long Format.');
  return {
    by: 'query',
    ...credentialOf(values.get('X-Amz-Credential') ?? ''),
    signedHeaders: (values.get('X-Amz-SignedHeaders') ?? '').split(';'),
    signature: values.get('X-Amz-Signature') ?? '',
    date,
    expiresSeconds,
    securityToken: values.get('X-Amz-Security-Token') ?? tokenOfHeaders(request),
  };
}

function credentialOf(credential: string): { accessKeyId: string; scope: CredentialScope } {
  const parts = credentialPartsOf(credential);
  if (parts === undefined) {
    throw new AuthFailure('incomplete', `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.`);
  }
  const { accessKeyId, terminator, ...scope } = parts;
  if (terminator !== SIGV4_TERMINATOR) throw new AuthFailure('wrong-terminator', terminator.slice(0, 64));
  return { accessKeyId, scope };
}

/** `keyid/date/region/service/aws4_request`; undefined where it does not have five parts, or no key. */
function credentialPartsOf(credential: string): (CredentialScope & { accessKeyId: string; terminator: string }) | undefined {
  const [accessKeyId = '', date = '', region = '', service = '', terminator, ...more] = credential.split('/', MAX_CREDENTIAL_PARTS);
  if (accessKeyId === '' || terminator === undefined || more.length > 0) return undefined;
  return { accessKeyId, date, region, service, terminator };
}

/**
 * AWS General Reference, "Create a canonical request": every `x-amz-…` header must be signed. The payload hash is so anyway,
 * and a presigned URL does not know which hash will be sent with it.
 */
function requireSignedHeaders({ headers }: IncomingMessage, { signedHeaders }: SignatureClaim): void {
  const unsigned = Object.keys(headers).filter(
    (name) => name.startsWith('x-amz-') && name !== 'x-amz-content-sha256' && !signedHeaders.includes(name),
  );
  if (unsigned.length > 0) throw new AuthFailure('headers-not-signed', unsigned.join(', '));
}

/** Where keys are looked up; the request is for those that know it by more than the key's id. */
export interface KeyLookup {
  get(accessKeyId: string, request: IncomingMessage): Promise<AccessKey | undefined>;
}

/** Checks claims against the access keys, the clock and the realm. */
export class Authenticator {
  readonly #keys: KeyLookup;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #realm: Realm;

  constructor(adapters: { accessKeys: KeyLookup; clock: Pick<Clock, 'nowMs'>; realm: Realm }) {
    this.#keys = adapters.accessKeys;
    this.#clock = adapters.clock;
    this.#realm = adapters.realm;
  }

  /**
   * All that can be told before the body is there: the claim, its key, time, region and service.
   * @throws AuthFailure
   */
  async identify(request: IncomingMessage, service: string): Promise<KnownSigner> {
    const claim = readClaim(request);
    if (!claim.signedHeaders.includes('host')) throw new AuthFailure('host-not-signed');
    requireSignedHeaders(request, claim);
    const key = await this.#keys.get(claim.accessKeyId, request);
    if (key === undefined) throw new AuthFailure('unknown-key', claim.accessKeyId);
    this.#checkToken(claim, key);
    const { region } = claim.scope;
    if (region !== this.#realm.region && region !== GLOBAL_SERVICES[service]) throw new AuthFailure('wrong-region', region);
    if (claim.scope.service !== service) throw new AuthFailure('wrong-service', service);
    if (claim.scope.date !== claim.date.slice(0, 8)) {
      const dates = `'${claim.scope.date}' != '${claim.date.slice(0, 8)}'`;
      throw new AuthFailure('date-mismatch', `${dates}, from ${`'${claim.date}'`}.`);
    }
    this.#checkTime(claim);
    return { claim, principal: principalOf(key), key: signingKey(key.secretAccessKey, claim.scope) };
  }

  /**
   * Checks the signature of a request over a payload hash, and that its service is open to whoever signed.
   * @throws AuthFailure mismatch, not-permitted
   */
  verify(request: IncomingMessage, signer: KnownSigner, payloadHash: string): void {
    const { claim, principal, key } = signer;
    const { path, query } = splitUrl(receivedUrl(request));
    let canonical: string;
    try {
      canonical = canonicalRequest({
        method: request.method ?? '',
        path,
        query,
        headers: request.headersDistinct,
        signedHeaders: claim.signedHeaders,
        payloadHash,
        pathEncoding: claim.scope.service === 's3' ? 'once' : 'twice',
      });
    } catch {
      throw new AuthFailure('mismatch');
    }
    const expected = signatureOf(key, stringToSign({ amzDate: claim.date, scope: claim.scope, canonicalRequest: canonical }));
    if (!constantTimeEqual(expected, claim.signature)) throw new AuthFailure('mismatch');
    if (principal.kind === 'role' && !ROLE_SERVICES.includes(claim.scope.service)) {
      throw new AuthFailure('not-permitted', assumedRoleArn(principal.session));
    }
  }

  /**
   * Checks a link of Signature V2 whose time has been checked. The object store is open to every kind of key.
   * @throws AuthFailure unknown-key, token-missing, token-invalid, token-expired, mismatch
   */
  async verifyLink(request: IncomingMessage, link: SignedLink): Promise<Principal> {
    const key = await this.#keys.get(link.accessKeyId, request);
    if (key === undefined) throw new AuthFailure('unknown-key', link.accessKeyId);
    this.#checkToken(link, key);
    if (!constantTimeEqual(linkSignature(key.secretAccessKey, link.stringToSign), link.signature)) throw new AuthFailure('mismatch');
    return principalOf(key);
  }

  /** A temporary key is good with its token only, and until it expires; a key of the installation has none. */
  #checkToken({ accessKeyId, securityToken }: Pick<SignatureClaim, 'accessKeyId' | 'securityToken'>, { session }: AccessKey): void {
    if (session === null) {
      if (securityToken !== undefined) throw new AuthFailure('token-invalid');
      return;
    }
    if (securityToken === undefined) throw new AuthFailure('token-missing', accessKeyId);
    if (!constantTimeEqual(securityToken, session.sessionToken)) throw new AuthFailure('token-invalid');
    if (this.#clock.nowMs() >= session.expiresAtMs) throw new AuthFailure('token-expired');
  }

  #checkTime(claim: SignatureClaim): void {
    const nowMs = this.#clock.nowMs();
    const signedMs = parseAmzDate(claim.date) ?? 0;
    const now = amzDate(nowMs);
    const minutes = MAX_SKEW_MS / 60_000;
    if (signedMs > nowMs + MAX_SKEW_MS) {
      const limit = amzDate(nowMs + MAX_SKEW_MS);
      throw new AuthFailure('too-new', `${claim.date} is still later than ${limit} (${now} + ${minutes} min.)`);
    }
    if (claim.expiresSeconds !== null) {
      const endMs = signedMs + claim.expiresSeconds * 1000;
      if (nowMs >= endMs) throw new AuthFailure('expired', amzDate(endMs));
    } else if (signedMs < nowMs - MAX_SKEW_MS) {
      const limit = amzDate(nowMs - MAX_SKEW_MS);
      throw new AuthFailure('too-old', `${claim.date} is now earlier than ${limit} (${now} - ${minutes} min.)`);
    }
  }
}

const principalOf = ({ accessKeyId, session }: AccessKey): Principal =>
  session === null ? { kind: 'installation', accessKeyId } : { kind: 'role', accessKeyId, session };

