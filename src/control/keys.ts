/** The installation's access keys: what `lull keys` asks for. */
import { newKeyPair } from '../domain/access-key.ts';
import { LullError } from '../domain/errors.ts';
import type { AccessKey, Clock, Random, Store } from '../domain/ports.ts';
import type { KeyUseCases } from './control-plane.ts';

export interface KeyPorts {
  readonly store: Pick<Store, 'accessKeys'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
  /** The key in `credentials.json`: without it the commands of the installation could not speak to its server any more. */
  readonly ownKeyId: string;
}

/** Puts the use-cases together. */
export function createKeyUseCases({ store, clock, random, ownKeyId }: KeyPorts): KeyUseCases {
  const { accessKeys } = store;
  return {
    async create(description) {
      const key: AccessKey = { ...newKeyPair(random, 'AKIA'), createdAtMs: clock.nowMs(), description, session: null };
      await accessKeys.insert(key);
      return key;
    },
    async list() {
      const keys = await accessKeys.list();
      return keys.map(({ accessKeyId, createdAtMs, description }) => ({ accessKeyId, createdAtMs, description, isOwn: accessKeyId === ownKeyId }));
    },
    async revoke(accessKeyId) {
      if (accessKeyId === ownKeyId) {
        throw new LullError(
          'validation',
          `${accessKeyId} is the key in credentials.json, which the commands of this installation use. ` +
            'Put another key of `lull keys create` there and start the server again: then this one can be revoked.',
        );
      }
      const revoked = await accessKeys.revoke(accessKeyId);
      if (!revoked) throw new LullError('not-found', `No access key has the id ${accessKeyId}. \`lull keys list\` shows them.`);
    },
  };
}
