/** What the host can still hold, asked before it is promised. */
import { hostFull } from '../../domain/refusals.ts';

/** What the host has left. */
export interface HostCapacity {
  /** MiB of memory that can be given out before the host itself suffers. */
  availableMib(): number;
}

/** @throws LullError insufficient-capacity where the host has less than `neededMib` */
export function requireRoom(capacity: HostCapacity, neededMib: number): void {
  const availableMib = capacity.availableMib();
  if (availableMib >= neededMib) return;
  throw hostFull(`The host has ${availableMib} MiB of memory left and ${neededMib} MiB are needed; suspend or terminate others.`);
}
