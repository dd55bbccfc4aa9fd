/** Sizes of microVMs: contract reference, section 7.1; 128 and 256 MiB are Lull's own. */

/** What a baseline size gives the guest. */
export interface MicrovmSize {
  /** The baseline in MiB, which quotas count. */
  readonly baselineMib: number;
  /** What the guest sees as its memory, in MiB: four times the baseline. */
  readonly guestMemoryMib: number;
  /** The peak number of virtual CPUs; drivers cap it at the host's cores. */
  readonly vcpus: number;
  /** Size of the writable disk in bytes (sparse: only what is written takes room). */
  readonly scratchBytes: number;
}

const GIB = 1024 ** 3;
const PEAK_FACTOR = 4;

const size = (baselineMib: number, vcpus: number, scratchGib: number): MicrovmSize => ({
  baselineMib,
  guestMemoryMib: baselineMib * PEAK_FACTOR,
  vcpus,
  scratchBytes: scratchGib * GIB,
});

/** Every size there is, smallest first. */
export const MICROVM_SIZES: readonly MicrovmSize[] = [
  size(128, 1, 8),
  size(256, 1, 8),
  size(512, 1, 8),
  size(1024, 2, 8),
  size(2048, 4, 8),
  size(4096, 8, 16),
  size(8192, 16, 32),
];

/** The size of an image that names none (section 1.3). */
export const DEFAULT_BASELINE_MIB = 2048;

/** The size with this baseline, or undefined where there is none. */
export function microvmSize(baselineMib: number): MicrovmSize | undefined {
  return MICROVM_SIZES.find((candidate) => candidate.baselineMib === baselineMib);
}
