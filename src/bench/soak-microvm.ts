/** One microVM of a soak: led through the API, asked over HTTPS, and what it says compared with what it has to hold. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CommandFailure } from '../cli/command-line.ts';
import { allocatedBytes } from '../host/disk.ts';
import { DataLayout } from '../runtime/data-layout.ts';
import { LullMicrovm, type FrontDoor } from './lull-microvm.ts';
import { checksumsAt } from './soak-state.ts';

const answerSchema = z.object({ key: z.int(), step: z.int(), memory: z.int(), file: z.int() });

/** A microVM that is not what it was when it fell asleep. */
export class StateLost extends CommandFailure {}

/** One suspend. */
export interface SleepFigure {
  readonly suspendMs: number;
  readonly bytesWritten: number;
  /** What its folder takes of the disk while it sleeps: disk and generation. */
  readonly diskBytes: number;
}

export class SoakMicrovm implements AsyncDisposable {
  readonly #door: FrontDoor;
  readonly #microvm: LullMicrovm;
  readonly #key: number;
  #step = 0;
  isAwake = true;

  private constructor(door: FrontDoor, microvm: LullMicrovm, key: number) {
    this.#door = door;
    this.#microvm = microvm;
    this.#key = key;
  }

  /** @param key tells it from the others: a whole number */
  static async launch(door: FrontDoor, imageArn: string, key: number): Promise<SoakMicrovm> {
    const { microvm } = await LullMicrovm.launch(door, imageArn, 'fresh');
    const soaked = new SoakMicrovm(door, microvm, key);
    await soaked.step();
    return soaked;
  }

  /** Looks for every byte. @throws StateLost where one is another */
  async check(): Promise<void> {
    await this.#microvm.renewToken();
    const found = answerSchema.parse(JSON.parse(await this.#microvm.answer('/checksums')));
    const wanted = { key: this.#key, step: this.#step, ...checksumsAt({ key: this.#key, step: this.#step }) };
    const differing = (Object.keys(wanted) as (keyof typeof wanted)[]).filter((name) => wanted[name] !== found[name]);
    if (differing.length === 0) return;
    const list = differing.map((name) => `${name} ${found[name]} instead of ${wanted[name]}`).join(', ');
    throw new StateLost(`${this.#microvm.id} has lost its state: ${list}`);
  }

  /** Changes all that it holds; other memory comes and goes, and files are read. */
  async step(): Promise<void> {
    this.#step += 1;
    await this.#microvm.answer(`/step?${this.#key},${this.#step}`);
  }

  /** @throws StateLost where more than one generation is left */
  async suspend(): Promise<SleepFigure> {
    const { ms, report } = await this.#microvm.suspend();
    this.isAwake = false;
    const { dir } = new DataLayout(this.#door.installation.folder, '/').microvm(this.#microvm.id);
    const names = await readdir(dir, { recursive: true });
    const generations = names.filter((name) => /^gen-\d+$/.test(name));
    if (generations.length !== 1) throw new StateLost(`${this.#microvm.id} sleeps in ${generations.join(', ') || 'no generation'}`);
    const sizes = await Promise.all(names.map((name) => allocatedBytes(join(dir, name))));
    const diskBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    return { suspendMs: ms, bytesWritten: report.bytesWritten, diskBytes };
  }

  /** @returns milliseconds from ResumeMicrovm until the application has answered */
  async resume(): Promise<number> {
    const ms = await this.#microvm.resumeAndAsk('/');
    this.isAwake = true;
    return ms;
  }

  /** @returns milliseconds from a request until its answer, the wake within */
  async wakeByRequest(): Promise<number> {
    const ms = await this.#microvm.ask('/', 'ahead');
    this.isAwake = true;
    return ms;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#microvm[Symbol.asyncDispose]();
  }
}
