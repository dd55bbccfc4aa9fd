/** A guest that a build has started, booted or restored: its agent is greeted, and whoever waits for it hears of its end. */
import type { Duplex } from 'node:stream';
import { BuildFailure } from '../domain/image.ts';
import { STATE_REASONS } from '../domain/microvm.ts';
import { AgentSession } from '../guest/agent-session.ts';
import type { ConnectOptions } from '../guest/connect-options.ts';
import type { Machine } from '../vmm/driver.ts';
import { exitCodeOf } from './exit-code.ts';

export interface BuildGuest extends AsyncDisposable {
  readonly machine: Machine;
  readonly session: AgentSession;
  /** Resolves with the exit code when the application's first process ends, or had ended before the agent was greeted. */
  readonly exited: Promise<number>;
}

/** Greets the agent behind a channel. Disposing ends the machine. */
export async function greetBuildGuest(
  { machine, channel }: { machine: Machine; channel: Duplex },
  options: Omit<ConnectOptions, 'onEvent'>,
): Promise<BuildGuest> {
  const exited = Promise.withResolvers<number>();
  const session = await AgentSession.connect(channel, {
    ...options,
    onEvent: (exit) => exited.resolve(exitCodeOf(exit)),
  });
  const { application } = session.welcome;
  if (application.state === 'exited') exited.resolve(exitCodeOf(application));
  return {
    machine,
    session,
    exited: exited.promise,
    [Symbol.asyncDispose]: async () => {
      // First, so that nothing of the session's end can keep the hypervisor alive.
      await machine.kill();
      await session.close();
    },
  };
}

/**
 * Waits for work on a guest, for as long as guest and application live and the build is wanted.
 * @throws BuildFailure where one of the two ends before; the signal's reason where that does
 */
export async function whileAlive<T>(
  { machine, exited }: Pick<BuildGuest, 'machine' | 'exited'>,
  { step, signal }: { step: string; signal: AbortSignal },
  work: Promise<T>,
): Promise<T> {
  const end = Promise.withResolvers<never>();
  void exited.then((exitCode) => end.reject(new BuildFailure('APPLICATION_FAILED', step, { reason: STATE_REASONS.containerExited(exitCode) })));
  void machine.exited.then((said) => end.reject(new BuildFailure('INTERNAL_PLATFORM_ERROR', step, { cause: new Error(said) })));
  const abort = (): void => end.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([end.promise, work]);
  } finally {
    signal.removeEventListener('abort', abort);
    // Whichever is left behind may still fail, and nobody waits for it any more.
    for (const loser of [end.promise, work]) loser.catch(() => undefined);
  }
}
