import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AgentSession } from '../../../src/guest/agent-session.ts';
import type { ConnectOptions } from '../../../src/guest/connect-options.ts';

const CRATE = fileURLToPath(new URL('../../../guest/', import.meta.url));
const BUILD_LIMIT_MS = 300_000;

/** Why the agent's end cannot be had here, or undefined where it is built. */
export function buildLoopback(): string | undefined {
  const built = spawnSync('cargo', ['build', '--quiet', '--release', '--example', 'loopback'], { cwd: CRATE, timeout: BUILD_LIMIT_MS, encoding: 'utf8' });
  if (built.error !== undefined) return `no cargo: ${built.error.message}`;
  if (built.status !== 0) throw new Error(`cargo build failed:\n${built.stderr}`);
  return undefined;
}

/** The agent's protocol engine, serving on a Unix socket. */
export class Loopback implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #socketPath: string;
  /** Where the application finds the service `metadata`. */
  readonly servicePort: number;

  private constructor(process: ChildProcess, folder: string, servicePort: number) {
    this.#process = process;
    this.#folder = folder;
    this.#socketPath = socketOf(folder);
    this.servicePort = servicePort;
  }

  static async start(): Promise<Loopback> {
    const folder = mkdtempSync(join(tmpdir(), 'lull-agent-'));
    const binary = join(process.env.CARGO_TARGET_DIR ?? join(CRATE, 'target'), 'release', 'examples', 'loopback');
    if (!existsSync(binary)) throw new Error(`${binary} was not built`);
    const child = spawn(binary, [socketOf(folder)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [said] = await Promise.race([
      once(child.stdout, 'data') as Promise<[Buffer]>,
      once(child, 'exit').then(([code]) => {
        throw new Error(`loopback ended with ${String(code)}`);
      }),
    ]);
    return new Loopback(child, folder, Number(said.toString()));
  }

  /** A connection of the application's to the service `metadata`. */
  connectService(): Socket {
    return connect({ port: this.servicePort, host: '127.0.0.1', allowHalfOpen: true });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** A raw channel to the agent. */
  async dial(): Promise<Socket> {
    const socket = connect(this.#socketPath);
    await once(socket, 'connect');
    return socket;
  }

  async session(options: Partial<ConnectOptions> = {}): Promise<AgentSession> {
    return AgentSession.connect(await this.dial(), { ...DEFAULTS, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#process, 'exit');
    if (this.#process.exitCode === null) {
      this.#process.stdin?.end();
      await exited;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const socketOf = (folder: string) => join(folder, 'agent.sock');

export const DEFAULTS: ConnectOptions = {
  secret: '',
  timeoutMs: 10_000,
  clock: { nowMs: () => Date.now() },
  random: { bytes: (length) => randomBytes(length) },
};

/** A TCP server on a free port of 127.0.0.1. */
export async function serve(onConnection: (socket: Socket) => void): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
