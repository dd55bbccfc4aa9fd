/**
 * A microVM by hand: what somebody would do with a shell, QEMU and a snapshot, and nothing of Lull between. The command line, the
 * files and the HTTP client are the same; there is no server, no record, no TLS, and nothing is kept for a crash.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, rm, stat, watch } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { AgentSession } from '../guest/agent-session.ts';
import { run, tailOf } from '../host/process.ts';
import { within } from '../lib/deadline.ts';
import type { SnapshotFiles } from '../runtime/data-layout.ts';
import type { SnapshotManifest } from '../runtime/manifests.ts';
import type { MachineSpec } from '../vmm/driver.ts';
import { agentSocketPath, CONTROL_FD, restoreArguments, STATE_FD } from '../vmm/qemu/command-line.ts';
import { openDisks } from '../vmm/qemu/disk-files.ts';
import { QmpClient, type QmpEvent } from '../vmm/qemu/qmp.ts';
import { get } from './endpoint-call.ts';

/** A finished image version as its files are. */
export interface RawImage {
  readonly files: SnapshotFiles;
  readonly manifest: SnapshotManifest;
}

/** How QEMU is started by hand. */
export interface RawRecipe {
  readonly command: readonly [string, ...string[]];
  readonly accelerator: 'kvm' | 'tcg';
  /** A folder with a short path, for sockets and disks. */
  readonly folder: string;
}

const APPLICATION_PORT = 8080;
const STEP_LIMIT_MS = 60_000;
const SAVE_LIMIT_MS = 300_000;

let started = 0;

/** One QEMU process with its own copy of the image's disk. */
export class RawMachine implements AsyncDisposable {
  /** Of every request. */
  readonly headers = { host: `localhost:${APPLICATION_PORT}` };
  readonly #child: ChildProcess;
  readonly #qmp: QmpClient;
  readonly #session: AgentSession;
  readonly #folder: string;

  private constructor(parts: { child: ChildProcess; qmp: QmpClient; session: AgentSession; folder: string }) {
    this.#child = parts.child;
    this.#qmp = parts.qmp;
    this.#session = parts.session;
    this.#folder = parts.folder;
  }

  /** Launches and asks once. @returns the machine, and the milliseconds until the whole first answer was there */
  static async launch(recipe: RawRecipe, { files, manifest }: RawImage): Promise<{ machine: RawMachine; ms: number }> {
    const folder = join(recipe.folder, `${(started += 1)}`);
    await mkdir(folder, { mode: 0o700 });
    const spec: MachineSpec = {
      guestMemoryMib: manifest.guestMemoryMib,
      vcpus: manifest.vcpus,
      memoryPath: files.memory,
      rootDiskPath: files.rootDisk,
      scratchPath: join(folder, 'scratch.ext4'),
      runDir: folder,
      network: { kind: 'none' },
    };
    const startMs = performance.now();
    await run(['cp', '--reflink=auto', '--sparse=always', '--no-preserve=mode', '--', files.scratch, spec.scratchPath]);
    const child = await start(recipe, spec, files.deviceState);
    const said = tailOf(child.stderr!);
    try {
      const qmp = new QmpClient(child.stdio[CONTROL_FD] as Duplex);
      const session = await restore(qmp, spec, manifest.agentSecret);
      const machine = new RawMachine({ child, qmp, session, folder });
      await machine.ask('/');
      return { machine, ms: performance.now() - startMs };
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`the launch by hand failed: ${said().trim()}`, { cause: error });
    }
  }

  async ask(path: string): Promise<string> {
    return get(await this.open(), path, this.headers);
  }

  /** A connection to the application over the agent's channel. */
  open(): Promise<Duplex> {
    return this.#session.openTcp(APPLICATION_PORT);
  }

  /** Stops the guest and writes all of its memory to a file, durably, its disk too. @returns milliseconds and the file's size */
  async saveWhole(): Promise<{ ms: number; bytes: number }> {
    const qmp = this.#qmp;
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
    const [partial, path] = [join(this.#folder, 'partial'), join(this.#folder, 'saved')];
    const startMs = performance.now();
    const written = appearance(path);
    await qmp.execute('stop');
    const saved = qmp.event('save', SAVE_LIMIT_MS, isSettled);
    saved.catch(() => undefined);
    await qmp.execute('migrate', { uri: `exec:cat >${partial} && mv ${partial} ${path}` });
    const { data } = await saved;
    if (data['status'] !== 'completed') throw new Error('QEMU could not save the guest');
    await written;
    for (const file of [path, join(this.#folder, 'scratch.ext4'), this.#folder]) await fsync(file);
    const ms = performance.now() - startMs;
    return { ms, bytes: (await stat(path)).size };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function start({ command, accelerator }: RawRecipe, spec: MachineSpec, deviceState: string): Promise<ChildProcess> {
  // The TSC's frequency is told to a kernel that boots; here none does.
  const args = restoreArguments(spec, { accelerator, tscKhz: 0, opensMemoryReadOnly: false });
  // The program that the whole of memory is piped to.
  const allowed = args.map((word, index) => (args[index - 1] === '-sandbox' ? 'on' : word));
  await using state = await open(deviceState, 'r');
  await using disks = await openDisks(spec);
  return spawn(command[0], [...command.slice(1), ...allowed], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', state.fd, ...disks.fds], cwd: '/' });
}

/** From a process that has just been started to a guest whose agent has answered. */
async function restore(qmp: QmpClient, spec: MachineSpec, secret: string): Promise<AgentSession> {
  await qmp.negotiate();
  await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  const loaded = qmp.event('device state', STEP_LIMIT_MS, isSettled);
  loaded.catch(() => undefined);
  await qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` });
  const { data } = await loaded;
  if (data['status'] !== 'completed') throw new Error('QEMU refused the device state');
  const channel = connect(agentSocketPath(spec.runDir));
  await within('agent channel', STEP_LIMIT_MS, once(channel, 'connect'));
  const session = AgentSession.connect(channel, {
    secret,
    restore: { resetConnections: true },
    thaw: true,
    timeoutMs: STEP_LIMIT_MS,
    clock: { nowMs: Date.now },
    random: { bytes: randomBytes },
  });
  session.catch(() => undefined);
  await qmp.execute('cont');
  return session;
}

const isSettled = ({ event, data }: QmpEvent) => event === 'MIGRATION' && (data['status'] === 'completed' || data['status'] === 'failed');

/** Resolves when the file is there: begin to wait before it may be. */
async function appearance(path: string): Promise<void> {
  for await (const { filename } of watch(dirname(path), { signal: AbortSignal.timeout(SAVE_LIMIT_MS) })) {
    if (filename === basename(path)) return;
  }
}

async function fsync(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}
