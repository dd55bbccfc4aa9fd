/** The hooks that a build calls, `/ready` and `/validate`: until one answers 200 (contract reference, sections 2.4, 2.5 and 4). */
import { setTimeout as delay } from 'node:timers/promises';
import { hookPath, hookTitle, type BuildHook, type EnabledHook } from '../domain/hooks.ts';
import { BuildFailure, type BuildFailureCode } from '../domain/image.ts';
import type { AgentSession } from '../guest/agent-session.ts';
import { isoDuration } from '../lib/iso-duration.ts';
import { postHook } from './hook-call.ts';

/** A 503 asks for another call; the application cannot tell us when. */
const RETRY_MS = 250;
const RETRY_STATUS = 503;
/** What an answer over the channel may take beyond the agent's own limit. */
const CALL_MARGIN_MS = 10_000;

const FAILURES: { readonly [H in BuildHook]: BuildFailureCode } = { ready: 'READY_HOOK_FAILED', validate: 'VALIDATE_HOOK_FAILED' };

export interface BuildHookCall {
  readonly session: AgentSession;
  readonly hook: BuildHook;
  readonly enabled: EnabledHook;
  /** Factor on the time-out; the text keeps AWS's figure. */
  readonly timeoutScale: number;
  /** The step of the build that fails with it. */
  readonly step: string;
  readonly signal: AbortSignal;
}

/**
 * Calls again after a 503, and where nothing listens or answers.
 * @throws BuildFailure in AWS's words on any other answer, and when its time is over; any error once the signal has ended it
 */
export async function callBuildHook(call: BuildHookCall): Promise<void> {
  const { session, hook, signal, timeoutScale } = call;
  const { port, timeoutSeconds } = call.enabled;
  const limitMs = timeoutSeconds * 1000 * timeoutScale;
  const end = performance.now() + limitMs;
  for (let leftMs = limitMs; leftMs > 0; leftMs = end - performance.now()) {
    signal.throwIfAborted();
    if ((await listening(call, [port], leftMs)) === null) break;
    const outcome = await postHook(() => session.openTcp(port, { signal }), { port, path: hookPath(hook), timeoutMs: end - performance.now() });
    if (outcome === 200) return;
    if (typeof outcome === 'number' && outcome !== RETRY_STATUS) throw failure(call, `check failed: the application returned ${described(outcome)}.`);
    await delay(RETRY_MS, undefined, { signal });
  }
  throw failure(call, `invocation timed out after ${isoDuration(timeoutSeconds)}`);
}

/** The first of these ports on which something listens in the guest, any port where none is named; null where nothing did in time. */
export async function listening({ session, signal }: Pick<BuildHookCall, 'session' | 'signal'>, ports: readonly number[], timeoutMs: number): Promise<number | null> {
  const { port } = await session.call('awaitListening', { ports, timeoutMs: Math.ceil(timeoutMs) }, { timeoutMs: timeoutMs + CALL_MARGIN_MS, signal });
  return port;
}

const failure = ({ hook, step }: BuildHookCall, words: string) => new BuildFailure(FAILURES[hook], step, { reason: `${hookTitle(hook)} hook ${words}` });

/** Section 2.5 has the first two; for what is neither there is no text of AWS's. */
function described(status: number): string {
  if (status >= 500) return 'a server error (HTTP 5xx) response';
  if (status >= 400) return 'a client error (HTTP 4xx) response';
  return `HTTP status ${status}`;
}
