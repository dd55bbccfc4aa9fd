/** Child processes: short commands that are awaited, and the identity by which long-lived ones are found again. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { ProcessIdentity } from '../domain/microvm.ts';
import { DIRECT, effect, type Effects } from '../lib/effects.ts';

const OUTPUT_TAIL_BYTES = 16 * 1024;
const KILL_GRACE_MS = 5000;

/** A command that could not start, was killed, or ended with a status other than 0. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The end of standard error (at most 16 KiB). */
  readonly stderr: string;

  constructor(message: string, outcome: { exitCode: number | null; signal: NodeJS.Signals | null; stderr: string }, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = outcome.exitCode;
    this.signal = outcome.signal;
    this.stderr = outcome.stderr;
  }
}

export interface RunOptions {
  readonly cwd?: string;
  /** Replaces the environment; inherited where absent. */
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string | Buffer;
  /** Ends the command: SIGTERM, then SIGKILL after five seconds. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Standard output beyond this is an error (default 16 MiB). */
  readonly maxOutputBytes?: number;
}

/**
 * Runs a program to its end and returns its standard output.
 * @param argv program and arguments; never a shell string
 * @throws CommandError with one line that names the program and why it failed
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<string> {
  const limit = options.maxOutputBytes ?? 16 * 1024 * 1024;
  const deadline = options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs);
  const signals = [options.signal, deadline].filter((signal) => signal !== undefined);
  const child = spawn(argv[0], argv.slice(1), {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  using _ = endWhenAborted(child, AbortSignal.any(signals));
  child.stdin?.on('error', () => undefined).end(options.input);
  const chunks: Buffer[] = [];
  let size = 0;
  child.stdout!.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    else child.kill('SIGKILL');
  });
  const stderr = tailOf(child.stderr!);
  const { exitCode, signal, error } = await ended(child);
  if (error === undefined && exitCode === 0 && size <= limit) return Buffer.concat(chunks).toString();
  const why =
    error !== undefined
      ? `could not be started: ${error.message}`
      : size > limit
        ? `wrote more than ${limit} bytes`
        : deadline?.aborted === true
          ? `did not end within ${options.timeoutMs} ms`
          : signal !== null
            ? `was ended by ${signal}`
            : `ended with status ${exitCode}`;
  const said = stderr().trim().split('\n').at(-1);
  throw new CommandError(`${argv[0]} ${why}${said ? `: ${said}` : ''}`, { exitCode, signal, stderr: stderr() }, error);
}

/** How a process ended. */
interface Outcome {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: Error;
}

function ended(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ exitCode: null, signal: null, error }));
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

function endWhenAborted(child: ChildProcess, signal: AbortSignal): Disposable {
  let killer: NodeJS.Timeout | undefined;
  const abort = () => {
    child.kill('SIGTERM');
    killer = setTimeout(() => child.kill('SIGKILL'), KILL_GRACE_MS).unref();
  };
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return {
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', abort);
      clearTimeout(killer);
    },
  };
}

/** Keeps the end of what a stream says; the returned function reads it. */
export function tailOf(stream: Readable, limitBytes = OUTPUT_TAIL_BYTES): () => string {
  let tail = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-limitBytes);
  });
  stream.on('error', () => undefined);
  return () => tail.toString();
}

/**
 * Starts a process that outlives this one: own session, nothing of ours open but what `stdio` gives it.
 * @throws CommandError where it could not be started
 */
export function startDetached(argv: readonly [string, ...string[]], stdio: StdioOptions): Promise<ChildProcess> {
  const child = spawn(argv[0], argv.slice(1), { stdio, detached: true, cwd: '/' });
  return new Promise((resolve, reject) => {
    child.once('spawn', () => {
      child.unref();
      resolve(child);
    });
    child.once('error', (error) =>
      reject(new CommandError(`${argv[0]} could not be started: ${error.message}`, { exitCode: null, signal: null, stderr: '' }, error)),
    );
  });
}

/** This boot of the host: process numbers mean nothing across boots. */
export function hostBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Start time and state letter of a process (proc(5), /proc/PID/stat fields 22 and 3); undefined where it is gone. */
async function processStat(pid: number): Promise<{ startTicks: number; state: string } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  return { state: statField(stat, 3), startTicks: Number(statField(stat, 22)) };
}

/**
 * One field of /proc/PID/stat.
 * @param number from the third on, as proc(5) counts
 */
export function statField(stat: string, number: number): string {
  // The second field is the command in parentheses and may hold anything: count from its end.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[number - 3]!;
}

/** The identity of a running process; undefined where it is gone. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await processStat(pid);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks, bootId: hostBootId() };
}

/** True while the very process of that identity runs (a zombie does not). */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  if (identity.bootId !== hostBootId()) return false;
  const stat = await processStat(identity.pid);
  return stat !== undefined && stat.startTicks === identity.startTicks && stat.state !== 'Z' && stat.state !== 'X';
}

const GONE_LIMIT_MS = 10_000;
const GONE_POLL_MS = 2;

/**
 * Kills the very process of that identity, if it still runs, and waits until it is gone.
 * @throws Error where it is still there after ten seconds (it hangs in the kernel)
 */
export async function endProcess(identity: ProcessIdentity, effects: Effects = DIRECT): Promise<void> {
  if (!(await isRunning(identity))) return;
  await effect(effects, { kind: 'kill', subject: 'a process' }, () => killAndWait(identity));
}

async function killAndWait(identity: ProcessIdentity): Promise<void> {
  try {
    process.kill(identity.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  // There is no event for the end of a process that is not our child, so we look; it takes a few milliseconds.
  for (let waitedMs = 0; await isRunning(identity); waitedMs += GONE_POLL_MS) {
    if (waitedMs > GONE_LIMIT_MS) throw new Error(`process ${identity.pid} does not end`);
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
}

/**
 * The processes one of whose arguments begins with these words, exactly.
 * @param prefix specific enough that nobody else's process has it
 */
export async function processesWithArgument(prefix: string): Promise<readonly ProcessIdentity[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: ProcessIdentity[] = [];
  for (const pid of pids) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!commandLine.split('\0').some((argument) => argument.startsWith(prefix))) continue;
    const identity = await identityOf(pid);
    if (identity !== undefined) found.push(identity);
  }
  return found;
}
