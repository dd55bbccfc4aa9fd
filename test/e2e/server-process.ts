/** A `lull` command as a process of its own: what it says, line by line, and how it ends. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { within } from '../../src/lib/deadline.ts';

/** The front door of this checkout. */
export const LULL = join(import.meta.dirname, '../../lull');

/** Settings of the machine that a test's server takes over; everything else that is called LULL_ is somebody else's. */
const KEPT_SETTINGS = new Set(['LULL_PLATFORM', 'LULL_DRIVER', 'LULL_ACCEL']);

/** The environment without settings of the user's own server, and without AWS's. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_') && (!name.startsWith('LULL_') || KEPT_SETTINGS.has(name)));
  return { ...Object.fromEntries(kept), LULL_CONFIG: 'none' };
}

/** How a process ended. */
export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** See the file's head. */
export class LullProcess {
  /** Everything said so far, on standard output and standard error. */
  readonly lines: string[] = [];
  /** Resolves when it is gone and has said all. */
  readonly ended: Promise<ProcessEnd>;
  /** For those who have more to say to it. */
  readonly child: ChildProcess;
  readonly #heard = new EventEmitter();
  #isOver = false;

  /** @param options.program another front door than this checkout's; a module in its place is run by Node, and can be called */
  constructor(words: readonly string[], { env = plainEnvironment(), program = LULL }: { env?: NodeJS.ProcessEnv; program?: string } = {}) {
    this.child = program.endsWith('.ts')
      ? fork(program, words, { execArgv: ['--disable-warning=ExperimentalWarning'], stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env })
      : spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#heard.setMaxListeners(0);
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#heard.emit('line');
      });
    }
    this.ended = once(this.child, 'close').then(([exitCode, signal]): ProcessEnd => {
      this.#isOver = true;
      this.#heard.emit('line');
      return { exitCode: exitCode as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * The first thing that `find` makes of a line said at position `from` or later; waits for it where it was not said yet.
   * @param what names the wait in the error
   * @throws Error where the process ends without it, with its last words
   */
  said<T>(what: string, find: (line: string) => T | undefined, { from = 0, limitMs = 60_000 } = {}): Promise<T> {
    return within(what, limitMs, this.#said(what, find, from));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** What it said last, for the message of an assertion. */
  lastWords(count = 30): string {
    return this.lines.slice(-count).join('\n');
  }

  async #said<T>(what: string, find: (line: string) => T | undefined, from: number): Promise<T> {
    for (let at = from; ; at += 1) {
      while (at >= this.lines.length) {
        if (this.#isOver) throw new Error(`the process ended before: ${what}\n${this.lastWords()}`);
        await once(this.#heard, 'line');
      }
      const found = find(this.lines[at]!);
      if (found !== undefined) return found;
    }
  }
}

/** Runs a `lull` command to its end. */
export async function runLull(words: readonly string[], env?: NodeJS.ProcessEnv): Promise<{ exitCode: number | null; said: string }> {
  const command = new LullProcess(words, env === undefined ? {} : { env });
  const { exitCode } = await within(`lull ${words[0]}`, 120_000, command.ended);
  return { exitCode, said: command.lines.join('\n') };
}
