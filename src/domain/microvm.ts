/** The microVM: its record, its states and what may happen in each. Contract reference, section 3. */
import { isoDuration } from '../lib/iso-duration.ts';
import type { LoggingConfig } from './image.ts';

/**
 * Lull's states. They are AWS's and one more: WAKING, in which a restored process may already have run
 * (AWS shows it as SUSPENDED, see {@link wireState}).
 */
export const MICROVM_STATES = [
  'PENDING',
  'RUNNING',
  'SUSPENDING',
  'SUSPENDED',
  'WAKING',
  'TERMINATING',
  'TERMINATED',
] as const;
export type MicrovmState = (typeof MICROVM_STATES)[number];

/** What happens to a microVM. Each is committed to the store before the step it permits, or after the step it reports. */
export const MICROVM_EVENTS = {
  launched: 'the restored application runs and answered its /run hook',
  launchFailed: 'no usable application came out of the launch',
  suspend: 'somebody asked for it to sleep; the number of the new generation is taken',
  suspended: 'the new generation is complete on disk',
  suspendUndone: 'the new generation is void; the process goes on',
  wake: 'a restored process is about to run',
  woken: 'the application runs again',
  resumeRefused: 'it runs, but its /resume hook does not want to; it sleeps again as it is now: the number of the new generation is taken',
  wakeUndone: 'the restore failed before anything ran; the generation stands',
  wakeLost: 'the restored process ran and died; the disk has moved on',
  terminate: 'somebody or a limit asked for its end',
  died: 'its process ended while it held state that nothing else holds',
  terminated: 'process, memory and disk are gone',
} as const;
export type MicrovmEvent = keyof typeof MICROVM_EVENTS;

/** The whole life of a microVM. What is not listed is not allowed. */
export const MICROVM_TRANSITIONS: {
  readonly [S in MicrovmState]: { readonly [E in MicrovmEvent]?: MicrovmState };
} = {
  PENDING: { launched: 'RUNNING', launchFailed: 'TERMINATED', terminate: 'TERMINATING', died: 'TERMINATED' },
  RUNNING: { suspend: 'SUSPENDING', terminate: 'TERMINATING', died: 'TERMINATED' },
  SUSPENDING: { suspended: 'SUSPENDED', suspendUndone: 'RUNNING', terminate: 'TERMINATING', died: 'TERMINATED' },
  SUSPENDED: { wake: 'WAKING', terminate: 'TERMINATING' },
  WAKING: {
    woken: 'RUNNING',
    resumeRefused: 'SUSPENDING',
    wakeUndone: 'SUSPENDED',
    wakeLost: 'TERMINATED',
    terminate: 'TERMINATING',
    died: 'TERMINATED',
  },
  TERMINATING: { terminated: 'TERMINATED' },
  TERMINATED: {},
};

/** The state that an event leads to, or undefined where the event is not allowed. */
export function nextState(state: MicrovmState, event: MicrovmEvent): MicrovmState | undefined {
  return MICROVM_TRANSITIONS[state][event];
}

/** What each state means to the outside. */
export const MICROVM_STATE_RULES: {
  readonly [S in MicrovmState]: {
    /** The state as AWS names it. */
    readonly wire: Exclude<MicrovmState, 'WAKING'>;
    /** A process exists or may exist. */
    readonly live: boolean;
    /** Its baseline counts against the memory quota (section 7.2: RUNNING and SUSPENDED). */
    readonly countsMemory: boolean;
    /** What the data plane does with a request: pass it on, hold it until the state settles, wake it, or refuse it. */
    readonly traffic: 'pass' | 'hold' | 'wake' | 'refuse';
  };
} = {
  PENDING: { wire: 'PENDING', live: true, countsMemory: true, traffic: 'hold' },
  RUNNING: { wire: 'RUNNING', live: true, countsMemory: true, traffic: 'pass' },
  SUSPENDING: { wire: 'SUSPENDING', live: true, countsMemory: true, traffic: 'hold' },
  SUSPENDED: { wire: 'SUSPENDED', live: false, countsMemory: true, traffic: 'wake' },
  WAKING: { wire: 'SUSPENDED', live: true, countsMemory: true, traffic: 'hold' },
  TERMINATING: { wire: 'TERMINATING', live: true, countsMemory: false, traffic: 'refuse' },
  TERMINATED: { wire: 'TERMINATED', live: false, countsMemory: false, traffic: 'refuse' },
};

/** What may be asked of a microVM. */
export type MicrovmRequest = 'suspend' | 'resume' | 'terminate' | 'token';
/** `do` it; `nothing` is left to do, which is an answer of 200; `conflict` is 409; `ended` is AWS's 400. */
export type RequestOutcome = 'do' | 'nothing' | 'conflict' | 'ended';

/**
 * What each state makes of a request. Sections 1.6 and 13 for RUNNING, SUSPENDED and TERMINATED; ours for the others, which
 * a request meets only where what was under way broke off: it waits for that first.
 */
export const MICROVM_REQUESTS: { readonly [S in MicrovmState]: { readonly [R in MicrovmRequest]: RequestOutcome } } = {
  PENDING: { suspend: 'conflict', resume: 'conflict', terminate: 'do', token: 'do' },
  RUNNING: { suspend: 'do', resume: 'nothing', terminate: 'do', token: 'do' },
  SUSPENDING: { suspend: 'conflict', resume: 'conflict', terminate: 'do', token: 'do' },
  SUSPENDED: { suspend: 'nothing', resume: 'do', terminate: 'do', token: 'do' },
  WAKING: { suspend: 'conflict', resume: 'conflict', terminate: 'do', token: 'do' },
  TERMINATING: { suspend: 'ended', resume: 'ended', terminate: 'do', token: 'ended' },
  TERMINATED: { suspend: 'ended', resume: 'ended', terminate: 'nothing', token: 'ended' },
};

