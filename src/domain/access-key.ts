/** How access keys are made, and other ids of IAM's form. What keys are is in `ports.ts`. */
import type { Random } from './ports.ts';

/** IAM User Guide, "Unique identifiers": 20 characters of the base-32 alphabet; the first four tell a lasting key from a temporary one. */
const KEY_ID_CHARACTERS = 16;
const ROLE_ID_CHARACTERS = 17;
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
  return { accessKeyId: `${prefix}${base32(random, KEY_ID_CHARACTERS)}`, secretAccessKey: random.bytes(SECRET_BYTES).toString('base64') };
}

/** IAM User Guide, "Unique identifiers": as a key's, and 17 characters after the four that say what it is of. */
export const newRoleId = (random: Pick<Random, 'bytes'>): string => `AROA${base32(random, ROLE_ID_CHARACTERS)}`;

const base32 = (random: Pick<Random, 'bytes'>, length: number) => [...random.bytes(length)].map((byte) => BASE32[byte % BASE32.length]).join('');
