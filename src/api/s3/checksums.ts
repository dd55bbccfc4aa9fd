/** The checksums that S3 clients send: Amazon S3 User Guide, "Checking object integrity". Values are base64, big endian. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { CHECKSUM_ALGORITHMS } from '../../domain/object-store.ts';
import type { ChecksumAlgorithm } from '../../domain/object-store.ts';

/** Bytes of a value of each. */
const SIZES: { readonly [A in ChecksumAlgorithm]: number } = { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 };

/**
 * The CRCs by their reflected polynomials: IEEE 802.3; Castagnoli's (RFC 3720, appendix B.4); NVM Express's (NVM Command Set
 * Specification, 5.2.1.3.4). All begin with ones and are inverted at their end.
 */
export const CRC_POLYNOMIALS = {
  CRC32: { polynomial: 0xedb88320n, width: 32 },
  CRC32C: { polynomial: 0x82f63b78n, width: 32 },
  CRC64NVME: { polynomial: 0x9a6c9329ac4bc9b5n, width: 64 },
} as const satisfies Partial<Record<ChecksumAlgorithm, { readonly polynomial: bigint; readonly width: number }>>;
export type CrcAlgorithm = keyof typeof CRC_POLYNOMIALS;

export const isCrc = (algorithm: ChecksumAlgorithm): algorithm is CrcAlgorithm => Object.hasOwn(CRC_POLYNOMIALS, algorithm);

/** `x-amz-checksum-crc32` and its like. */
export const checksumHeader = (algorithm: ChecksumAlgorithm) => `x-amz-checksum-${algorithm.toLowerCase()}`;

/** The algorithm of such a header; undefined where it is none. */
export const algorithmOfHeader = (header: string) =>
  CHECKSUM_ALGORITHMS.find((algorithm) => checksumHeader(algorithm) === header.trim().toLowerCase());

/** True where a text can be a value of the algorithm. */
export const isChecksumValue = (algorithm: ChecksumAlgorithm, value: string) =>
  /^[A-Za-z0-9+/]+={0,2}$/.test(value) && Buffer.from(value, 'base64').length === SIZES[algorithm];

/** A checksum that grows with the data. */
export interface RunningChecksum {
  update(data: Buffer): void;
  /** Base64. Ends it. */
  digest(): string;
}

/** Starts a checksum. */
export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  switch (algorithm) {
    case 'CRC32':
      return new Crc32();
    case 'CRC32C':
    case 'CRC64NVME':
      return new SlicedCrc(algorithm);
    case 'SHA1':
      return hash('sha1');
    case 'SHA256':
      return hash('sha256');
  }
  return algorithm satisfies never;
}

/** The checksum of a stream, read to its end. */
export async function checksumOf(algorithm: ChecksumAlgorithm, stream: Readable): Promise<string> {
  const running = startChecksum(algorithm);
  for await (const chunk of stream) running.update(chunk as Buffer);
  return running.digest();
}

function hash(name: string): RunningChecksum {
  const running = createHash(name);
  return { update: (data) => void running.update(data), digest: () => running.digest('base64') };
}

class Crc32 implements RunningChecksum {
  #value = 0;

  update(data: Buffer): void {
    this.#value = crc32(data, this.#value);
  }

  digest(): string {
    return base64Of(0, this.#value, 4);
  }
}

/** A value in two halves as it is sent. */
export function base64Of(high: number, low: number, sizeBytes: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(high >>> 0, 0);
  bytes.writeUInt32BE(low >>> 0, 4);
  return bytes.subarray(8 - sizeBytes).toString('base64');
}

/** How many bytes are taken in one step. */
const SLICE = 8;

/** For each byte, and each number of bytes that come after it in a slice, its share of the CRC; in two halves, so that no big integers are needed. */
interface CrcTables {
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

function crcTables(polynomial: bigint): CrcTables {
  const low = new Uint32Array(SLICE * 256);
  const high = new Uint32Array(SLICE * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let slice = 0; slice < SLICE; slice++) {
      for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n;
      low[slice * 256 + byte] = Number(value & 0xffffffffn);
      high[slice * 256 + byte] = Number(value >> 32n);
    }
  }
  return { low, high };
}

const TABLES = { CRC32C: crcTables(CRC_POLYNOMIALS.CRC32C.polynomial), CRC64NVME: crcTables(CRC_POLYNOMIALS.CRC64NVME.polynomial) };

/** A reflected CRC of up to 64 bits, eight bytes at a time ("slicing by 8", Kounavis and Berry 2005). */
class SlicedCrc implements RunningChecksum {
  readonly #tables: CrcTables;
  readonly #sizeBytes: number;
  #low = 0xffffffff;
  #high: number;

  constructor(algorithm: keyof typeof TABLES) {
    this.#tables = TABLES[algorithm];
    this.#sizeBytes = SIZES[algorithm];
    this.#high = this.#sizeBytes === 8 ? 0xffffffff : 0;
  }

  update(data: Buffer): void {
    const { low: t, high: u } = this.#tables;
    let low = this.#low;
    let high = this.#high;
    let at = 0;
    for (; at + SLICE <= data.length; at += SLICE) {
      const a = low ^ (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24));
      const b = high ^ (data[at + 4]! | (data[at + 5]! << 8) | (data[at + 6]! << 16) | (data[at + 7]! << 24));
      const a0 = 0x700 | (a & 0xff);
      const a1 = 0x600 | ((a >>> 8) & 0xff);
      const a2 = 0x500 | ((a >>> 16) & 0xff);
      const a3 = 0x400 | (a >>> 24);
      const b0 = 0x300 | (b & 0xff);
      const b1 = 0x200 | ((b >>> 8) & 0xff);
      const b2 = 0x100 | ((b >>> 16) & 0xff);
      const b3 = b >>> 24;
      low = t[a0]! ^ t[a1]! ^ t[a2]! ^ t[a3]! ^ t[b0]! ^ t[b1]! ^ t[b2]! ^ t[b3]!;
      high = u[a0]! ^ u[a1]! ^ u[a2]! ^ u[a3]! ^ u[b0]! ^ u[b1]! ^ u[b2]! ^ u[b3]!;
    }
    for (; at < data.length; at++) {
      const index = (low ^ data[at]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ t[index]!;
      high = (high >>> 8) ^ u[index]!;
    }
    this.#low = low;
    this.#high = high;
  }

  digest(): string {
    return base64Of(~this.#high, ~this.#low, this.#sizeBytes);
  }
}
