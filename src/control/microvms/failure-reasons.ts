/** What is said of a microVM whose launch, sleep or wake failed. */
import { isLullError, LullError } from '../../domain/errors.ts';
import { HookFailure, HookInterrupted } from './hooks.ts';

export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Lull's own failure, unless it was the host that could not. */
export const failure = (what: string, cause: unknown) => new LullError(isLullError(cause, 'insufficient-capacity') ? cause.kind : 'internal', `${what}: ${messageOf(cause)}`, { cause });

/** A hook's own words are AWS's `stateReason`; everything else is wrapped. */
export function reasonOf(error: unknown, wrap: (detail: string) => string): string {
  if (error instanceof HookInterrupted) return error.ending.reason;
  return error instanceof HookFailure ? error.message : wrap(messageOf(error));
}
