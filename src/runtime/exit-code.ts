import type { ApplicationStatus } from '../guest/messages.ts';

/** As a shell reports the signal that ended a process: 128 and its number. */
const SIGNAL_EXIT_BASE = 128;

/** How an application ended, as one number. */
export const exitCodeOf = ({ exitCode, signal }: Pick<ApplicationStatus, 'exitCode' | 'signal'>): number => exitCode ?? SIGNAL_EXIT_BASE + (signal ?? 0);
