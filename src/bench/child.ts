/** A process of a benchmark's own, which is told what to do by messages, and ends with this one. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { extname } from 'node:path';

export interface ChildOrder {
  /** File of this folder, without its extension. */
  readonly entry: string;
  /** Its one argument, as JSON. */
  readonly start: object;
  /** Words before the command: which cores it gets. */
  readonly pinned: readonly [string, ...string[]];
  /** Where its log goes. */
  readonly logPath: string;
}

/** Speaks `Ask` and hears `Said`; one question at a time. */
export class Child<Ask extends object | string, Said> implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #exit: Promise<never>;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#exit = once(process, 'exit').then(([status, signal]) => {
      throw new Error(`a process of the benchmark ended: ${status ?? signal}`);
    });
    this.#exit.catch(() => undefined);
  }

  /** Starts it. @returns the process and what it said first */
  static async start<Ask extends object | string, Said>({ entry, start, pinned, logPath }: ChildOrder): Promise<{ child: Child<Ask, Said>; said: Said }> {
    // The same file, whether the sources run as they are or as the package's JavaScript.
    const path = new URL(`./${entry}${extname(import.meta.filename)}`, import.meta.url).pathname;
    const [first, ...rest] = pinned;
    const log = openSync(logPath, 'a');
    try {
      const argv = [...rest, process.execPath, '--disable-warning=ExperimentalWarning', '--expose-gc', path, JSON.stringify(start)];
      const child = new Child<Ask, Said>(spawn(first, argv, { stdio: ['ignore', log, log, 'ipc'] }));
      return { child, said: await child.#said() };
    } finally {
      closeSync(log);
    }
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** @throws Error where the process ended instead */
  async ask(question: Ask): Promise<Said> {
    const answer = this.#said();
    this.#process.send(question);
    return await answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit.catch(() => undefined);
  }

  async #said(): Promise<Said> {
    const [message] = (await Promise.race([once(this.#process, 'message'), this.#exit])) as [Said];
    return message;
  }
}
