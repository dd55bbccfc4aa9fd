/** When an application counts as up: the rule of SPECIFICATION.md, "Application up". */
import { setTimeout as delay } from 'node:timers/promises';
import { BuildFailure, type HooksConfig } from '../domain/image.ts';
import type { AgentSession } from '../guest/agent-session.ts';
import { isoDuration } from '../lib/iso-duration.ts';
import { postHook } from './hook-call.ts';

/** The port that traffic goes to by default (contract reference, section 5.2). */
const DEFAULT_PORT = 8080;
const EXPOSED_LIMIT_MS = 60_000;
/** An image that exposes nothing may serve nothing: it is up when it has lived this long. */
const UNEXPOSED_LIFE_MS = 10_000;
/** Section 4. */
const DEFAULT_READY_SECONDS = 30;
const READY_PATH = '/aws/lambda-microvms/runtime/v1/ready';
/** A 503 asks for another call; the application cannot tell us when. */
const READY_RETRY_MS = 250;
/** What an answer over the channel may take beyond the agent's own limit. */
const CALL_MARGIN_MS = 10_000;
const STEP = 'start application';

export interface ReadyQuestion {
  readonly session: AgentSession;
  readonly exposedPorts: readonly number[];
  readonly hooks: HooksConfig | null;
  readonly signal: AbortSignal;
  readonly timeoutScale: number;
}

/** @throws BuildFailure in AWS's words where they are known (section 2.5); any error once the signal has ended it */
export async function awaitReady(question: ReadyQuestion): Promise<void> {
  const { hooks, exposedPorts, timeoutScale } = question;
  const image = hooks?.microvmImageHooks;
  if (image?.ready === 'ENABLED' && hooks?.port !== undefined) {
    return awaitReadyHook(question, hooks.port, image.readyTimeoutInSeconds ?? DEFAULT_READY_SECONDS);
  }
  if (exposedPorts.length === 0) {
    await listening(question, [], UNEXPOSED_LIFE_MS);
    return;
  }
  const ports = [...new Set([DEFAULT_PORT, ...exposedPorts])];
  const found = await listening(question, ports, EXPOSED_LIMIT_MS * timeoutScale);
  if (found === null) {
    const list = ports.join(', ');
    throw new BuildFailure('APPLICATION_FAILED', STEP, {
      reason: `The application did not listen on any of the ports ${list} within ${EXPOSED_LIMIT_MS / 1000} seconds.`,
    });
  }
}

async function awaitReadyHook(question: ReadyQuestion, port: number, timeoutSeconds: number): Promise<void> {
  const { session, signal, timeoutScale } = question;
  const limitMs = timeoutSeconds * 1000 * timeoutScale;
  const end = performance.now() + limitMs;
  for (let leftMs = limitMs; leftMs > 0; leftMs = end - performance.now()) {
    signal.throwIfAborted();
    if ((await listening(question, [port], leftMs)) === null) break;
    const outcome = await postHook(() => session.openTcp(port, { signal }), { port, path: READY_PATH, timeoutMs: end - performance.now() });
    if (outcome === 200) return;
    if (typeof outcome === 'number' && outcome !== 503) {
      const whose = outcome >= 500 ? 'server error (HTTP 5xx)' : 'client error (HTTP 4xx)';
      throw new BuildFailure('READY_HOOK_FAILED', STEP, { reason: `Ready hook check failed: the application returned a ${whose} response.` });
    }
    await delay(READY_RETRY_MS, undefined, { signal });
  }
  throw new BuildFailure('READY_HOOK_FAILED', STEP, { reason: `Ready hook invocation timed out after ${isoDuration(timeoutSeconds)}` });
}

async function listening({ session, signal }: ReadyQuestion, ports: readonly number[], timeoutMs: number): Promise<number | null> {
  const { port } = await session.call('awaitListening', { ports, timeoutMs: Math.ceil(timeoutMs) }, { timeoutMs: timeoutMs + CALL_MARGIN_MS, signal });
  return port;
}
