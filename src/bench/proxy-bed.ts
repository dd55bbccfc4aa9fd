/** What `lull bench proxy` measures natively: servers on one core, the load and the application behind on the other. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandFailure } from '../cli/command-line.ts';
import type { Clock } from '../domain/ports.ts';
import { ensureCertificates, type Certificates } from '../proxy/certificates.ts';
import { Child } from './child.ts';
import type { LoadMessage, LoadOrder, LoadResult, LoadStart, Target } from './load.ts';
import { DOMAIN, type MeasuredKind, type MeasuredMessage, type MeasuredStart } from './measured.ts';
import { findNginx, startNginx } from './nginx.ts';
import { allowedCores } from './process-usage.ts';

/** On disk, as logs are. */
const PARENT = '/var/tmp';

/** A server under measurement. */
export interface Side extends AsyncDisposable {
  readonly target: Target;
  /** The process that does the work. */
  readonly pid: number;
  /** Has it give back the memory that it does not need. */
  tidy(): Promise<void>;
}

/** `direct` is the application without anything before it. */
export type SideName = 'direct' | 'nginx' | MeasuredKind;

export interface ProxyBed extends AsyncDisposable {
  readonly direct: Target;
  /** Where there is one on this machine. */
  readonly hasNginx: boolean;
  /** Has the load process do one thing. @throws Error where an answer was not the right one */
  load(order: LoadOrder): Promise<LoadResult>;
  /** Starts a fresh server. */
  start(name: Exclude<SideName, 'direct'>): Promise<Side>;
}

export interface ProxyBedOrder {
  readonly bulkBytes: number;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
}

/** Starts load and application. @throws CommandFailure where this machine has one core only */
export async function makeProxyBed({ bulkBytes, env, clock }: ProxyBedOrder): Promise<ProxyBed> {
  const [measuredCore, ...loadCores] = allowedCores();
  if (loadCores.length === 0) throw new CommandFailure('bench proxy needs two cores: one for the server that is measured, one for the load.');
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(PARENT, 'lull-bench-proxy-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const certificates = await ensureCertificates({ dir: join(folder, 'tls'), domain: DOMAIN, clock });
  const ca = await readFile(certificates.caPath, 'utf8');
  const nginx = await findNginx(env);
  const start: LoadStart = { bulkBytes };
  const loading = await Child.start<LoadOrder, LoadMessage>({
    ...{ entry: 'load-process', start, pinned: pinnedTo(loadCores), logPath: join(folder, 'load.log') },
  });
  stack.use(loading.child);
  if (!('upstreamPort' in loading.said)) throw new Error('the load process did not start');
  const { upstreamPort } = loading.said;
  const servers = new Servers({ folder, ca, certificates, upstreamPort, nginx, pinned: pinnedTo([measuredCore!]) });
  const held = stack.move();
  return {
    direct: { port: upstreamPort, headers: { Host: `localhost:${upstreamPort}` } },
    hasNginx: nginx !== undefined,
    load: async (order) => {
      const answer = await loading.child.ask(order);
      if ('result' in answer) return answer.result;
      throw new Error('failure' in answer ? answer.failure : 'the load process started anew');
    },
    start: (name) => (name === 'nginx' ? servers.nginx() : servers.node(name)),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** taskset(1), which every Linux has (util-linux). */
const pinnedTo = (cores: readonly number[]) => ['taskset', '--cpu-list', cores.join()] as const satisfies [string, ...string[]];

interface ServerParts {
  readonly folder: string;
  readonly ca: string;
  readonly certificates: Certificates;
  readonly upstreamPort: number;
  readonly nginx: string | undefined;
  readonly pinned: readonly [string, ...string[]];
}

/** Starts them, each with the same certificate before the same application. */
class Servers {
  readonly #parts: ServerParts;
  #started = 0;

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  async node(kind: MeasuredKind): Promise<Side> {
    const { folder, ca, pinned, upstreamPort, certificates } = this.#parts;
    const { certPath, keyPath } = certificates;
    const start: MeasuredStart = { kind, upstreamPort, certPath, keyPath };
    const { child, said } = await Child.start<'tidy', MeasuredMessage>({ entry: 'measured-process', start, pinned, logPath: join(folder, `${kind}.log`) });
    if (said === 'tidy') throw new Error('a server said something else first');
    return {
      target: { port: said.port, tls: { ca, servername: said.headers['Host']!.split(':')[0]! }, headers: said.headers },
      pid: child.pid,
      tidy: async () => void (await child.ask('tidy')),
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    };
  }

  async nginx(): Promise<Side> {
    const { folder, ca, pinned, upstreamPort, certificates, nginx } = this.#parts;
    if (nginx === undefined) throw new Error('there is no nginx');
    this.#started += 1;
    const { certPath, keyPath } = certificates;
    const server = await startNginx({ program: nginx, folder: join(folder, `nginx-${this.#started}`), upstreamPort, certPath, keyPath, pinned });
    const servername = `bench.${DOMAIN}`;
    return {
      target: { port: server.port, tls: { ca, servername }, headers: { Host: `${servername}:${server.port}` } },
      pid: server.workerPid,
      tidy: async () => undefined,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  }
}
