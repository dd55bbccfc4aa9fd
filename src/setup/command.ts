/** Runs the system's tools for set-up: argv, a time limit, and the tail of what they said in the error. */
import { spawn } from 'node:child_process';
import type { SpawnOptions } from 'node:child_process';
import { constants } from 'node:os';
import { LullError } from '../domain/errors.ts';

const TAIL_BYTES = 8 * 1024;
/** Room for a package list or a linker map; more than that means the wrong command. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const TERMINATION_GRACE_MS = 3000;

export interface CommandOptions {
  /** What is being done, for the error. */
  readonly purpose: string;
  readonly timeoutMs: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Runs as this user. */
  readonly as?: { readonly uid: number; readonly gid: number };
  /** Given to its standard input. */
  readonly input?: string;
  /** An open file that takes its standard output instead of the result. */
  readonly stdoutFd?: number;
  readonly signal?: AbortSignal;
}

/**
 * Runs a command to its end.
 * @returns its standard output
 * @throws LullError internal with its last words where it fails or takes too long
 */
export async function runCommand(argv: readonly [string, ...string[]], options: CommandOptions): Promise<string> {
  const { purpose } = options;
  const child = spawn(argv[0], argv.slice(1), spawnOptions(options));
  const output: Buffer[] = [];
  let outputBytes = 0;
  let tail = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (outputBytes <= MAX_OUTPUT_BYTES) output.push(chunk);
    else child.kill('SIGTERM');
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-TAIL_BYTES);
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input ?? '');

  const fail = (detail: string, cause?: unknown) => {
    const words = tail.trim();
    return new LullError('internal', `${purpose}: \`${argv[0]}\` ${detail}${words === '' ? '' : `\n${words}`}`, { cause });
  };
  return await new Promise((resolve, reject) => {
    let ended: string | undefined;
    let killing: NodeJS.Timeout | undefined;
    const stop = (why: string) => {
      ended ??= why;
      signalGroup(child.pid, 'SIGTERM');
      killing ??= setTimeout(() => signalGroup(child.pid, 'SIGKILL'), TERMINATION_GRACE_MS);
    };
    const limit = setTimeout(() => stop(`took longer than ${options.timeoutMs / 1000} s`), options.timeoutMs);
    const abort = () => stop('was interrupted');
    options.signal?.addEventListener('abort', abort, { once: true });
    if (options.signal?.aborted) abort();
    const settle = () => {
      clearTimeout(limit);
      clearTimeout(killing);
      options.signal?.removeEventListener('abort', abort);
    };
    child.once('error', (error) => {
      settle();
      reject(fail(`could not be started (${error.message})`, error));
    });
    child.once('close', (code, signal) => {
      settle();
      if (ended !== undefined) reject(fail(ended));
      else if (outputBytes > MAX_OUTPUT_BYTES) reject(fail('said more than can be right'));
      else if (code === 0) resolve(Buffer.concat(output).toString('utf8'));
      else reject(fail(signal === null ? `ended with status ${code}` : `was ended by ${signal}`));
    });
  });
}

function spawnOptions(options: CommandOptions): SpawnOptions {
  return {
    stdio: ['pipe', options.stdoutFd ?? 'pipe', 'pipe'],
    env: { ...(options.env ?? process.env), LC_ALL: 'C.UTF-8' },
    // Its own process group, so that what it started ends with it.
    detached: true,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.as === undefined ? {} : { uid: options.as.uid, gid: options.as.gid }),
  };
}

function signalGroup(pid: number | undefined, signal: keyof typeof constants.signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone already.
  }
}
