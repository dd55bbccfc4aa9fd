/** One QEMU process. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants, open, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import type { DiskFault, ProcessIdentity } from '../../domain/microvm.ts';
import { mappingsOf, type MemoryMapping } from '../../host/memory.ts';
import { endProcess, identityOf, tailOf } from '../../host/process.ts';
import { within } from '../../lib/deadline.ts';
import { VmmError, type Machine, type MachineSpec, type Virtqueue } from '../driver.ts';
import { agentSocketPath, SERIAL_DEVICE, SERIAL_RECEIVE_QUEUES, STATE_FD } from './command-line.ts';
import { handedOutPath } from './jail.ts';
import { QmpClient, type QmpEvent } from './qmp.ts';

const STATE_LIMIT_MS = 30_000;
const DIAL_LIMIT_MS = 10_000;
/** It is some 17 KB. */
const MAX_STATE_BYTES = 4 * 1024 ** 2;

const HANG_UP_QUESTIONS = 1000;

const chardevList = z.array(z.object({ label: z.string(), filename: z.string() }));

/** qapi/block-core.json of QEMU: an input or output error, and what was done about it. */
const blockError = z.object({ action: z.string(), nospace: z.boolean().optional() });
/** qapi/run-state.json: `io-error` is a machine that such an error has stopped. */
const runState = z.object({ status: z.string() });
const blockList = z.array(z.object({ 'io-status': z.string().optional() }));
const MAX_QUEUE_SIZE = 32_768;
const queueStatus = z.object({
  'vring-desc': z.int().nonnegative(),
  'vring-avail': z.int().nonnegative(),
  'vring-num': z.int().min(1).max(MAX_QUEUE_SIZE),
  'last-avail-idx': z.int().nonnegative(),
});

/** Harmless words: the state has no vmdescription section, which nothing needs, and the network card may have no backend. */
const EXPECTED_NOISE = /Expected vmdescription section|nic virtio-net-device\.0 has no peer/;

interface Parts {
  readonly identity: ProcessIdentity;
  readonly qmp: QmpClient;
  readonly spec: MachineSpec;
  /** The end of what the process said on standard error. */
  readonly said: () => string;
}

/** See {@link Machine}. */
export class QemuMachine implements Machine {
  readonly identity: ProcessIdentity;
  readonly exited: Promise<string>;
  readonly #qmp: QmpClient;
  readonly #spec: MachineSpec;
  readonly #diskListeners = new Set<(fault: DiskFault) => void>();
  #diskFault: DiskFault | undefined;

