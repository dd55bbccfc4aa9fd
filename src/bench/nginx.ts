/** nginx as a user would put it before one application: TLS in front, connections kept behind, bodies not laid on disk. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tailOf } from '../host/process.ts';

const HOST = '127.0.0.1';
const START_LIMIT_MS = 10_000;
const POLL_MS = 20;

/** The program; undefined where the machine has none. */
export async function findNginx(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of [...(env['PATH'] ?? '').split(delimiter), '/usr/sbin']) {
    const path = join(folder, 'nginx');
    if (folder !== '' && (await access(path, constants.X_OK).then(() => true, () => false))) return path;
  }
  return undefined;
}

export interface NginxOrder {
  readonly program: string;
  readonly folder: string;
  readonly upstreamPort: number;
  readonly certPath: string;
  readonly keyPath: string;
  /** Words before the command: which core it gets. */
  readonly pinned: readonly [string, ...string[]];
}

export interface Nginx extends AsyncDisposable {
  readonly port: number;
  /** The process that does the work. */
  readonly workerPid: number;
}

/** Starts it with one worker. @throws Error with its words where it does not come up */
export async function startNginx(order: NginxOrder): Promise<Nginx> {
  await mkdir(order.folder);
  const port = await freePort();
  const configuration = join(order.folder, 'nginx.conf');
  await writeFile(configuration, configurationOf(order, port));
  const [first, ...rest] = order.pinned;
  const child = spawn(first, [...rest, order.program, '-p', order.folder, '-e', 'stderr', '-c', configuration], { stdio: ['ignore', 'ignore', 'pipe'] });
  const said = tailOf(child.stderr);
  const exit = once(child, 'exit').catch(() => undefined);
  const end = async () => {
    child.kill('SIGTERM');
    await exit;
  };
  try {
    await answering(port, child);
    const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
    return { port, workerPid: Number(children.trim().split(' ')[0]), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw new Error(`nginx did not start: ${said().trim()}`, { cause: error });
  }
}

function configurationOf({ folder, upstreamPort, certPath, keyPath }: NginxOrder, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `  ${what}_temp_path ${join(folder, what)};`);
  return `daemon off;
pid ${join(folder, 'nginx.pid')};
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
${temporary.join('\n')}
  access_log ${join(folder, 'access.log')};
  keepalive_requests 1000000000;
  client_max_body_size 0;
  map $http_upgrade $hop { default upgrade; '' ''; }
  upstream application {
    server ${HOST}:${upstreamPort};
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen ${HOST}:${port} ssl backlog=4096;
    ssl_certificate ${certPath};
    ssl_certificate_key ${keyPath};
    location / {
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $hop;
      proxy_set_header Upgrade $http_upgrade;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }
  }
}
`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** nginx tells nobody that it listens. */
async function answering(port: number, child: ChildProcess): Promise<void> {
  const untilMs = performance.now() + START_LIMIT_MS;
  while (performance.now() < untilMs && child.exitCode === null && child.pid !== undefined) {
    const socket = connect({ host: HOST, port });
    const isThere = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (isThere) return;
    await delay(POLL_MS);
  }
  throw new Error('it does not listen');
}
