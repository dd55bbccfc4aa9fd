/** The worker threads of the runtime and the queue before them. */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { DIRECT, effect, type Effect, type Effects } from '../lib/effects.ts';
import type { WorkerJobs } from './memory-worker.ts';

interface Task {
  readonly job: keyof WorkerJobs;
  readonly argument: unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** The jobs that leave a mark. */
const MARKS: { readonly [J in keyof WorkerJobs]?: (argument: Parameters<WorkerJobs[J]>[0]) => Effect } = {
  capture: ({ outPath }) => ({ kind: 'write', subject: outPath }),
  apply: ({ path }) => ({ kind: 'apply to the process', subject: path }),
};

/** A fixed number of threads; tasks wait in order of arrival. */
export class MemoryWorkers implements AsyncDisposable {
  // The same file, whether the sources run as they are or as the package's JavaScript.
  readonly #entry = new URL(`./memory-worker${extname(import.meta.filename)}`, import.meta.url);
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: Task[] = [];
  readonly #running = new Map<Worker, Task>();
  readonly #threads: number;
  readonly #effects: Effects;
  #isEnded = false;

  /** @param options.threads how many pieces of work go on at once */
  constructor({ threads = 2, effects = DIRECT }: { threads?: number; effects?: Effects } = {}) {
    this.#threads = threads;
    this.#effects = effects;
    while (this.#all.size < threads) this.#idle.push(this.#start());
  }

  /** Runs one job on the next free thread. @throws what the job threw; Error where its thread ended before it */
  run<J extends keyof WorkerJobs>(job: J, argument: Parameters<WorkerJobs[J]>[0]): Promise<ReturnType<WorkerJobs[J]>> {
    const mark = MARKS[job]?.(argument);
    return mark === undefined ? this.#queue(job, argument) : effect(this.#effects, mark, () => this.#queue(job, argument));
  }

  /** Ends the threads; what waits or runs is rejected. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    for (const task of [...this.#waiting.splice(0), ...this.#running.values()]) task.reject(ended());
    this.#running.clear();
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #queue<J extends keyof WorkerJobs>(job: J, argument: Parameters<WorkerJobs[J]>[0]): Promise<ReturnType<WorkerJobs[J]>> {
    return new Promise((resolve, reject) => {
      if (this.#isEnded) throw ended();
      this.#waiting.push({ job, argument, resolve, reject });
      this.#next();
    });
  }

  #start(): Worker {
    const worker = new Worker(this.#entry);
    worker.unref();
    this.#all.add(worker);
    worker.on('message', (message: { result?: never; error?: Error }) => {
      this.#settle(worker, message);
      this.#idle.push(worker);
      this.#next();
    });
    // A job's own error comes as a message; this is the end of the thread itself, and `exit` comes after it.
    let failure: Error | undefined;
    worker.on('error', (error: Error) => (failure = error));
    worker.on('exit', (status) => {
      this.#all.delete(worker);
      if (this.#idle.includes(worker)) this.#idle.splice(this.#idle.indexOf(worker), 1);
      this.#settle(worker, { error: failure ?? new Error(`a worker thread ended with status ${status}`) });
      this.#next();
    });
    return worker;
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    // A thread that died is replaced when there is work, so that one that cannot start is not started without end.
    const worker = this.#idle.pop() ?? (this.#all.size < this.#threads ? this.#start() : undefined);
    if (worker === undefined) return;
    const task = this.#waiting.shift()!;
    this.#running.set(worker, task);
    worker.postMessage({ job: task.job, argument: task.argument });
  }

  #settle(worker: Worker, message: { result?: never; error?: Error }): void {
    const task = this.#running.get(worker);
    this.#running.delete(worker);
    if (message.error !== undefined) task?.reject(message.error);
    else task?.resolve(message.result as never);
  }
}

const ended = () => new Error('the worker threads were ended');
