/** QEMU as a {@link Driver}, with software emulation or KVM. */
import { chmod, chown, open, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ProcessIdentity } from '../../domain/microvm.ts';
import type { Confinement } from '../../domain/platform.ts';
import { isRunning, processesWithArgument, startDetached } from '../../host/process.ts';
import { AddressTakenError, VmmError, type BootSpec, type Driver, type Machine, type MachineSpec, type PlacementKey, type RamRegion, type RestoreSpec } from '../driver.ts';
import { agentChardev, bootArguments, CONTROL_FD, controlSocketPath, restoreArguments, type QemuTarget } from './command-line.ts';
import { openDisks } from './disk-files.ts';
import { handedOutPath, jailArguments, userOf, type JailUsers } from './jail.ts';
import { QemuMachine } from './qemu-machine.ts';
import { QmpClient } from './qmp.ts';

export interface QemuOptions {
  /** How QEMU is started: the private copy that set-up made (a loader, its library path, the program). */
  readonly command: readonly [string, ...string[]];
  /** Content hash of that copy. */
  readonly vmmId: string;
  /** `7.2.22`. */
  readonly version: string;
  /** The host-side aid `lull-host`, which starts QEMU so that a later server may read its memory. */
  readonly hostTool: string;
  /** `none` where the host tool cannot make a jail here. */
  readonly confinement: Confinement;
  /** Shared by the drivers of all copies. */
  readonly users: JailUsers;
  readonly accelerator: 'kvm' | 'tcg';
  readonly tscKhz: number;
  /** Model and feature flags of the host's CPU, hashed: matters to KVM guests. */
  readonly cpu: string;
  readonly architecture: string;
}

/** Above the server's, so that a host short of memory ends a microVM and not everybody's server. */
const OOM_SCORE_ADJUST = 500;

/** Bumped when the command line changes what the guest sees: older snapshots are then refused. */
const MACHINE_REVISION = 'qemu-microvm-2';

export function createQemuDriver(options: QemuOptions): Driver {
  const opensMemoryReadOnly = isAtLeast(options.version, FIRST_WITH_READ_ONLY_MEMORY);
  const target: QemuTarget = { accelerator: options.accelerator, tscKhz: options.tscKhz, opensMemoryReadOnly };
  return {
    name: 'qemu',
    opensMemoryReadOnly,
    ramRegions,
    accelerator: options.accelerator,
    confinement: options.confinement,
    placement: placementOf(options),
    boot: async (spec: BootSpec) => {
      await makeSparse(spec.memoryPath, spec.guestMemoryMib * 1024 * 1024);
      await writeFile(spec.consolePath, '', { mode: 0o600 });
      return await start({ options, target, spec, argumentsFor: (becoming) => bootArguments(spec, becoming) });
    },
    prepare: async (spec: RestoreSpec) => {
      await using deviceState = await open(spec.deviceStatePath, 'r');
      return await start({ options, target, spec, argumentsFor: (becoming) => restoreArguments(spec, becoming), stateFd: deviceState.fd });
    },
    adopt: (spec, identity) => adopt(spec, identity, options.users),
    processesBelow: (runtimeFolder) => processesWithArgument(agentChardev(`${runtimeFolder}/`)),
  };
}

interface Start {
  readonly options: QemuOptions;
  readonly target: QemuTarget;
  readonly spec: MachineSpec;
  /** @param becoming the target, with the user that this process becomes */
  readonly argumentsFor: (becoming: QemuTarget) => string[];
  readonly stateFd?: number;
}

