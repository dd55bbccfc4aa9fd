/** The runtime hooks of an application: contract reference, section 4. */
import { LullError } from '../../domain/errors.ts';
import type { HooksConfig } from '../../domain/image.ts';
import { STATE_REASONS, type Microvm } from '../../domain/microvm.ts';
import type { ImageRepository, MicrovmRuntime } from '../../domain/ports.ts';

const HOOK_PATH = '/aws/lambda-microvms/runtime/v1';
/** Section 4: the default of every runtime hook. */
const DEFAULT_TIMEOUT_SECONDS = 1;

type RuntimeHook = 'run' | 'resume' | 'suspend' | 'terminate';

/** Calls the hooks that an image enables; those it does not are passed over. */
export class RuntimeHooks {
  readonly #images: ImageRepository;
  readonly #runtime: MicrovmRuntime;
  readonly #timeoutScale: number;

  /** @param timeoutScale factor on AWS's time-outs: emulation is slower (design, "Sizes") */
  constructor(images: ImageRepository, runtime: MicrovmRuntime, timeoutScale: number) {
    this.#images = images;
    this.#runtime = runtime;
    this.#timeoutScale = timeoutScale;
  }

  /** @throws LullError validation with AWS's text where it does not answer 200 in time */
  async run(microvm: Microvm): Promise<void> {
    const { microvmId, runHookPayload } = microvm;
    await this.#require('run', microvm, JSON.stringify({ microvmId, runHookPayload: runHookPayload ?? '' }));
  }

  /** @throws LullError validation with AWS's text where it does not answer 200 in time */
  resume(microvm: Microvm): Promise<void> {
    return this.#require('resume', microvm);
  }

  /** @throws LullError validation with AWS's text where it does not answer 200 in time */
  suspend(microvm: Microvm): Promise<void> {
    return this.#require('suspend', microvm);
  }

  /** Its answer does not matter: the microVM goes anyway. */
  async terminate(microvm: Microvm): Promise<void> {
    await this.#call('terminate', microvm);
  }

  async #require(hook: RuntimeHook, microvm: Microvm, body?: string): Promise<void> {
    const outcome = await this.#call(hook, microvm, body);
    if (outcome === undefined || outcome === 200) return;
    const name = `${hook[0]!.toUpperCase()}${hook.slice(1)}`;
    throw new LullError(
      'validation',
      typeof outcome === 'number'
        ? STATE_REASONS.hookStatus(name, outcome)
        : `${name} lifecycle hook ${outcome === 'timeout' ? 'invocation timed out' : 'could not be reached'}.`,
    );
  }

  /** Undefined where the hook is not enabled. */
  async #call(hook: RuntimeHook, microvm: Microvm, body?: string): Promise<number | 'timeout' | 'refused' | undefined> {
    const version = await this.#images.version(microvm.imageName, microvm.imageVersion);
    const config = enabled(version?.config.hooks ?? null, hook);
    if (config === undefined) return undefined;
    return this.#runtime.callHook(microvm.microvmId, {
      port: config.port,
      path: `${HOOK_PATH}/${hook}`,
      timeoutMs: config.timeoutSeconds * 1000 * this.#timeoutScale,
      ...(body === undefined ? {} : { body }),
    });
  }
}

function enabled(hooks: HooksConfig | null, hook: RuntimeHook): { port: number; timeoutSeconds: number } | undefined {
  const runtime = hooks?.microvmHooks;
  if (hooks?.port === undefined || runtime?.[hook] !== 'ENABLED') return undefined;
  return { port: hooks.port, timeoutSeconds: runtime[`${hook}TimeoutInSeconds`] ?? DEFAULT_TIMEOUT_SECONDS };
}
