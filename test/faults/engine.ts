/** An engine in a process of its own, as the tests of crashes lead it, and what is left on its folders. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import type { EngineCalls, EngineFolders, Rows } from './engine-process.ts';
import { machinesBelow, type Done, type Fault } from './fault-port.ts';

const PROGRAM = join(import.meta.dirname, 'engine-process.ts');
/** Of five hundred that wait for each other, the last one too. */
const CALL_LIMIT_MS = 180_000;

/** Engines start by the hundred: what Node makes of the sources is made once. */
const compiled = mkdtempSync('/var/tmp/lull-c-');
process.once('exit', () => rmSync(compiled, { recursive: true, force: true }));

type Result<C extends keyof EngineCalls> = ReturnType<EngineCalls[C]>;

/** The engine was killed while it did what was asked. */
export class Killed extends Error {}

/** See the file's head. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #ready: Promise<unknown>;
  readonly #waiting = new Map<number, PromiseWithResolvers<never>>();
  readonly ended: Promise<unknown>;
  #lastId = 0;

  /** Starts one that imports what it needs and then waits. */
  constructor() {
    const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
    this.#child = fork(PROGRAM, { env, execArgv: ['--disable-warning=ExperimentalWarning'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#ready = once(this.#child, 'message');
    this.ended = once(this.#child, 'exit').then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Killed('the engine was killed'));
    });
    this.#child.on('message', (reply: { id: number; result?: never; error?: string }) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (reply.error === undefined) waiting?.resolve(reply.result as never);
      else waiting?.reject(new Error(reply.error));
    });
  }

  async call<C extends keyof EngineCalls>(call: C, ...given: Parameters<EngineCalls[C]>): Promise<Result<C>> {
    await this.#ready;
    const id = (this.#lastId += 1);
    const reply = Promise.withResolvers<never>();
    reply.promise.catch(() => undefined);
    this.#waiting.set(id, reply);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) reply.reject(new Killed('the engine was killed'));
    else this.#child.send({ id, call, given }, (error) => error && reply.reject(new Killed(error.message)));
    return await within(`${call} of the engine`, CALL_LIMIT_MS, reply.promise);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** The folders of one engine, and the engine that is open on them. */
export class Engine implements AsyncDisposable {
  readonly folders: EngineFolders;
  readonly #root: string;
  #standby = new EngineProcess();
  #process: EngineProcess | undefined;
  /** How long each start took, in milliseconds, from the moment it was asked for until everything was settled. */
  readonly startMs: number[] = [];

  private constructor(root: string) {
    this.#root = root;
    this.folders = { data: join(root, 'data'), runtime: join(root, 'run'), work: join(root, 'work') };
  }

  /** An engine on empty folders, or on a copy of another's data. */
  static async make(from?: Engine): Promise<Engine> {
    const engine = new Engine(await mkdtemp('/var/tmp/lull-f-'));
    // Node's own copy would fill the holes of the disks.
    if (from !== undefined) await run(['cp', '--archive', '--sparse=always', from.folders.data, engine.folders.data]);
    return engine;
  }

  /** @returns the steps of the start @throws Killed where the fault ended it */
  async start(fault: Fault | null = null): Promise<readonly Done[]> {
    const process = this.#standby;
    this.#standby = new EngineProcess();
    this.#process = process;
    const startMs = performance.now();
    const { done } = await process.call('open', this.folders, fault);
    this.startMs.push(performance.now() - startMs);
    return done;
  }

  call<C extends keyof EngineCalls>(call: C, ...given: Parameters<EngineCalls[C]>): Promise<Result<C>> {
    return this.#process!.call(call, ...given);
  }

  async stop(): Promise<void> {
    await this.#process?.call('stop');
    await this.#process?.kill();
    this.#process = undefined;
  }

  /** Waits for the end of one that killed itself. */
  async killed(): Promise<void> {
    await this.#process!.kill();
    this.#process = undefined;
  }

  /** What nobody owns, and what is missing; nothing where all is well. */
  async strays(): Promise<readonly string[]> {
    const rows = await this.call('rows');
    return [...(await straysOfMicrovms(this.folders, rows)), ...(await straysOfImages(this.folders, rows))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#standby.kill(), this.#process?.kill()]);
    for (const pid of machinesBelow(this.folders.runtime)) process.kill(pid, 'SIGKILL');
    await rm(this.#root, { recursive: true, force: true });
  }
}

const namesIn = (folder: string) => readdir(folder).catch((): string[] => []);

const difference = (what: string, found: readonly string[], wanted: readonly string[]): string[] => [
  ...found.filter((name) => !wanted.includes(name)).map((name) => `${what}: ${name} has no owner`),
  ...wanted.filter((name) => !found.includes(name)).map((name) => `${what}: ${name} is missing`),
];

async function straysOfMicrovms({ data, runtime }: EngineFolders, { microvms }: Rows): Promise<string[]> {
  const living = microvms.filter(({ state }) => state !== 'TERMINATED');
  const running = living.filter(({ state }) => state === 'RUNNING');
  const found = difference('folder', await namesIn(join(data, 'microvms')), living.map(({ id }) => id));
  for (const { id, state, generation } of living) {
    const kept = (await namesIn(join(data, 'microvms', id))).filter((name) => name !== 'agent-secret.json');
    // One that was woken keeps what it was woken from until it sleeps again.
    const last = `gen-${generation}`;
    const wanted = state === 'SUSPENDED' || kept.includes(last) ? ['scratch.ext4', last] : ['scratch.ext4'];
    found.push(...difference(`files of ${state}`, kept, wanted));
    if (wanted.includes(last)) found.push(...difference(last, await namesIn(join(data, 'microvms', id, last)), ['device-state', 'memory.diff', 'manifest.json']));
  }
  const pids = machinesBelow(runtime).map(String);
  found.push(...difference('process', pids, running.map(({ pid }) => `${pid}`)));
  const [own = ''] = await namesIn(runtime);
  found.push(...difference('sockets', await namesIn(join(runtime, own)), running.map(({ id }) => id.replace('microvm-', ''))));
  return found;
}

async function straysOfImages({ data, work }: EngineFolders, { versions, blobs }: Rows): Promise<string[]> {
  // The log of a build that a crash cut off goes with its files; of another that failed it stays.
  const folders = await namesIn(join(data, 'images'));
  const owned = versions.filter(({ snapshotId, state }) => state === 'SUCCESSFUL' || folders.includes(snapshotId));
  const found = difference('image', folders, owned.map(({ snapshotId }) => snapshotId));
  for (const { snapshotId, state } of versions) {
    // Its row says what is left to do, and it can be asked for again.
    if (state === 'DELETING' || state === 'DELETE_FAILED') continue;
    const files = (await namesIn(join(data, 'images', snapshotId))).filter((name) => name !== 'build.ndjson' && name !== 'console.log');
    const wanted = state === 'SUCCESSFUL' ? ['memory', 'device-state', 'root.erofs', 'scratch.ext4', 'manifest.json'] : [];
    found.push(...difference(`files of a version that is ${state}`, files, wanted));
  }
  const pool = (await namesIn(join(data, 'root-disks'))).filter((name) => statSync(join(data, 'root-disks', name)).nlink === 1);
  found.push(...difference('root disk', pool, []));
  found.push(...difference('blob', await namesIn(join(data, 'objects')), blobs));
  found.push(...difference('unpacked artifact', await namesIn(join(work, 'contexts')), []));
  const rest = (await namesIn(data)).filter((name) => name.endsWith('.tmp') || name.endsWith('.partial'));
  found.push(...difference('data folder', rest, []));
  return found;
}

export const assertNoStrays = async (engine: Engine, because: string) => assert.deepEqual(await engine.strays(), [], because);
