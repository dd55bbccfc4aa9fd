/** A {@link Driver} whose machines are small processes (`fake-vmm.py`): real memory, files and sockets, no guest. */
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ProcessIdentity } from '../../src/domain/microvm.ts';
import { mappingsOf } from '../../src/host/memory.ts';
import { endProcess, identityOf, isRunning, processesWithArgument, startDetached } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import { VmmError, type Driver, type Machine, type MachineSpec, type RestoreSpec } from '../../src/vmm/driver.ts';

const PROGRAM = join(import.meta.dirname, 'fake-vmm.py');
const ORDER_LIMIT_MS = 10_000;
const START_LIMIT_MS = 10_000;
const HANG_UP_QUESTIONS = 1000;

const controlPath = (spec: MachineSpec) => join(spec.runDir, 'control.sock');
const agentPath = (spec: MachineSpec) => join(spec.runDir, 'agent.sock');

export const fakeDriver: Driver = {
  name: 'qemu',
  accelerator: 'tcg',
  placement: { architecture: 'x86_64', driver: 'fake', accelerator: 'tcg', cpu: 'none', vmm: 'fake', machine: 'fake-1', tscKhz: 1000 },
  confinement: 'none',
  opensMemoryReadOnly: true,
  ramRegions: (guestMemoryMib) => [{ physical: 0, fileOffset: 0, length: guestMemoryMib * 1024 ** 2 }],
  boot: async (spec) => {
    {
      await using file = await open(spec.memoryPath, 'wx', 0o600);
      await file.truncate(spec.guestMemoryMib * 1024 ** 2);
    }
    return start('boot', spec);
  },
  prepare: async (spec) => start('restore', spec, spec),
  adopt: async (spec, identity) => {
    if (!(await isRunning(identity))) return undefined;
    const control = await connected(controlPath(spec)).catch(() => undefined);
    return control && new FakeMachine({ identity, control, spec });
  },
  processesBelow: (runtimeFolder) => processesWithArgument(`agent=${runtimeFolder}/`),
};

async function start(mode: 'boot' | 'restore', spec: MachineSpec, restore?: RestoreSpec): Promise<Machine> {
  const words = [mode, spec.memoryPath, `${spec.guestMemoryMib * 1024 ** 2}`, controlPath(spec), `agent=${agentPath(spec)}`, spec.scratchPath];
  const child = await startDetached(['python3', '-I', '-S', PROGRAM, ...words], ['ignore', 'pipe', 'inherit']);
  const exited = once(child, 'exit');
  try {
    const ready = once(createInterface({ input: child.stdout! }), 'line');
    await within('the fake VMM', START_LIMIT_MS, Promise.race([ready, exited.then(() => Promise.reject(new VmmError('the VMM ended at once')))]));
    const identity = await identityOf(child.pid!);
    if (identity === undefined) throw new VmmError('the VMM ended at once');
    return new FakeMachine({ identity, control: await connected(controlPath(spec)), spec, statePath: restore?.deviceStatePath });
  } catch (error) {
    child.kill('SIGKILL');
    await exited;
    throw error;
  }
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  return socket;
}

interface Reply {
  readonly ok?: Record<string, unknown>;
  readonly error?: string;
}

interface FakeParts {
  readonly identity: ProcessIdentity;
  readonly control: Socket;
  readonly spec: MachineSpec;
  readonly statePath?: string | undefined;
}

class FakeMachine implements Machine {
  readonly identity: ProcessIdentity;
  readonly exited: Promise<string>;
  readonly #parts: FakeParts;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  #isGone = false;
  #lastId = 0;

  constructor(parts: FakeParts) {
    this.identity = parts.identity;
    this.#parts = parts;
    const { control } = parts;
    const gone = Promise.withResolvers<string>();
    this.exited = gone.promise;
    control
      .on('error', () => undefined)
      .once('close', () => {
        this.#isGone = true;
        for (const settle of this.#replies.values()) settle({ error: 'the VMM is gone' });
        gone.resolve('');
      });
    const lines = createInterface({ input: control }).on('error', () => undefined);
    lines.on('line', (line) => {
      const reply = JSON.parse(line) as Reply & { id: number };
      this.#replies.get(reply.id)?.(reply);
    });
  }

  mappings() {
    const found = mappingsOf(this.identity.pid, this.#parts.spec.memoryPath);
    if (found.length === 0) throw new VmmError('the VMM maps no memory');
    return found;
  }

  readonly diskFault = undefined;
  onDiskFault = () => undefined;
  loadDeviceState = () => this.#order('load', this.#parts.statePath).then(() => undefined);
  saveDeviceState = (path: string) => this.#order('save', path).then(() => undefined);
  receiveQueues = async () => [];
  pause = () => this.#order('pause').then(() => undefined);
  resume = () => this.#order('resume').then(() => undefined);
  dial = () => connected(agentPath(this.#parts.spec));

  async hungUp(): Promise<void> {
    for (let asked = 0; asked < HANG_UP_QUESTIONS; asked += 1) if ((await this.#order('channel'))['connected'] === false) return;
    throw new VmmError('the VMM does not notice that the channel was closed');
  }

  async kill(): Promise<void> {
    await endProcess(this.identity);
    await this.exited;
  }

  detach(): void {
    this.#parts.control.destroy();
  }

  async #order(op: string, path?: string): Promise<Record<string, unknown>> {
    if (this.#isGone) throw new VmmError('the VMM is gone');
    const id = (this.#lastId += 1);
    const reply = new Promise<Reply>((resolve) => this.#replies.set(id, resolve));
    this.#parts.control.write(`${JSON.stringify({ id, op, path })}\n`);
    const { ok, error } = await within(`${op} of the VMM`, ORDER_LIMIT_MS, reply).finally(() => this.#replies.delete(id));
    if (error !== undefined) throw new VmmError(`${op}: ${error}`);
    return ok!;
  }
}
