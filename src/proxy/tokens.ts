import { createSecretKey, type KeyObject } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import type { Clock, EndpointClaims, EndpointTokens, Random, TokenKey, TokenKeyRepository } from '../domain/ports.ts';

/** A key encrypts new tokens for a day; older ones only open what they made (tokens live an hour at most, section 6.1). */
const KEY_ROTATION_MS = 24 * 60 * 60 * 1000;
/** No token lives longer (section 6.1). */
const MAX_TOKEN_LIFE_MS = 60 * 60 * 1000;
/** From then on no token of a key can be good: one that claims to be was made by somebody who found the key. */
const KEY_LIFE_MS = KEY_ROTATION_MS + MAX_TOKEN_LIFE_MS;
/** A256GCM. */
const KEY_BYTES = 32;
/** A token with a range for each of a few hundred ports; anything longer is not ours. */
const MAX_TOKEN_CHARS = 8192;
/** Opening costs a decryption; a client repeats its token on every request. */
const MAX_REMEMBERED = 1024;

const port = z.number().int().min(1).max(65_535);
const payloadSchema = z.object({
  vm: z.string(),
  use: z.enum(['http', 'shell']),
  ports: z.array(z.tuple([port, port])),
  exp: z.number(),
});

export interface EndpointTokenOptions {
  readonly keys: TokenKeyRepository;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Endpoint tokens as AWS makes them: compact JWE with the protected header exactly `{kid, alg: 'dir', enc: 'A256GCM'}`
 * (section 6.1). Keys are made at the first use and once a day, and kept in the repository, so that a restart or a
 * rotation breaks no token.
 */
export function createEndpointTokens(options: EndpointTokenOptions): EndpointTokens {
  const ring = new KeyRing(options);
  const remembered = new Map<string, EndpointClaims>();
  return {
    async issue(claims) {
      const { kid, key } = await ring.current();
      const payload: z.infer<typeof payloadSchema> = {
        vm: claims.microvmId,
        use: claims.purpose,
        ports: claims.ports.map(({ from, to }) => [from, to]),
        exp: claims.expiresAtMs,
      };
      return new CompactEncrypt(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({ kid, alg: 'dir', enc: 'A256GCM' })
        .encrypt(key);
    },
    async open(token) {
      const known = remembered.get(token);
      if (known !== undefined) return known;
      if (token.length > MAX_TOKEN_CHARS) return undefined;
      const key = await ring.find(kidOf(token));
      const claims = key === undefined ? undefined : await decrypt(token, key);
      if (claims === undefined) return undefined;
      const oldest = remembered.keys().next();
      if (remembered.size >= MAX_REMEMBERED && oldest.done !== true) remembered.delete(oldest.value);
      remembered.set(token, claims);
      return claims;
    },
  };
}

/** The keys of the repository, loaded once. */
class KeyRing {
  readonly #options: EndpointTokenOptions;
  readonly #keys = new Map<string, { readonly key: KeyObject; readonly createdAtMs: number }>();
  #newest: TokenKey | undefined;
  #loaded: Promise<void> | undefined;
  #rotation: Promise<void> | undefined;

  constructor(options: EndpointTokenOptions) {
    this.#options = options;
  }

  async find(kid: string | undefined): Promise<KeyObject | undefined> {
    if (kid === undefined) return undefined;
    await this.#load();
    const found = this.#keys.get(kid);
    return found === undefined || this.#ageMs(found) >= KEY_LIFE_MS ? undefined : found.key;
  }

  async current(): Promise<{ kid: string; key: KeyObject }> {
    await this.#load();
    while (this.#newest === undefined || this.#ageMs(this.#newest) >= KEY_ROTATION_MS) {
      // Callers at the same moment share one rotation.
      this.#rotation ??= this.#rotate().finally(() => (this.#rotation = undefined));
      await this.#rotation;
    }
    const { kid } = this.#newest;
    return { kid, key: this.#keys.get(kid)!.key };
  }

  #ageMs({ createdAtMs }: { createdAtMs: number }): number {
    return this.#options.clock.nowMs() - createdAtMs;
  }

  #add({ kid, key, createdAtMs }: TokenKey): void {
    this.#keys.set(kid, { key: createSecretKey(key), createdAtMs });
  }

  #load(): Promise<void> {
    this.#loaded ??= this.#options.keys.list().then(
      (keys) => {
        for (const key of keys) this.#add(key);
        this.#newest = keys[0];
      },
      (error: unknown) => {
        this.#loaded = undefined;
        throw error;
      },
    );
    return this.#loaded;
  }

  async #rotate(): Promise<void> {
    const { clock, random, keys } = this.#options;
    const key: TokenKey = { kid: random.uuid(), key: random.bytes(KEY_BYTES), createdAtMs: clock.nowMs() };
    // Durable before the first token leaves: a token must outlive a crash.
    await keys.insert(key);
    this.#add(key);
    this.#newest = key;
  }
}

function kidOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid;
  } catch {
    return undefined;
  }
}

async function decrypt(token: string, key: KeyObject): Promise<EndpointClaims | undefined> {
  try {
    const { plaintext } = await compactDecrypt(token, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    const payload = payloadSchema.parse(JSON.parse(Buffer.from(plaintext).toString()));
    return {
      microvmId: payload.vm,
      purpose: payload.use,
      ports: payload.ports.map(([from, to]) => ({ from, to })),
      expiresAtMs: payload.exp,
    };
  } catch {
    return undefined;
  }
}
