/** The runtime hooks of an application: contract reference, section 4. */
import { once } from 'node:events';
import { LullError } from '../../domain/errors.ts';
import { enabledHook, hookPath, hookTitle, type HookOutcome, type RuntimeHook } from '../../domain/hooks.ts';
import { STATE_REASONS, type Microvm } from '../../domain/microvm.ts';
import type { ImageRepository, MicrovmRuntime } from '../../domain/ports.ts';
import { within } from '../../lib/deadline.ts';

/** A hook that did not answer 200 in time; the message is AWS's `stateReason`. */
export class HookFailure extends LullError {
  constructor(stateReason: string) {
    super('validation', stateReason);
  }
}

/** How a microVM ends: what becomes its `stateReason`, and whether its application can still be told. */
export interface Ending {
  readonly reason: string;
  readonly isAnswering: boolean;
}

/** A hook that was given up, or not called, because its microVM ends. */
export class HookInterrupted extends LullError {
  readonly ending: Ending;

  constructor(microvmId: string, ending: Ending) {
    super('conflict', `The MicroVM ${microvmId} ends: ${ending.reason}`);
    this.ending = ending;
  }
}

/** An application that ends closes its connections a moment before its agent says so; times the scale. */
const LAST_WORD_MS = 100;

/** Calls the hooks that an image enables; those it does not are passed over. None is called twice. */
export class RuntimeHooks {
  readonly #images: Pick<ImageRepository, 'versionOfSnapshot'>;
  readonly #runtime: Pick<MicrovmRuntime, 'callHook'>;
  readonly #timeoutScale: number;
  /** Endings that wait for their turn behind what is under way with their microVM. */
  readonly #awaited = new Map<string, readonly Ending[]>();
  /** What an ending does to the hook that is called of a microVM right now. */
  readonly #underWay = new Map<string, (ending: Ending) => void>();

  /** @param timeoutScale factor on AWS's time-outs; texts keep AWS's figures */
  constructor(images: Pick<ImageRepository, 'versionOfSnapshot'>, runtime: Pick<MicrovmRuntime, 'callHook'>, timeoutScale: number) {
    this.#images = images;
    this.#runtime = runtime;
    this.#timeoutScale = timeoutScale;
  }

  /** @throws HookFailure where it does not answer 200 in time; HookInterrupted where the microVM ends */
  async run(microvm: Microvm): Promise<void> {
    const { microvmId, runHookPayload } = microvm;
    await this.#call('run', microvm, JSON.stringify({ microvmId, runHookPayload: runHookPayload ?? '' }));
  }

  /** @throws HookFailure where it does not answer 200 in time; HookInterrupted where the microVM ends */
  resume(microvm: Microvm): Promise<void> {
    return this.#call('resume', microvm);
  }

  /** @throws HookFailure where it does not answer 200 in time; HookInterrupted where the microVM ends */
  suspend(microvm: Microvm): Promise<void> {
    return this.#call('suspend', microvm);
  }

  /** @throws HookFailure where it does not answer 200 in time; HookInterrupted where the microVM ends */
  terminate(microvm: Microvm): Promise<void> {
    return this.#call('terminate', microvm);
  }

  /** Until disposed of, hooks of the microVM are given up: its end must not wait for them. `/terminate` is while it answers. */
  awaitEnd(microvmId: string, ending: Ending): Disposable {
    const others = () => (this.#awaited.get(microvmId) ?? []).filter((other) => other !== ending);
    this.#awaited.set(microvmId, [...others(), ending]);
    this.#underWay.get(microvmId)?.(ending);
    return {
      [Symbol.dispose]: () => {
        const left = others();
        if (left.length === 0) this.#awaited.delete(microvmId);
        else this.#awaited.set(microvmId, left);
      },
    };
  }

  /** True while an ending of one that answers waits for its turn. A death that is told of may have been an earlier process's. */
  isEnding(microvmId: string): boolean {
    return this.#awaited.get(microvmId)?.some(({ isAnswering }) => isAnswering) ?? false;
  }

  async #call(hook: RuntimeHook, microvm: Microvm, body?: string): Promise<void> {
    const { microvmId } = microvm;
    const end = new AbortController();
    const interrupt = (ending: Ending) => {
      if (hook !== 'terminate' || !ending.isAnswering) end.abort(new HookInterrupted(microvmId, ending));
    };
    this.#awaited.get(microvmId)?.forEach(interrupt);
    this.#underWay.set(microvmId, interrupt);
    try {
      await this.#answered(hook, microvm, { body, signal: end.signal });
    } finally {
      this.#underWay.delete(microvmId);
    }
  }

  async #answered(hook: RuntimeHook, { microvmId, snapshotId }: Microvm, { body, signal }: { body: string | undefined; signal: AbortSignal }): Promise<void> {
    // By its files: the version may have been deleted while this microVM lives on.
    const version = await this.#images.versionOfSnapshot(snapshotId);
    const enabled = enabledHook(version?.config.hooks ?? null, hook);
    if (enabled === undefined) return;
    signal.throwIfAborted();
    const outcome = await this.#runtime.callHook(microvmId, {
      port: enabled.port,
      path: hookPath(hook),
      timeoutMs: enabled.timeoutSeconds * 1000 * this.#timeoutScale,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    if (outcome === 200) return;
    if (outcome === 'refused' && !signal.aborted) {
      await within('the word of an end', LAST_WORD_MS * this.#timeoutScale, once(signal, 'abort')).catch(() => undefined);
    }
    signal.throwIfAborted();
    throw new HookFailure(stateReason(hookTitle(hook), outcome, enabled.timeoutSeconds));
  }
}

function stateReason(hook: string, outcome: HookOutcome, timeoutSeconds: number): string {
  if (typeof outcome === 'number') return STATE_REASONS.hookStatus(hook, outcome);
  return outcome === 'timeout' ? STATE_REASONS.hookTimedOut(hook, timeoutSeconds) : STATE_REASONS.hookUnreachable(hook);
}
