/**
 * The metadata service of a guest, IMDSv2, as far as SDKs look for the keys of the execution role in it: contract reference,
 * section 8.2; EC2 User Guide, "Use the Instance Metadata Service". It hears the guests it is given, and listens nowhere.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { FastifyBaseLogger } from 'fastify';
import type { MicrovmUseCases } from '../control/control-plane.ts';
import type { RoleCredentials } from '../control/microvms/execution-role.ts';
import type { Clock, Random } from '../domain/ports.ts';
import { splitUrl } from './authentication.ts';

export interface MetadataAdapters {
  readonly microvms: Pick<MicrovmUseCases, 'executionRoleCredentials'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
  readonly log: FastifyBaseLogger;
  /** The microVM that a request comes from: by its connection, never by what it says. */
  readonly ownerOf: (request: IncomingMessage) => string;
}

interface Answer {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const TOKEN_PATH = '/latest/api/token';
const CREDENTIALS_PATH = '/latest/meta-data/iam/security-credentials';
/** Section 8.2: the one role that is listed, whatever the execution role is called. */
const ROLE_NAME = 'execution_role';
const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';
const TOKEN_HEADER = 'x-aws-ec2-metadata-token';
/** Six hours. */
const MAX_TTL_SECONDS = 21_600;
const MAX_HEADER_BYTES = 8 * 1024;
const KEY_BYTES = 32;
const EXPIRY_BYTES = 8;

const NOT_FOUND: Answer = { status: 404 };

/** A server that answers whatever `connection` events bring it. */
export function createMetadataServer(adapters: MetadataAdapters): Server {
  const tokens = new MetadataTokens(adapters);
  return createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    void answer(request, tokens, adapters)
      .catch((error: unknown): Answer => {
        adapters.log.error({ err: error }, 'a metadata request failed');
        return { status: 500 };
      })
      .then(({ status, body = '', headers }) => {
        // A connection that an SDK kept over a sleep of its microVM would only be broken.
        response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body), connection: 'close', ...headers });
        response.end(request.method === 'HEAD' ? undefined : body);
      });
  });
}

async function answer(request: IncomingMessage, tokens: MetadataTokens, { microvms, ownerOf }: MetadataAdapters): Promise<Answer> {
  const microvmId = ownerOf(request);
  const { path } = splitUrl(request.url ?? '/');
  if (path === TOKEN_PATH) return issueToken(request, microvmId, tokens);
  if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405, headers: { allow: 'GET, HEAD' } };
  if (!tokens.isGood(headerOf(request, TOKEN_HEADER), microvmId)) return { status: 401 };
  const isList = path === CREDENTIALS_PATH || path === `${CREDENTIALS_PATH}/`;
  if (!isList && path !== `${CREDENTIALS_PATH}/${ROLE_NAME}`) return NOT_FOUND;
  const credentials = await microvms.executionRoleCredentials(microvmId);
  if (credentials === undefined) return NOT_FOUND;
  return { status: 200, body: isList ? ROLE_NAME : renderCredentials(credentials) };
}

function issueToken(request: IncomingMessage, microvmId: string, tokens: MetadataTokens): Answer {
  if (request.method !== 'PUT') return { status: 405, headers: { allow: 'PUT' } };
  // "Use the Instance Metadata Service": a PUT that a proxy passes on is refused.
  if (request.headers['x-forwarded-for'] !== undefined) return { status: 403 };
  const ttl = headerOf(request, TTL_HEADER) ?? '';
  const seconds = /^\d{1,5}$/.test(ttl) ? Number(ttl) : 0;
  if (seconds < 1 || seconds > MAX_TTL_SECONDS) return { status: 400 };
  return { status: 200, body: tokens.issue(microvmId, seconds), headers: { [TTL_HEADER]: String(seconds) } };
}

/** A header that was sent once. */
function headerOf(request: IncomingMessage, name: string): string | undefined {
  const values = request.headersDistinct[name];
  return values?.length === 1 ? values[0] : undefined;
}

const wholeSeconds = (atMs: number) => `${new Date(atMs).toISOString().slice(0, 19)}Z`;

function renderCredentials({ accessKeyId, secretAccessKey, sessionToken, issuedAtMs, expiresAtMs }: RoleCredentials): string {
  const members = {
    Code: 'Success',
    LastUpdated: wholeSeconds(issuedAtMs),
    Type: 'AWS-HMAC',
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    Token: sessionToken,
    Expiration: wholeSeconds(expiresAtMs),
  };
  return JSON.stringify(members, null, 2);
}

/** Tokens say until when they are good, with a signature for one microVM: nothing is kept of them. */
class MetadataTokens {
  readonly #key: Buffer;
  readonly #clock: Pick<Clock, 'nowMs'>;

  constructor({ clock, random }: Pick<MetadataAdapters, 'clock' | 'random'>) {
    this.#key = random.bytes(KEY_BYTES);
    this.#clock = clock;
  }

  issue(microvmId: string, seconds: number): string {
    const expiry = Buffer.alloc(EXPIRY_BYTES);
    expiry.writeBigUInt64BE(BigInt(this.#clock.nowMs() + seconds * 1000));
    return Buffer.concat([expiry, this.#signature(expiry, microvmId)]).toString('base64url');
  }

  isGood(token: string | undefined, microvmId: string): boolean {
    const bytes = Buffer.from(token ?? '', 'base64url');
    const expiry = bytes.subarray(0, EXPIRY_BYTES);
    const signature = bytes.subarray(EXPIRY_BYTES);
    const expected = this.#signature(expiry, microvmId);
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) return false;
    return expiry.readBigUInt64BE() > BigInt(this.#clock.nowMs());
  }

  #signature(expiry: Buffer, microvmId: string): Buffer {
    return createHmac('sha256', this.#key).update(expiry).update(microvmId).digest();
  }
}