/** The state as AWS's API shows it: section 3.1 has no RESUMING, a waking microVM stays SUSPENDED. */
export const wireState = (state: MicrovmState) => MICROVM_STATE_RULES[state].wire;

/** Section 3.3; all three members are given or the whole policy is absent. */
export interface IdlePolicy {
  readonly maxIdleDurationSeconds: number;
  readonly suspendedDurationSeconds: number;
  readonly autoResumeEnabled: boolean;
}

/** Where a microVM's VMM process is: enough to find it again after a restart and never to mistake another for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks after boot. */
  readonly startTicks: number;
  /** /proc/sys/kernel/random/boot_id of the host. */
  readonly bootId: string;
}

/** One microVM as the store keeps it. Times are milliseconds since the epoch. */
export interface Microvm {
  readonly microvmId: string;
  /** The uuid of its host name; unrelated to the id (section 2.1). */
  readonly endpointId: string;
  readonly state: MicrovmState;
  readonly stateReason: string | null;
  readonly imageName: string;
  readonly imageArn: string;
  readonly imageVersion: string;
  /** Folder-safe id of the image version's snapshot. */
  readonly snapshotId: string;
  readonly baselineMib: number;
  readonly executionRoleArn: string | null;
  readonly idlePolicy: IdlePolicy | null;
  readonly maximumDurationSeconds: number;
  readonly ingressConnectors: readonly string[];
  readonly egressConnectors: readonly string[];
  readonly logging: LoggingConfig | null;
  readonly runHookPayload: string | null;
  readonly clientToken: string | null;
  /** Digest of the call that made it, where that had a client token (section 1.8). */
  readonly requestFingerprint: string | null;
  readonly startedAtMs: number;
  /** Since when it sleeps; a wake that its hook refused does not count. */
  readonly suspendedAtMs: number | null;
  readonly terminatedAtMs: number | null;
  /** The complete generation it sleeps in, or slept in last; 0 before the first suspend. */
  readonly generation: number;
  /** The highest generation number ever taken: numbers are never used twice. */
  readonly lastGeneration: number;
  readonly process: ProcessIdentity | null;
}

/** Why a microVM stands still that runs: its disk is on one that has no room left, or that can be neither written nor read. */
export type DiskFault = 'full' | 'failed';

const CHECK_HOOK = 'Please check your hook endpoint and application logs for more details.';

/** The reasons in `stateReason`. Section 3.1 where recorded; the others are ours (NOT FOUND in section 14). */
export const STATE_REASONS = {
  success: 'Success.',
  maximumDuration: 'The MicroVM reached its maximum duration.',
  suspendedDuration: 'The MicroVM reached its maximum suspended duration.',
  containerExited: (code: number) => `Container Stopped with Exit Code: ${code}`,
  hookStatus: (hook: string, status: number) => `${hook} lifecycle hook returned HTTP status ${status}. ${CHECK_HOOK}`,
  /** In the form of the one that is recorded; the duration as in section 2.5. */
  hookTimedOut: (hook: string, timeoutSeconds: number) => `${hook} lifecycle hook timed out after ${isoDuration(timeoutSeconds)}. ${CHECK_HOOK}`,
  hookUnreachable: (hook: string) => `${hook} lifecycle hook could not be reached. ${CHECK_HOOK}`,
  launchFailed: (step: string, detail: string) => `The MicroVM could not be launched (${step}): ${detail}`,
  agentLost: "The MicroVM's agent could not be reached any more.",
  notResumed: (detail: string) => `The MicroVM could not be resumed, and its disk had already moved on: ${detail}`,
  notSuspended: (detail: string) => `The MicroVM could neither be suspended nor go on: ${detail}`,
  diskStopped: {
    full: "The MicroVM stands still because the host's disk is full. It goes on when there is room again.",
    failed: "The MicroVM stands still because the host's disk fails. It goes on when that can be written and read again.",
  },
  vmmDied: (doing: string) => `The virtual machine's process ended unexpectedly while ${doing}.`,
} as const;

/** What is due next by the clock alone, for one microVM. */
export type Deadline = { readonly atMs: number; readonly action: 'suspend' | 'terminate'; readonly reason: string };

/**
 * The next thing that time alone will do to a microVM: end of its life (section 3.2), sleep after idleness, or the end of a
 * sleep (section 3.3; a suspended duration of 0 ends it at once). Where its end is due it does not fall asleep any more.
 * @param times.lastActivityMs when bytes last crossed its endpoint
 */
export function nextDeadline(microvm: Microvm, times: { readonly lastActivityMs: number; readonly nowMs: number }): Deadline | null {
  const { state, idlePolicy: policy } = microvm;
  if (!MICROVM_STATE_RULES[state].countsMemory) return null;
  const life: Deadline = {
    atMs: microvm.startedAtMs + microvm.maximumDurationSeconds * 1000,
    action: 'terminate',
    reason: STATE_REASONS.maximumDuration,
  };
  const candidates = [life];
  if (policy !== null && state === 'RUNNING' && life.atMs > times.nowMs) {
    const atMs = times.lastActivityMs + policy.maxIdleDurationSeconds * 1000;
    candidates.push({ atMs, action: 'suspend', reason: STATE_REASONS.success });
  }
  if (policy !== null && state === 'SUSPENDED' && microvm.suspendedAtMs !== null) {
    const atMs = microvm.suspendedAtMs + policy.suspendedDurationSeconds * 1000;
    candidates.push({ atMs, action: 'terminate', reason: STATE_REASONS.suspendedDuration });
  }
  return candidates.reduce((first, other) => (other.atMs < first.atMs ? other : first));
}
