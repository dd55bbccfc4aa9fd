/** The runtime hooks of an application: contract reference, section 4. */
import { LullError } from '../../domain/errors.ts';
import { enabledHook, hookPath, hookTitle, type HookOutcome, type RuntimeHook } from '../../domain/hooks.ts';
import { STATE_REASONS, type Microvm } from '../../domain/microvm.ts';
import type { ImageRepository, MicrovmRuntime } from '../../domain/ports.ts';

/** A hook that did not answer 200 in time; the message is AWS's `stateReason`. */
export class HookFailure extends LullError {
  constructor(stateReason: string) {
    super('validation', stateReason);
  }
}

/** Calls the hooks that an image enables; those it does not are passed over. None is called twice. */
export class RuntimeHooks {
  readonly #images: Pick<ImageRepository, 'versionOfSnapshot'>;
  readonly #runtime: Pick<MicrovmRuntime, 'callHook'>;
  readonly #timeoutScale: number;

  /** @param timeoutScale factor on AWS's time-outs; texts keep AWS's figures */
  constructor(images: Pick<ImageRepository, 'versionOfSnapshot'>, runtime: Pick<MicrovmRuntime, 'callHook'>, timeoutScale: number) {
    this.#images = images;
    this.#runtime = runtime;
    this.#timeoutScale = timeoutScale;
  }

  /** @throws HookFailure where it does not answer 200 in time */
  async run(microvm: Microvm): Promise<void> {
    const { microvmId, runHookPayload } = microvm;
    await this.#call('run', microvm, JSON.stringify({ microvmId, runHookPayload: runHookPayload ?? '' }));
  }

  /** @throws HookFailure where it does not answer 200 in time */
  resume(microvm: Microvm): Promise<void> {
    return this.#call('resume', microvm);
  }

  /** @throws HookFailure where it does not answer 200 in time */
  suspend(microvm: Microvm): Promise<void> {
    return this.#call('suspend', microvm);
  }

  /** @throws HookFailure where it does not answer 200 in time */
  terminate(microvm: Microvm): Promise<void> {
    return this.#call('terminate', microvm);
  }

  async #call(hook: RuntimeHook, { microvmId, snapshotId }: Microvm, body?: string): Promise<void> {
    // By its files: the version may have been deleted while this microVM lives on.
    const version = await this.#images.versionOfSnapshot(snapshotId);
    const enabled = enabledHook(version?.config.hooks ?? null, hook);
    if (enabled === undefined) return;
    const outcome = await this.#runtime.callHook(microvmId, {
      port: enabled.port,
      path: hookPath(hook),
      timeoutMs: enabled.timeoutSeconds * 1000 * this.#timeoutScale,
      ...(body === undefined ? {} : { body }),
    });
    if (outcome !== 200) throw new HookFailure(stateReason(hookTitle(hook), outcome, enabled.timeoutSeconds));
  }
}

function stateReason(hook: string, outcome: HookOutcome, timeoutSeconds: number): string {
  if (typeof outcome === 'number') return STATE_REASONS.hookStatus(hook, outcome);
  return outcome === 'timeout' ? STATE_REASONS.hookTimedOut(hook, timeoutSeconds) : STATE_REASONS.hookUnreachable(hook);
}
