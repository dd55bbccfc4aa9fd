/** Calls by messages between a test and a process that it has started. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { within } from '../../src/lib/deadline.ts';

/** Of five hundred that wait for each other, the last one too. */
const CALL_LIMIT_MS = 180_000;

type Table<T> = { readonly [C in keyof T]: (...given: never[]) => unknown };
export type Result<T extends Table<T>, C extends keyof T> = Awaited<ReturnType<T[C]>>;

interface Reply {
  readonly id: number;
  readonly result?: never;
  readonly error?: string;
}

/** The process was killed while it did what was asked. */
export class Killed extends Error {}

/** What may be asked of a child process, which answers with {@link answerCalls}. */
export class Calls<T extends Table<T>> {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<never>>();
  #lastId = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.ended = once(child, 'exit').then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Killed('the process was killed'));
    });
    child.on('message', ({ id, result, error }: Reply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(error));
    });
  }

  /** @throws Killed where the process ends before it has answered; Error with what the call threw there */
  async call<C extends keyof T>(call: C, ...given: Parameters<T[C]>): Promise<Result<T, C>> {
    const id = (this.#lastId += 1);
    const reply = Promise.withResolvers<never>();
    reply.promise.catch(() => undefined);
    this.#waiting.set(id, reply);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) reply.reject(new Killed('the process was killed'));
    else this.#child.send({ id, call, given }, (error) => error && reply.reject(new Killed(error.message)));
    return await within(`${String(call)}, asked of a process`, CALL_LIMIT_MS, reply.promise);
  }
}

/** Answers the parent's calls with the methods of an object; ends with the parent. */
export function answerCalls(methods: object): void {
  process.on('disconnect', () => process.exit());
  process.on('message', ({ id, call, given }: { id: number; call: string; given: never[] }) => {
    Promise.resolve()
      .then((): unknown => Reflect.apply(Reflect.get(methods, call), methods, given))
      .then(
        (result) => process.send!({ id, result }),
        (error: unknown) => process.send!({ id, error: error instanceof Error ? error.message : String(error) }),
      );
  });
}
