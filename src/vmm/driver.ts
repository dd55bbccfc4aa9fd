/**
 * The seam to a hypervisor. A driver boots a guest once for its image, restores any number of guests from the files that
 * came out of it, and hands out {@link Machine}s: one VMM process each. It only saves and loads device state; guest memory is
 * a file that both kinds of machine map, and its pages are the runtime's business.
 */
import type { Duplex } from 'node:stream';
import type { DiskFault, ProcessIdentity } from '../domain/microvm.ts';
import type { GuestNetwork } from '../domain/network-connector.ts';
import type { Confinement } from '../domain/platform.ts';
import type { MemoryMapping } from '../host/memory.ts';

/** How a guest's network card is connected. A snapshot fits every one of these (the card is saved without a backend). */
export type NetworkAttachment =
  /** {@link AddressTakenError} where the address of one that is routed is another's. */
  | GuestNetwork
  /** QEMU's own user network, cut off from host and world: for tests of the snapshot only. */
  | { readonly kind: 'user-restricted' }
  /** The Unix socket of a passt process. */
  | { readonly kind: 'passt'; readonly socketPath: string };

/** What a machine is made of. Paths are absolute. */
export interface MachineSpec {
  readonly guestMemoryMib: number;
  readonly vcpus: number;
  /** Guest memory, one byte per guest byte: written while an image boots, mapped copy-on-write ever after. */
  readonly memoryPath: string;
  /** EROFS, read only. */
  readonly rootDiskPath: string;
  /** ext4, the guest's own. */
  readonly scratchPath: string;
  /** A 0700 folder with a short path, for sockets (a Unix socket's path has at most 107 bytes). */
  readonly runDir: string;
  readonly network: NetworkAttachment;
}

export interface BootSpec extends MachineSpec {
  readonly kernelPath: string;
  readonly initramfsPath: string;
  /** File for the kernel's console. */
  readonly consolePath: string;
}

export interface RestoreSpec extends MachineSpec {
  /** What {@link Machine.saveDeviceState} wrote. */
  readonly deviceStatePath: string;
}

/** A stretch of guest-physical addresses that is RAM, and where in the memory file it is. In bytes. */
export interface RamRegion {
  readonly physical: number;
  readonly fileOffset: number;
  readonly length: number;
}

/** A queue of buffers between guest and device: VIRTIO 1.2, section 2.7. Guest-physical addresses. */
export interface Virtqueue {
  readonly descriptors: number;
  readonly available: number;
  /** How many buffers it may hold. */
  readonly size: number;
  /** Index of the first available buffer that the device has not taken. */
  readonly nextAvailable: number;
}

/**
 * What must be equal for a snapshot to be restored (design, "Placement key"). A mismatch is refused, never tried.
 */
export interface PlacementKey {
  readonly architecture: string;
  readonly driver: string;
  readonly accelerator: string;
  readonly cpu: string;
  readonly vmm: string;
  readonly machine: string;
  /** Under TCG only, in kHz, and equal within 1 %; 0 elsewhere. */
  readonly tscKhz: number;
}

export interface Driver {
  readonly name: 'qemu' | 'firecracker';
  readonly accelerator: 'kvm' | 'tcg';
  readonly placement: PlacementKey;
  readonly confinement: Confinement;
  /**
   * False where the hypervisor opens an image's memory for writing although it maps it copy-on-write: the file must then
   * stay writable for its owner, and a hypervisor that a guest has broken into could change it.
   */
  readonly opensMemoryReadOnly: boolean;
  /** The guest's memory map, in order of the memory file. */
  ramRegions(guestMemoryMib: number): readonly RamRegion[];
  /** Starts a guest from kernel and initramfs with its memory in `memoryPath` (made here, sparse). It runs at once. */
  boot(spec: BootSpec): Promise<Machine>;
  /** Starts a process with `memoryPath` mapped privately, paused, its device state not yet loaded. */
  prepare(spec: RestoreSpec): Promise<Machine>;
  /** Takes over a process that an earlier server started from the same spec; undefined where it no longer answers. */
  adopt(spec: MachineSpec, identity: ProcessIdentity): Promise<Machine | undefined>;
  /** Every process of this driver whose sockets are below `runtimeFolder`, whoever started it. */
  processesBelow(runtimeFolder: string): Promise<readonly ProcessIdentity[]>;
}

/** The driver of all that is made anew, and those of what was made with an older copy of its VMM. */
export interface Drivers {
  readonly current: Driver;
  /**
   * The driver whose placement has this `vmm`.
   * @throws LullError not-found, naming the mend, where there is no such copy (any more)
   */
  withVmm(vmmId: string): Promise<Driver>;
}

/** One VMM process. Every call that may hang has a limit and names itself in its error. */
export interface Machine {
  readonly identity: ProcessIdentity;
  /** Resolves, with the end of what the process said, when it is gone for whatever reason. */
  readonly exited: Promise<string>;
  /** Where the guest's memory is mapped in the process; for a prepared or adopted machine. */
  mappings(): MemoryMapping[];
  /** Loads the device state into a prepared machine, which stays paused. Memory pages are written before or after. */
  loadDeviceState(): Promise<void>;
  /** Writes the device state of a paused machine. */
  saveDeviceState(path: string): Promise<void>;
  /** Set while the machine stands still because a disk of it could not be written or read: {@link resume} has it try once more. */
  readonly diskFault: DiskFault | undefined;
  /** Calls back each time that it is stopped so. */
  onDiskFault(listener: (fault: DiskFault) => void): void;
  /** The queues from which devices of a paused machine take buffers to write into; none where the VMM cannot tell. */
  receiveQueues(): Promise<readonly Virtqueue[]>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Opens the agent's channel. One at a time: the previous one must be closed. */
  dial(): Promise<Duplex>;
  /** Resolves when the process has noticed that the channel was closed: memory may be saved only then. */
  hungUp(): Promise<void>;
  /** Ends the process at once and waits until it is gone. */
  kill(): Promise<void>;
  /** Lets go of the process without ending it. */
  detach(): void;
}

/** The address of a guest is another's. */
export class AddressTakenError extends Error {
  override readonly name = 'AddressTakenError';
}

/** A VMM that did not do what it was asked. */
export class VmmError extends Error {
  override readonly name = 'VmmError';
}
