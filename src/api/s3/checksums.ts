/** The checksums that S3 clients send: Amazon S3 User Guide, "Checking object integrity". Values are base64, big endian. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';

export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

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
      return new Crc32c();
    case 'CRC64NVME':
      return new Crc64Nvme();
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
    return base64Of32(this.#value);
  }
}

const base64Of32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes.toString('base64');
};

const CRC32C_POLYNOMIAL = Number(CRC_POLYNOMIALS.CRC32C.polynomial);

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1;
  return value;
});

class Crc32c implements RunningChecksum {
  #value = 0xffffffff;

  update(data: Buffer): void {
    let value = this.#value;
    for (const byte of data) value = CRC32C_TABLE[(value ^ byte) & 0xff]! ^ (value >>> 8);
    this.#value = value;
  }

  digest(): string {
    return base64Of32(~this.#value);
  }
}


/** The table in two halves, so that the loop over the data needs no big integers. */
const [CRC64_LOW, CRC64_HIGH] = (() => {
  const low = new Uint32Array(256);
  const high = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ CRC_POLYNOMIALS.CRC64NVME.polynomial : value >> 1n;
    low[byte] = Number(value & 0xffffffffn);
    high[byte] = Number(value >> 32n);
  }
  return [low, high];
})();

class Crc64Nvme implements RunningChecksum {
  #low = 0xffffffff;
  #high = 0xffffffff;

  update(data: Buffer): void {
    let low = this.#low;
    let high = this.#high;
    for (const byte of data) {
      const at = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[at]!;
      high = (high >>> 8) ^ CRC64_HIGH[at]!;
    }
    this.#low = low;
    this.#high = high;
  }

  digest(): string {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(~this.#high >>> 0, 0);
    bytes.writeUInt32BE(~this.#low >>> 0, 4);
    return bytes.toString('base64');
  }
}
