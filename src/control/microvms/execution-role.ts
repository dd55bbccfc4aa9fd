/**
 * Temporary keys of a microVM's execution role (contract reference, section 8.2): made when the guest first asks for them, the
 * same as long as they are good, and gone with the microVM. What they open is `api`'s to say: this server's object store.
 */
import { newKeyPair } from '../../domain/access-key.ts';
import { MICROVM_STATE_RULES } from '../../domain/microvm.ts';
import type { AccessKey, AccessKeyRepository, Clock, MicrovmRepository, Random } from '../../domain/ports.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';

/** The credentials as the guest gets to see them. */
export interface RoleCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ExecutionRoleParts {
  readonly microvms: Pick<MicrovmRepository, 'get'>;
  readonly accessKeys: AccessKeyRepository;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Random;
}

const MINUTE_MS = 60_000;
/** Section 8.2; the first ones count from the launch. */
const LIFE_MS = 55 * MINUTE_MS;
/** EC2 User Guide, "Retrieve security credentials": new ones are there at least five minutes before the old ones expire. */
const RENEWAL_MS = 5 * MINUTE_MS;

const TOKEN_BYTES = 192;

export class ExecutionRoles {
  readonly #parts: ExecutionRoleParts;
  /** Of two who ask at once the second gets what the first was given; and a revocation has the last word. */
  readonly #queue = new KeyedQueue();

  constructor(parts: ExecutionRoleParts) {
    this.#parts = parts;
  }

  /** @returns undefined where the microVM was launched without a role, or has ended */
  credentials(microvmId: string): Promise<RoleCredentials | undefined> {
    const { microvms, accessKeys, clock } = this.#parts;
    return this.#queue.run(microvmId, async () => {
      const microvm = await microvms.get(microvmId);
      if (microvm === undefined || microvm.executionRoleArn === null || !MICROVM_STATE_RULES[microvm.state].countsMemory) return undefined;
      const nowMs = clock.nowMs();
      const kept = await accessKeys.newestOf(microvmId);
      if (kept !== undefined && isLasting(kept.session?.expiresAtMs ?? 0, nowMs)) return toCredentials(kept);
      const ofLaunchMs = microvm.startedAtMs + LIFE_MS;
      const expiresAtMs = isLasting(ofLaunchMs, nowMs) ? ofLaunchMs : nowMs + LIFE_MS;
      const key = this.#key({ microvmId, roleArn: microvm.executionRoleArn, nowMs, expiresAtMs });
      await accessKeys.removeExpired(nowMs);
      await accessKeys.insert(key);
      return toCredentials(key);
    });
  }

  /** Ends every key of a microVM that has ended. */
  revoke(microvmId: string): Promise<void> {
    return this.#queue.run(microvmId, () => this.#parts.accessKeys.revokeOf(microvmId));
  }

  #key({ microvmId, roleArn, nowMs, expiresAtMs }: { microvmId: string; roleArn: string; nowMs: number; expiresAtMs: number }): AccessKey {
    const { random } = this.#parts;
    return {
      ...newKeyPair(random, 'ASIA'),
      createdAtMs: nowMs,
      description: null,
      session: {
        roleArn,
        sessionName: `Lambda-microvmsExecutor-${random.uuid()}`,
        sessionToken: random.bytes(TOKEN_BYTES).toString('base64'),
        expiresAtMs,
        microvmId,
      },
    };
  }
}

const isLasting = (expiresAtMs: number, nowMs: number) => expiresAtMs - nowMs > RENEWAL_MS;

const toCredentials = ({ accessKeyId, secretAccessKey, createdAtMs, session }: AccessKey): RoleCredentials => ({
  accessKeyId,
  secretAccessKey,
  sessionToken: session?.sessionToken ?? '',
  issuedAtMs: createdAtMs,
  expiresAtMs: session?.expiresAtMs ?? 0,
});
