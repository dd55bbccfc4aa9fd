/** What the application of a soak (`examples/soak-app`) has to hold, made here once more: no microVM vouches for itself. */
import { crc32 } from 'node:zlib';

const PAGE_BYTES = 4096;
const WORDS_BYTES = 16;
const MIB = 1024 ** 2;
const MEMORY_BYTES = 16 * MIB;
const FILE_BYTES = MIB;

/** Which microVM of the soak, and how far it has come. */
export interface SoakStep {
  readonly key: number;
  readonly step: number;
}

/** CRC-32 of what is held in memory, and of the file. */
export interface SoakChecksums {
  readonly memory: number;
  readonly file: number;
}

/** What must be found at a step. */
export function checksumsAt({ key, step }: SoakStep): SoakChecksums {
  const words = Buffer.alloc(WORDS_BYTES);
  const page = Buffer.alloc(PAGE_BYTES);
  words.writeUInt32LE(key, 0);
  words.writeUInt32LE(step, 4);
  let sum = 0;
  let file = 0;
  for (let number = 0; number < MEMORY_BYTES / PAGE_BYTES; number += 1) {
    words.writeUInt32LE(number, 8);
    sum = crc32(page.fill(words), sum);
    // The file is the first of the same pages.
    if ((number + 1) * PAGE_BYTES === FILE_BYTES) file = sum;
  }
  return { memory: sum, file };
}
