/** A server of a command's own: its own data folder, free ports, gone with the command. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { readServerAddress } from '../client/data-folder.ts';
import type { Machine, Terminal } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { findInstallation } from './installation.ts';
import type { Installation } from './installation.ts';

/** Where its folder is made: on disk, since images and memory are large and /tmp may be memory. */
const PARENT = '/var/tmp';
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
const POLL_MS = 20;
const TAIL_CHARACTERS = 64_000;

/** A running server that is ended, with all its microVMs and files, when it is disposed of. */
export interface OwnServer extends AsyncDisposable {
  readonly installation: Installation;
  /** The last warnings and errors that it logged. */
  complaints(): readonly string[];
}

/**
 * Starts a server and waits until it is ready.
 * @throws CommandFailure with its last words where it does not come up
 */
export async function startOwnServer(terminal: Terminal, machine: Machine): Promise<OwnServer> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(PARENT, 'lull-demo-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o700);
  const data = join(folder, 'data');
  // Its own process group: Ctrl-C reaches this command alone, which then ends the server in good order.
  const words = [...machine.self, 'up', '--config', 'none', '--data', data, '--runtime', join(folder, 'run'), '--listen', '127.0.0.1:0', '--endpoint-listen', '127.0.0.1:0'];
  const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: withoutSettings(terminal.env) });
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-TAIL_CHARACTERS);
    });
  }
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      tail += error.message;
      resolve();
    });
  });
  stack.defer(() => endServer(child, ended));
  const installation = await ready(terminal, { data, ended, words: () => tail.trim().split('\n').slice(-MAX_COMPLAINTS).join('\n') });
  stack.defer(() => endMicrovms(installation));
  const held = stack.move();
  return { installation, complaints: () => complaintsIn(tail), [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** pino's number for warnings. */
const WARNING = 40;
const MAX_COMPLAINTS = 5;
const logLine = z.object({ level: z.number(), msg: z.string(), err: z.object({ message: z.string() }).optional() });

function complaintsIn(log: string): readonly string[] {
  const complaints = log.split('\n').map((line) => {
    try {
      const parsed = logLine.safeParse(JSON.parse(line));
      if (!parsed.success) return undefined;
      const { level, msg, err } = parsed.data;
      return level < WARNING ? undefined : [msg, err?.message].filter((part) => part !== undefined).join(': ');
    } catch {
      // What is no log line is Node's own report of a defect.
      return /^\w*Error\b/.test(line) ? line : undefined;
    }
  });
  return complaints.filter((line) => line !== undefined).slice(-MAX_COMPLAINTS);
}

/** Settings of the user's own server do not apply; those of the machine do. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = new Set(['LULL_PLATFORM', 'LULL_DRIVER', 'LULL_ACCEL', 'LULL_BUILD_ENV', 'LULL_DEBUG']);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LULL_') || kept.has(name)));
}

async function ready(terminal: Terminal, server: { data: string; ended: Promise<void>; words: () => string }): Promise<Installation> {
  let gone = false;
  void server.ended.then(() => (gone = true));
  for (let waitedMs = 0; waitedMs < START_LIMIT_MS; waitedMs += POLL_MS) {
    terminal.signal.throwIfAborted();
    if (gone) throw new CommandFailure(`The server did not start:\n${server.words()}`);
    const address = await readServerAddress(server.data).catch(() => undefined);
    if (address !== undefined) {
      const installation = await findInstallation(terminal, { data: server.data });
      const answers = await installation.client.health().then(
        () => true,
        () => false,
      );
      if (answers) return installation;
    }
    await delay(POLL_MS);
  }
  throw new CommandFailure(`The server is not ready after ${START_LIMIT_MS / 1000} s:\n${server.words()}`);
}

/** The server's end leaves microVMs running: they go first. */
async function endMicrovms({ client }: Installation): Promise<void> {
  try {
    for await (const { microvmId, state } of client.list('ListMicrovms', {})) {
      if (state !== 'TERMINATED') await client.call('TerminateMicrovm', { microvmIdentifier: microvmId });
    }
  } catch {
    // The server is gone: nothing more can be done through it.
  }
}

async function endServer(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const slow = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await ended;
  clearTimeout(slow);
}
