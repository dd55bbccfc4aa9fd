/**
 * The CRC of two pieces one after the other, from the CRCs of each: the first is multiplied by x^(8·length of the second) in
 * GF(2)[x] modulo the polynomial, and the second added. So the checksum of a whole multipart object needs none of its bytes.
 */
import { CRC_POLYNOMIALS } from './checksums.ts';
import type { CrcAlgorithm } from './checksums.ts';

/** One piece: its CRC in base64 and its length in bytes. */
export interface CrcPiece {
  readonly checksum: string;
  readonly size: number;
}

/** @returns the CRC of all pieces, in base64 */
export function combineCrcs(algorithm: CrcAlgorithm, pieces: readonly CrcPiece[]): string {
  const { polynomial, width } = CRC_POLYNOMIALS[algorithm];
  const field: Field = { polynomial, top: 1n << BigInt(width - 1) };
  // Parts of an upload have the same length but for the last.
  const shifts = new Map<number, bigint>();
  let combined = 0n;
  for (const { checksum, size } of pieces) {
    const shift = shifts.get(size) ?? power(field, size);
    shifts.set(size, shift);
    combined = multiply(field, combined, shift) ^ BigInt(`0x${Buffer.from(checksum, 'base64').toString('hex')}`);
  }
  return Buffer.from(combined.toString(16).padStart(width / 4, '0'), 'hex').toString('base64');
}

/** Polynomials are reflected: the highest bit is x^0. */
interface Field {
  readonly polynomial: bigint;
  readonly top: bigint;
}

function multiply({ polynomial, top }: Field, a: bigint, b: bigint): bigint {
  let product = 0n;
  let shifted = b;
  for (let bit = top; bit !== 0n; bit >>= 1n) {
    if ((a & bit) !== 0n) product ^= shifted;
    shifted = (shifted & 1n) === 1n ? (shifted >> 1n) ^ polynomial : shifted >> 1n;
  }
  return product;
}

/** x^(8·bytes), by squaring. */
function power(field: Field, bytes: number): bigint {
  let result = field.top;
  let square = field.top >> 8n;
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = multiply(field, result, square);
    square = multiply(field, square, square);
  }
  return result;
}
