/** A guest for the driver's contract: this machine's own programs as its disk, a counting shell as its application. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { chmod, cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentSession } from '../../src/guest/agent-session.ts';
import type { Welcome } from '../../src/guest/messages.ts';
import { run } from '../../src/host/process.ts';
import { makeScratchDisk } from '../../src/image/root-disk.ts';
import { within } from '../../src/lib/deadline.ts';
import { Files } from '../../src/lib/files.ts';
import { chooseDriver } from '../../src/main/choose-driver.ts';
import { parseServerOptions } from '../../src/main/options.ts';
import { loadPlatform, platformFolder } from '../../src/setup/platform.ts';
import type { Driver, Machine, MachineSpec, NetworkAttachment } from '../../src/vmm/driver.ts';
import { makeBase } from '../integration/image-build-fixture.ts';

const MIB = 1024 ** 2;
export const GUEST_MIB = 256;
const SCRATCH_BYTES = 64 * MIB;
const LIMIT_MS = 60_000;

/** Says a number ten times a second; a guest that was restored goes on with the next one. */
const COUNTING = 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.1; done';

/** The machine's own settings: which folder holds the platform. */
export const surroundings = { env: { LULL_PLATFORM: process.env['LULL_PLATFORM'] }, uid: process.getuid!() };
export const machinePlatformFolder = () => platformFolder(process.env, process.getuid!());

/** QEMU with one accelerator, as a server would make it. */
export async function qemuDriver(accel: 'kvm' | 'tcg'): Promise<Driver> {
  const options = parseServerOptions({ config: 'none', driver: 'qemu', accel }, surroundings);
  const drivers = await chooseDriver(options, await loadPlatform(machinePlatformFolder()), () => Promise.resolve(accel === 'kvm'));
  return drivers.current;
}

/** The files of a saved guest. */
export interface SavedGuest {
  readonly folder: string;
  readonly memoryPath: string;
  readonly rootDiskPath: string;
  readonly scratchPath: string;
  readonly deviceStatePath: string;
  /** What the saved agent knows. */
  readonly secret: string;
  readonly bootId: string;
  /** What the application had counted to when it was frozen. */
  readonly counted: number;
}

/** Makes the disks in a folder: root.erofs, with more programs where named, and scratch.ext4. */
export async function makeDisks(folder: string, programs: readonly string[] = []): Promise<{ rootDiskPath: string; scratchPath: string }> {
  const [tree, rootDiskPath, scratchPath] = ['tree', 'root.erofs', 'scratch.ext4'].map((name) => join(folder, name)) as [string, string, string];
  const tar = makeBase(folder, programs);
  mkdirSync(tree);
  execFileSync('tar', ['--extract', '--file', tar, '--directory', tree]);
  await run(['mkfs.erofs', '--quiet', rootDiskPath, tree]);
  rmSync(tree, { recursive: true });
  await makeScratchDisk(new Files(), scratchPath, SCRATCH_BYTES);
  return { rootDiskPath, scratchPath };
}

/** What a session with the agent is for the tests. */
export interface Greeted extends AsyncDisposable {
  readonly session: AgentSession;
  readonly welcome: Welcome;
  /** The secret that the agent knows from now on. */
  readonly secret: string;
  /** Resolves with the next number that the application says. */
  readonly counted: () => Promise<number>;
  /** The last number that it said. */
  readonly last: () => number;
}

/** Opens the channel and greets the agent. @param options.restored also resumes, as after a restore */
export async function greet(machine: Machine, options: { secret: string; restored: boolean }): Promise<Greeted> {
  let waiting = Promise.withResolvers<number>();
  let last = 0;
  const secret = randomBytes(32).toString('hex');
  const connected = AgentSession.connect(await machine.dial(), {
    secret: options.secret,
    nextSecret: secret,
    ...(options.restored ? { restore: { resetConnections: true } } : {}),
    thaw: true,
    timeoutMs: LIMIT_MS,
    clock: { nowMs: () => Date.now() },
    random: { bytes: (length) => randomBytes(length) },
    onOutput: (_name, bytes) => {
      const numbers = [...bytes.toString().matchAll(/count (\d+)\n/g)].map((match) => Number(match[1]));
      if (numbers.length === 0) return;
      last = numbers.at(-1)!;
      waiting.resolve(numbers[0]!);
      waiting = Promise.withResolvers<number>();
    },
  });
  connected.catch(() => undefined);
  if (options.restored) await machine.resume();
  const session = await connected;
  return {
    session,
    welcome: session.welcome,
    secret,
    counted: () => within('a number from the application', LIMIT_MS, waiting.promise),
    last: () => last,
    [Symbol.asyncDispose]: () => session.close(),
  };
}

/** Boots a guest, lets it count, and saves it: nobody writes to the memory from then on. */
export async function saveGuest(driver: Driver, folder: string): Promise<SavedGuest> {
  const { kernel, initramfs } = await loadPlatform(machinePlatformFolder());
  const disks = await makeDisks(folder);
  const runDir = join(folder, 'boot');
  await mkdir(runDir, { mode: 0o700 });
  const memoryPath = join(folder, 'memory');
  const deviceStatePath = join(folder, 'device-state');
  const machine = await driver.boot({
    ...disks,
    guestMemoryMib: GUEST_MIB,
    vcpus: 1,
    memoryPath,
    runDir,
    network: { kind: 'none' },
    kernelPath: kernel.path,
    initramfsPath: initramfs.path,
    consolePath: join(folder, 'console'),
  });
  try {
    const { session, welcome, secret, counted, last } = await greet(machine, { secret: '', restored: false });
    const first = counted();
    const environment = { argv: ['sh', '-c', COUNTING], env: { PATH: '/usr/bin' }, cwd: '/', user: '', hostname: 'microvm' };
    await session.call('start', { ...environment, capabilities: 'default' });
    await first;
    await session.call('freeze', {});
    await session.call('quiesce', {}, { timeoutMs: LIMIT_MS });
    await session.close();
    await machine.hungUp();
    await machine.pause();
    await machine.saveDeviceState(deviceStatePath);
    // As snapshots are kept: a driver that opens it for writing too could not, unless root.
    await chmod(memoryPath, driver.opensMemoryReadOnly ? 0o444 : 0o600);
    return { folder, ...disks, memoryPath, deviceStatePath, secret, bootId: welcome.bootId, counted: last() };
  } finally {
    await machine.kill();
  }
}

/** A specification for one restore, with a scratch disk and a runtime folder of its own. */
export async function specFor(guest: SavedGuest, name: string, network: NetworkAttachment = { kind: 'none' }): Promise<MachineSpec & { deviceStatePath: string }> {
  const runDir = join(guest.folder, name);
  await mkdir(runDir, { mode: 0o700 });
  const scratchPath = join(runDir, 'scratch.ext4');
  await cp(guest.scratchPath, scratchPath);
  const { memoryPath, rootDiskPath, deviceStatePath } = guest;
  return { guestMemoryMib: GUEST_MIB, vcpus: 1, memoryPath, rootDiskPath, scratchPath, runDir, network, deviceStatePath };
}
