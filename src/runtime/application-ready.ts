/** When an application counts as up: the rule of SPECIFICATION.md, "Application up". */
import { enabledHook } from '../domain/hooks.ts';
import { BuildFailure, type HooksConfig } from '../domain/image.ts';
import type { AgentSession } from '../guest/agent-session.ts';
import { callBuildHook, listening } from './build-hook.ts';

/** The port that traffic goes to by default (contract reference, section 5.2). */
const DEFAULT_PORT = 8080;
const EXPOSED_LIMIT_MS = 60_000;
/** An image that exposes nothing may serve nothing: it is up when it has lived this long. */
const UNEXPOSED_LIFE_MS = 10_000;

export interface ReadyQuestion {
  readonly session: AgentSession;
  readonly exposedPorts: readonly number[];
  readonly hooks: HooksConfig | null;
  readonly step: string;
  readonly signal: AbortSignal;
  readonly timeoutScale: number;
}

/** @throws BuildFailure in AWS's words where they are known (section 2.5); any error once the signal has ended it */
export async function awaitReady(question: ReadyQuestion): Promise<void> {
  const { hooks, exposedPorts, timeoutScale, step } = question;
  const enabled = enabledHook(hooks, 'ready');
  if (enabled !== undefined) return callBuildHook({ ...question, hook: 'ready', enabled });
  if (exposedPorts.length === 0) {
    await listening(question, [], UNEXPOSED_LIFE_MS);
    return;
  }
  const ports = [...new Set([DEFAULT_PORT, ...exposedPorts])];
  const found = await listening(question, ports, EXPOSED_LIMIT_MS * timeoutScale);
  if (found === null) {
    const list = ports.join(', ');
    throw new BuildFailure('APPLICATION_FAILED', step, {
      reason: `The application did not listen on any of the ports ${list} within ${EXPOSED_LIMIT_MS / 1000} seconds.`,
    });
  }
}
