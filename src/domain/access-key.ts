/** How access keys are made. What they are is in `ports.ts`. */
import type { Random } from './ports.ts';

/** IAM User Guide, "Unique identifiers": 20 characters of the base-32 alphabet; the first four tell a lasting key from a temporary one. */
const KEY_ID_CHARACTERS = 16;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** 240 bits, and 40 characters as on AWS. */
const SECRET_BYTES = 30;

/** The two halves of a new key. */
export interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** @param prefix `AKIA` for a key of the installation, `ASIA` for a temporary one */
export function newKeyPair(random: Pick<Random, 'bytes'>, prefix: 'AKIA' | 'ASIA'): KeyPair {
  const characters = [...random.bytes(KEY_ID_CHARACTERS)].map((byte) => BASE32[byte % BASE32.length]);
  return { accessKeyId: `${prefix}${characters.join('')}`, secretAccessKey: random.bytes(SECRET_BYTES).toString('base64') };
}