  private constructor(parts: Parts) {
    this.identity = parts.identity;
    this.#qmp = parts.qmp;
    this.#spec = parts.spec;
    this.exited = parts.qmp.closed.then(() => parts.said());
    parts.qmp.onEvent((event) => this.#noteDiskFault(event));
  }

  /**
   * A process that was just started and inherited the other end of `control`.
   * @throws VmmError with QEMU's words where it ends instead of greeting
   */
  static async started(child: ChildProcess, control: Duplex, spec: MachineSpec): Promise<QemuMachine> {
    const tail = tailOf(child.stderr!);
    const said = () => tail().split('\n').filter((line) => !EXPECTED_NOISE.test(line)).join('\n').trim();
    const exit = once(child, 'exit').catch(() => undefined);
    const qmp = new QmpClient(control);
    try {
      await qmp.negotiate();
      const identity = await identityOf(child.pid!);
      if (identity === undefined) throw new VmmError('QEMU ended at once');
      return new QemuMachine({ identity, qmp, spec, said });
    } catch (error) {
      child.kill('SIGKILL');
      await exit;
      throw new VmmError(`QEMU did not start: ${said() || String(error)}`, { cause: error });
    }
  }

  /** A process that an earlier server started. */
  static async adopted(identity: ProcessIdentity, qmp: QmpClient, spec: MachineSpec): Promise<QemuMachine> {
    const machine = new QemuMachine({ identity, qmp, spec, said: () => '' });
    const { status } = runState.parse(await qmp.execute('query-status'));
    if (status !== 'io-error') return machine;
    const blocks = blockList.parse(await qmp.execute('query-block'));
    machine.#diskFault = blocks.some((block) => block['io-status'] === 'nospace') ? 'full' : 'failed';
    return machine;
  }

  get diskFault(): DiskFault | undefined {
    return this.#diskFault;
  }

  onDiskFault(listener: (fault: DiskFault) => void): void {
    this.#diskListeners.add(listener);
  }

  mappings(): MemoryMapping[] {
    const mappings = mappingsOf(this.identity.pid, this.#spec.memoryPath);
    const mapped = mappings.reduce((sum, mapping) => sum + mapping.length, 0);
    const expected = this.#spec.guestMemoryMib * 1024 * 1024;
    if (mapped !== expected) throw new VmmError(`QEMU maps ${mapped} bytes of guest memory privately, not ${expected}`);
    return mappings;
  }

  async loadDeviceState(): Promise<void> {
    await this.#qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    const settled = this.#qmp.event('device state load', STATE_LIMIT_MS, isMigrationEnd);
    settled.catch(() => undefined);
    await this.#qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` });
    const { data } = await settled;
    if (data['status'] !== 'completed') throw new VmmError('QEMU refused the device state');
  }

  async saveDeviceState(path: string): Promise<void> {
    const handedOut = handedOutPath(this.#spec.runDir);
    await this.#qmp.execute('xen-save-devices-state', { filename: handedOut, live: true });
    await writeFile(path, await readHandedOut(handedOut), { flag: 'wx', mode: 0o600 });
  }

  async receiveQueues(): Promise<readonly Virtqueue[]> {
    const queues: Virtqueue[] = [];
    for (const queue of SERIAL_RECEIVE_QUEUES) {
      // For people who look for bugs, by its name: a QEMU that has it no more costs a sleep some pages, and nothing else.
      const answer = await this.#qmp.execute('x-query-virtio-queue-status', { path: SERIAL_DEVICE, queue }).catch(() => undefined);
      const { data: status } = queueStatus.safeParse(answer);
      if (status === undefined) continue;
      queues.push({ descriptors: status['vring-desc'], available: status['vring-avail'], size: status['vring-num'], nextAvailable: status['last-avail-idx'] });
    }
    return queues;
  }

  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    this.#diskFault = undefined;
    await this.#qmp.execute('cont');
  }

  async dial(): Promise<Duplex> {
    const socket = connect(agentSocketPath(this.#spec.runDir));
    await within('connection to the agent', DIAL_LIMIT_MS, once(socket, 'connect'));
    return socket;
  }

  async hungUp(): Promise<void> {
    // No event tells of it, but QEMU sees the end of the connection before, or with, the next question.
    for (let asked = 0; asked < HANG_UP_QUESTIONS; asked += 1) {
      const chardevs = chardevList.parse(await this.#qmp.execute('query-chardev'));
      if (chardevs.some(({ label, filename }) => label === 'agent' && filename.startsWith('disconnected:'))) return;
    }
    throw new VmmError('QEMU does not notice that the agent channel was closed');
  }

  async kill(): Promise<void> {
    await endProcess(this.identity);
    await this.exited;
  }

  detach(): void {
    this.#qmp.close();
  }

  /** There is one event for each request that failed. */
  #noteDiskFault({ event, data }: QmpEvent): void {
    if (event !== 'BLOCK_IO_ERROR') return;
    const { data: error } = blockError.safeParse(data);
    if (error?.action !== 'stop' || this.#diskFault !== undefined) return;
    this.#diskFault = error.nospace === true ? 'full' : 'failed';
    for (const listener of this.#diskListeners) listener(this.#diskFault);
  }
}

/** A QEMU that a guest has broken into may have put anything in the file's place. */
async function readHandedOut(path: string): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const about = await file.stat();
  if (!about.isFile()) throw new VmmError('QEMU gave its device state as something that is no file');
  // It may grow while it is read.
  const bytes = Buffer.alloc(Math.min(about.size, MAX_STATE_BYTES) + 1);
  let length = 0;
  for (let got = 1; got > 0 && length < bytes.length; length += got) got = (await file.read(bytes, length, bytes.length - length)).bytesRead;
  if (length > about.size || length > MAX_STATE_BYTES) throw new VmmError(`QEMU gave more than ${MAX_STATE_BYTES} bytes of device state, or goes on writing it`);
  return bytes.subarray(0, length);
}

const isMigrationEnd = (event: QmpEvent) =>
  event.event === 'MIGRATION' && (event.data['status'] === 'completed' || event.data['status'] === 'failed');
