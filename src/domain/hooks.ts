/** The lifecycle hooks of an application: contract reference, section 4. */
import type { HooksConfig } from './image.ts';

/** Called while an image is built. */
export type BuildHook = 'ready' | 'validate';
/** Called in the life of a microVM. */
export type RuntimeHook = 'run' | 'resume' | 'suspend' | 'terminate';

/** All of them are POST. */
export const hookPath = (hook: BuildHook | RuntimeHook) => `/aws/lambda-microvms/runtime/v1/${hook}`;

/** As texts begin: `Run lifecycle hook …`, `Ready hook …`. */
export const hookTitle = (hook: BuildHook | RuntimeHook) => `${hook[0]!.toUpperCase()}${hook.slice(1)}`;

/** What a call came to: the status, or why there is none. */
export type HookOutcome = number | 'timeout' | 'refused';

const DEFAULT_RUNTIME_SECONDS = 1;
const DEFAULT_BUILD_SECONDS = 30;

/** A hook that the image enables. */
export interface EnabledHook {
  readonly port: number;
  /** AWS's figure, before any scaling. */
  readonly timeoutSeconds: number;
}

/** Undefined where the image does not enable it: each is off unless it is switched on. */
export function enabledHook(hooks: HooksConfig | null, hook: BuildHook | RuntimeHook): EnabledHook | undefined {
  if (hooks?.port === undefined) return undefined;
  const { port, microvmImageHooks: build = {}, microvmHooks: runtime = {} } = hooks;
  if (hook === 'ready' || hook === 'validate') {
    return build[hook] === 'ENABLED' ? { port, timeoutSeconds: build[`${hook}TimeoutInSeconds`] ?? DEFAULT_BUILD_SECONDS } : undefined;
  }
  return runtime[hook] === 'ENABLED' ? { port, timeoutSeconds: runtime[`${hook}TimeoutInSeconds`] ?? DEFAULT_RUNTIME_SECONDS } : undefined;
}

/**
 * What becomes of a microVM whose `/suspend` hook fails: AWS was measured to end it, and documents that it runs on
 * (section 13).
 */
export const SUSPEND_HOOK_FAILURES = ['terminate', 'keepRunning'] as const;
export type OnSuspendHookFailure = (typeof SUSPEND_HOOK_FAILURES)[number];

/** Ten times what emulation is given; AWS's longest time-out, an hour, stays below what a timer holds (596 hours). */
export const MAX_HOOK_TIMEOUT_SCALE = 100;

/** Factor on time-outs where the operator says none: AWS's are for hardware, and emulation takes about ten times as long. */
export const defaultHookTimeoutScale = (accelerator: 'kvm' | 'tcg') => (accelerator === 'kvm' ? 1 : 10);
