/**
 * Runs a command of a build in namespaces of its own: user, PID, mount, network, IPC and UTS, as an unprivileged user, in a
 * root that holds little of the host (`sandbox-script.ts`). Killing its first process ends all of them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chown, mkdtemp, readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tailOf } from '../host/process.ts';
import { connectEgress, egressPlan, type EgressMode, type EgressRules } from './build-egress.ts';
import type { BuildUser } from './build-user.ts';
import { SANDBOX_SCRIPT } from './sandbox-script.ts';

export interface SandboxConfig {
  readonly user: BuildUser | null;
  /** The build user's own folder: storage, temporary files, mount points. */
  readonly homeDir: string;
  readonly maxProcesses: number;
  /** Limit of one file, in bytes. */
  readonly maxFileBytes: number;
  readonly egress: EgressRules;
}

export interface SandboxCommand {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Of the host, into the sandbox (`target` without leading slash). */
  readonly binds: readonly { readonly source: string; readonly target: string }[];
  readonly egress: EgressMode;
  /** Given to the command as descriptor 3. */
  readonly descriptor?: number;
  readonly stdout: (chunk: Buffer) => void;
  readonly stderr: (chunk: Buffer) => void;
  /** Kills everything in the sandbox. */
  readonly signal: AbortSignal;
}

/** Builds give way to the server and its microVMs: for the CPU, and when memory runs out. */
const NICENESS = 10;
const OOM_SCORE_ADJUST = 900;
const MAX_OPEN_FILES = 16_384;
const NOBODY_ELSE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs `command` to its end; nothing of it is left when this returns.
 * @returns the exit status; a command that died of signal N gives 128 + N
 * @throws the reason of `command.signal` where that ended it; Error where the sandbox itself could not be made
 */
export async function runInSandbox(config: SandboxConfig, command: SandboxCommand): Promise<number> {
  command.signal.throwIfAborted();
  await using root = await emptyFolder(join(config.homeDir, 'roots'), config.user);
  const child = await startSandbox(config, command, root.path);
  child.stdout!.on('data', command.stdout);
  child.stderr!.on('data', command.stderr);
  const stderrTail = tailOf(child.stderr!, 2048);
  const ended = new Promise<number>((resolve) => {
    child.once('close', (code) => resolve(code ?? 128 + 9));
  });
  const kill = (): void => killGroup(child);
  command.signal.addEventListener('abort', kill, { once: true });
  try {
    if (command.signal.aborted) kill();
    await using _ = await connectEgress({ mode: command.egress, rules: config.egress, user: config.user, pid: child.pid as number, signal: command.signal, ended });
    child.stdin!.on('error', () => undefined).end('go\n');
    const code = await ended;
    command.signal.throwIfAborted();
    if (code === SANDBOX_FAILED && stderrTail().startsWith('unshare:')) throw new Error(`the build's namespaces cannot be made: ${stderrTail().trim()}`);
    return code;
  } finally {
    command.signal.removeEventListener('abort', kill);
    kill();
    await ended;
  }
}

/** What unshare(1) ends with where it fails itself. */
const SANDBOX_FAILED = 1;

async function startSandbox(config: SandboxConfig, command: SandboxCommand, root: string): Promise<ChildProcess> {
  const { user } = config;
  const plan = egressPlan(command.egress, config.egress);
  const binds = command.binds.flatMap(({ source, target }) => [source, target]);
  const argv = [
    ...(user === null ? ['setpriv'] : ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups']),
    '--pdeathsig=KILL',
    'nice',
    `--adjustment=${NICENESS}`,
    'choom',
    `--adjust=${OOM_SCORE_ADJUST}`,
    '--',
    'prlimit',
    `--nproc=${config.maxProcesses + (user === null ? await ownProcesses() : 0)}`,
    `--fsize=${config.maxFileBytes}`,
    `--nofile=${MAX_OPEN_FILES}`,
    '--core=0',
    '--',
    ...['unshare', '--map-root-user', '--map-auto', '--mount', '--pid', '--net', '--ipc', '--uts', '--fork', '--kill-child'],
    ...['sh', '-c', SANDBOX_SCRIPT, 'lull-build', root, ...binds, '--', ...plan.denied, '--', ...plan.allowed, '--'],
    ...command.argv,
  ];
  const child = spawn(argv[0] as string, argv.slice(1), {
    cwd: '/',
    // A group of its own, so that one kill reaches unshare and process 1 of the namespace alike.
    detached: true,
    env: { PATH: NOBODY_ELSE_PATH, LANG: 'C.UTF-8', ...command.env, LULL_NAMESERVER: plan.nameserver ?? '', LULL_GATEWAY: plan.gateway ?? '' },
    stdio: ['pipe', 'pipe', 'pipe', command.descriptor ?? 'ignore'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  return child;
}

/** Process 1 of a PID namespace takes all others with it; the group holds it and what started it. */
function killGroup(child: ChildProcess): void {
  // Once reaped the number may be another's.
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Without a user of its own the build shares the process limit with all that its user runs already, threads counted. */
async function ownProcesses(): Promise<number> {
  const uid = process.getuid?.() ?? 0;
  let threads = 0;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    if (new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status)) threads += Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return threads;
}

async function emptyFolder(parent: string, user: BuildUser | null): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(parent, 'root-'));
  // The parent is ours alone to write, so this name is still the folder just made.
  if (user !== null) await chown(path, user.uid, user.gid);
  // Not recursive: what was mounted there went with the namespace, and the folder is empty.
  return { path, [Symbol.asyncDispose]: () => rmdir(path) };
}

/** Runs a command and collects its standard output. @throws Error with the end of its standard error where it fails */
export async function sandboxOutput(config: SandboxConfig, command: Omit<SandboxCommand, 'stdout' | 'stderr'>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  let said = Buffer.alloc(0);
  const code = await runInSandbox(config, {
    ...command,
    stdout: (chunk) => {
      size += chunk.length;
      if (size <= MAX_COLLECTED_BYTES) chunks.push(chunk);
    },
    stderr: (chunk) => {
      said = Buffer.concat([said, chunk]).subarray(-MAX_SAID_BYTES);
    },
  });
  if (code !== 0) throw new Error(`${command.argv.slice(0, 2).join(' ')} ended with status ${code}: ${said.toString().trim()}`);
  if (size > MAX_COLLECTED_BYTES) throw new Error(`${command.argv.slice(0, 2).join(' ')} wrote more than ${MAX_COLLECTED_BYTES} bytes`);
  return Buffer.concat(chunks).toString();
}

const MAX_COLLECTED_BYTES = 4 * 1024 * 1024;
const MAX_SAID_BYTES = 4096;
