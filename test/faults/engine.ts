/** An engine in a process of its own, as the tests of crashes lead it, and what is left on its folders. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/host/process.ts';
import { Calls, type Result } from './calls.ts';
import type { EngineCalls, EngineFolders } from './engine-process.ts';
import { machinesBelow, type Done, type Fault } from './fault-port.ts';
import { straysOf } from './strays.ts';

const PROGRAM = join(import.meta.dirname, 'engine-process.ts');

/** Engines start by the hundred: what Node makes of the sources is made once. */
const compiled = mkdtempSync('/var/tmp/lull-c-');
process.once('exit', () => rmSync(compiled, { recursive: true, force: true }));

/** See the file's head. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #ready: Promise<unknown>;
  readonly #calls: Calls<EngineCalls>;

  /** Starts one that imports what it needs and then waits. */
  constructor() {
    const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
    this.#child = fork(PROGRAM, { env, execArgv: ['--disable-warning=ExperimentalWarning'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#ready = once(this.#child, 'message');
    this.#calls = new Calls(this.#child);
  }

  async call<C extends keyof EngineCalls>(call: C, ...given: Parameters<EngineCalls[C]>): Promise<Result<EngineCalls, C>> {
    await this.#ready;
    return await this.#calls.call(call, ...given);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#calls.ended;
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
    this.folders = { data: join(root, 'data'), runtime: join(root, 'run'), work: join(root, 'work'), contexts: join(root, 'work/contexts') };
  }

  /** An engine on empty folders, or on a copy of another's data. */
  static async make(from?: Engine): Promise<Engine> {
    const engine = new Engine(await mkdtemp('/var/tmp/lull-f-'));
    // Node's own copy would fill the holes of the disks.
    if (from !== undefined) await run(['cp', '--archive', '--sparse=always', from.folders.data, engine.folders.data]);
    return engine;
  }

  /** @returns the steps of the start @throws Killed (calls.ts) where the fault ended it */
  async start(fault: Fault | null = null): Promise<readonly Done[]> {
    const process = this.#standby;
    this.#standby = new EngineProcess();
    this.#process = process;
    const startMs = performance.now();
    const { done } = await process.call('open', this.folders, fault);
    this.startMs.push(performance.now() - startMs);
    return done;
  }

  call<C extends keyof EngineCalls>(call: C, ...given: Parameters<EngineCalls[C]>): Promise<Result<EngineCalls, C>> {
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

  async strays(): Promise<readonly string[]> {
    return await straysOf(this.folders, await this.call('rows'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#standby.kill(), this.#process?.kill()]);
    for (const pid of machinesBelow(this.folders.runtime)) process.kill(pid, 'SIGKILL');
    await rm(this.#root, { recursive: true, force: true });
  }
}

export const assertNoStrays = async (engine: Engine, because: string) => assert.deepEqual(await engine.strays(), [], because);