/** Starts QEMU through the host tool, with the control connection (and the device state) as open files. */
async function start({ options, target, spec, argumentsFor, stateFd }: Start): Promise<Machine> {
  const { users } = options;
  const uid = options.confinement === 'own-user' ? users.take(spec.runDir) : undefined;
  const release = () => void (uid !== undefined && users.release(uid));
  try {
    await makeHandedOut(spec.runDir, uid);
    const jail = options.confinement === 'none' ? [] : jailArguments(spec, programFolder(options), target);
    const shim = [options.hostTool, 'exec', '--oom-score-adj', `${OOM_SCORE_ADJUST}`, ...tapArguments(spec), ...jail, '--'] as const;
    await using disks = await openDisks(spec);
    const stdio = ['ignore', 'ignore', 'pipe', 'pipe', stateFd ?? 'ignore', ...disks.fds] as const;
    const option = isAtLeast(options.version, FIRST_WITH_RUN_WITH_USER) ? 'run-with' : 'runas';
    const words = argumentsFor(uid === undefined ? target : { ...target, becomes: { uid, option } });
    const child = await startDetached([...shim, ...options.command, ...words], [...stdio]);
    const machine = await QemuMachine.started(child, child.stdio[CONTROL_FD] as Duplex, spec);
    void machine.exited.then(release);
    return machine;
  } catch (error) {
    release();
    if (error instanceof VmmError && TAKEN.test(error.message)) throw new AddressTakenError(error.message, { cause: error });
    throw error;
  }
}

/** What the host tool says of a tap whose guest has an address that is routed elsewhere. */
const TAKEN = /the address \S+ is taken/;

function tapArguments({ network }: MachineSpec): string[] {
  return network.kind === 'routed' ? ['--tap', `${network.device},${network.guestAddress}`] : [];
}

/** QEMU, its loader, libraries and firmware: `bin`, `lib` and `share` below it. */
const programFolder = ({ command }: QemuOptions) => dirname(dirname(command[0]));

/** Others pass through the folder, which is inside one that they cannot enter, to this file alone. */
async function makeHandedOut(runDir: string, uid: number | undefined): Promise<void> {
  const path = handedOutPath(runDir);
  await writeFile(path, '', { mode: 0o600 });
  if (uid === undefined) return;
  await chown(path, uid, uid);
  await chmod(runDir, 0o711);
}

/** Before it, `-runas`. */
const FIRST_WITH_RUN_WITH_USER: readonly [number, number] = [9, 1];
/** `rom=off` beside `readonly=on`: a file opened for reading under a mapping that the guest writes to. */
const FIRST_WITH_READ_ONLY_MEMORY: readonly [number, number] = [8, 2];

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ours = 0, theirs = 0] = version.split('.').map(Number);
  return ours > major || (ours === major && theirs >= minor);
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** The microvm machine keeps the fourth gibibyte for devices (hw/i386/microvm.c). */
const LOW_RAM_BYTES = 3 * GIB;

function ramRegions(guestMemoryMib: number): readonly RamRegion[] {
  const bytes = guestMemoryMib * MIB;
  const low: RamRegion = { physical: 0, fileOffset: 0, length: Math.min(bytes, LOW_RAM_BYTES) };
  if (bytes <= LOW_RAM_BYTES) return [low];
  return [low, { physical: 4 * GIB, fileOffset: LOW_RAM_BYTES, length: bytes - LOW_RAM_BYTES }];
}

function placementOf(options: QemuOptions): PlacementKey {
  return {
    architecture: options.architecture,
    driver: 'qemu',
    accelerator: options.accelerator,
    cpu: options.accelerator === 'kvm' ? options.cpu : 'max',
    vmm: options.vmmId,
    machine: MACHINE_REVISION,
    tscKhz: options.accelerator === 'tcg' ? options.tscKhz : 0,
  };
}

async function adopt(spec: MachineSpec, identity: ProcessIdentity, users: JailUsers): Promise<Machine | undefined> {
  if (!(await isRunning(identity))) return undefined;
  const stream = connect(controlSocketPath(spec.runDir));
  const qmp = new QmpClient(stream);
  let machine: QemuMachine;
  try {
    await qmp.negotiate();
    machine = await QemuMachine.adopted(identity, qmp, spec);
  } catch {
    qmp.close();
    return undefined;
  }
  const uid = await userOf(identity.pid);
  if (uid !== undefined) {
    users.claim(uid);
    void machine.exited.then(() => users.release(uid));
  }
  return machine;
}

/** A file of that length that takes no room yet. @throws where it exists already */
async function makeSparse(path: string, bytes: number): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await file.truncate(bytes);
}
