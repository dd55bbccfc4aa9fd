/**
 * The CRC of two pieces one after the other, from the CRCs of each: the first is multiplied by x^(8·length of the second) in
 * GF(2)[x] modulo the polynomial, and the second added. So the checksum of a whole multipart object needs none of its bytes.
 */
import { CRC_POLYNOMIALS, base64Of } from './checksums.ts';
import type { CrcAlgorithm } from './checksums.ts';

/** One piece: its CRC in base64 and its length in bytes. */
export interface CrcPiece {
  readonly checksum: string;
  readonly size: number;
}

/** @returns the CRC of all pieces, in base64 */
export function combineCrcs(algorithm: CrcAlgorithm, pieces: readonly CrcPiece[]): string {
  const field = FIELDS[algorithm];
  // Parts of an upload have the same length but for the last.
  const shifts = new Map<number, Element>();
  let combined: Element = { high: 0, low: 0 };
  for (const { checksum, size } of pieces) {
    const shift = shifts.get(size) ?? power(field, size);
    shifts.set(size, shift);
    const shifted = multiply(field, combined, shift);
    const bytes = Buffer.from(checksum, 'base64');
    combined = { high: field.isWide ? shifted.high ^ bytes.readInt32BE(0) : 0, low: shifted.low ^ bytes.readInt32BE(bytes.length - 4) };
  }
  return base64Of(combined.high, combined.low, field.isWide ? 8 : 4);
}

/** A polynomial of up to 64 bits in two halves: big integers take many times as long. It is reflected: the highest bit is x^0. */
interface Element {
  readonly high: number;
  readonly low: number;
}

interface Field {
  readonly polynomial: Element;
  /** 64 bits; 32 otherwise, all of them in the lower half. */
  readonly isWide: boolean;
  readonly one: Element;
  /** x^(8·2^k) for each k: no length takes more than a product for each of its bits. */
  readonly squares: readonly Element[];
}

/** Lengths are exact up to here. */
const LENGTH_BITS = 53;

function fieldOf(algorithm: CrcAlgorithm): Field {
  const { polynomial, width } = CRC_POLYNOMIALS[algorithm];
  const halves = (value: bigint): Element => ({ high: Number(BigInt.asIntN(32, value >> 32n)), low: Number(BigInt.asIntN(32, value)) });
  const top = 1n << BigInt(width - 1);
  const field = { polynomial: halves(polynomial), isWide: width === 64, one: halves(top) };
  const squares = [halves(top >> 8n)];
  while (squares.length < LENGTH_BITS) squares.push(multiply(field, squares.at(-1)!, squares.at(-1)!));
  return { ...field, squares };
}

const FIELDS: { readonly [A in CrcAlgorithm]: Field } = { CRC32: fieldOf('CRC32'), CRC32C: fieldOf('CRC32C'), CRC64NVME: fieldOf('CRC64NVME') };

function multiply({ polynomial, isWide }: Pick<Field, 'polynomial' | 'isWide'>, a: Element, b: Element): Element {
  let high = b.high | 0;
  let low = b.low | 0;
  let productHigh = 0;
  let productLow = 0;
  for (let bit = isWide ? 63 : 31; bit >= 0; bit--) {
    const taken = -(((bit > 31 ? a.high : a.low) >>> (bit & 31)) & 1);
    productHigh ^= high & taken;
    productLow ^= low & taken;
    const carried = -(low & 1);
    low = ((low >>> 1) | (high << 31)) ^ (polynomial.low & carried);
    high = (high >>> 1) ^ (polynomial.high & carried);
  }
  return { high: productHigh, low: productLow };
}

/** x^(8·bytes). */
function power(field: Field, bytes: number): Element {
  let result = field.one;
  for (let rest = bytes, k = 0; rest > 0; rest = Math.floor(rest / 2), k++) {
    if (rest % 2 === 1) result = multiply(field, result, field.squares[k]!);
  }
  return result;
}
