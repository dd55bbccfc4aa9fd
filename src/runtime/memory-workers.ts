/** The worker threads of the runtime and the queue before them. */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { WorkerJobs } from './memory-worker.ts';

interface Task {
  readonly job: keyof WorkerJobs;
  readonly argument: unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** A fixed number of threads; tasks wait in order of arrival. */
export class MemoryWorkers implements AsyncDisposable {
  // The same file, whether the sources run as they are or as the package's JavaScript.
  readonly #entry = new URL(`./memory-worker${extname(import.meta.filename)}`, import.meta.url);
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: Task[] = [];
  readonly #running = new Map<Worker, Task>();

  /** @param threads how many pieces of work go on at once */
  constructor(threads = 2) {
    for (let started = 0; started < threads; started += 1) this.#start();
  }

  /** Runs one job on the next free thread. @throws what the job threw */
  run<J extends keyof WorkerJobs>(job: J, argument: Parameters<WorkerJobs[J]>[0]): Promise<ReturnType<WorkerJobs[J]>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, argument, resolve, reject });
      this.#next();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #start(): void {
    const worker = new Worker(this.#entry);
    worker.unref();
    this.#all.add(worker);
    this.#idle.push(worker);
    worker.on('message', (message: { result?: never; error?: Error }) => {
      this.#settle(worker, message);
      this.#idle.push(worker);
      this.#next();
    });
    // A job's own error comes as a message; this is the end of the thread itself, so another takes its place.
    worker.on('error', (error: Error) => {
      this.#all.delete(worker);
      this.#settle(worker, { error });
      this.#start();
      this.#next();
    });
  }

  #next(): void {
    const worker = this.#waiting.length > 0 ? this.#idle.pop() : undefined;
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
