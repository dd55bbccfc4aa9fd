/**
 * The network of a build: none, or outwards through slirp4netns, a user-space stack that runs as the build's user beside
 * the sandbox. Never to this host, to private networks or to link-local services, unless the configuration allows it.
 * Where the server is root, nftables says the same a second time about every socket of that user.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, readFile, readlink } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { DENIED_NETWORKS } from '../domain/networks.ts';
import { nftablesWork, removeTable, replaceTable, tablesOfInet } from '../host/nftables.ts';
import { run, tailOf } from '../host/process.ts';
import { resolversIn } from '../host/resolvers.ts';
import { within } from '../lib/deadline.ts';
import type { BuildUser } from './build-user.ts';

export type EgressMode = 'none' | 'slirp4netns';

export interface EgressRules {
  /** CIDRs (IPv4) that are reached although {@link DENIED_NETWORKS} holds them: a registry or a proxy in a private network. */
  readonly allowedNetworks: readonly string[];
}

/** From the block for benchmarks (RFC 2544), so that it shadows nobody's network; slirp4netns derives gateway and DNS from it. */
const SANDBOX_NETWORK = '198.18.0.0/24';
const SANDBOX_GATEWAY = '198.18.0.2';
const SANDBOX_NAMESERVER = '198.18.0.3';
const READY_LIMIT_MS = 10_000;
const COMMAND_LIMIT_MS = 10_000;
const TUN_MAJOR_MINOR = ['10', '200'] as const;

/** Every IPv4 address of this host, as /32. */
function hostNetworks(): readonly string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => `${address}/32`);
}

/** What the sandbox itself sets up: routes that lead nowhere, longest prefix first by the kernel's own rule. */
export function egressPlan(mode: EgressMode, rules: EgressRules): { denied: readonly string[]; allowed: readonly string[]; nameserver?: string; gateway?: string } {
  if (mode === 'none') return { denied: [], allowed: [] };
  // 127/8 stays: inside it is the sandbox's own loopback.
  const denied = [...DENIED_NETWORKS.filter((network) => network !== '127.0.0.0/8'), ...hostNetworks()];
  return { denied, allowed: rules.allowedNetworks, nameserver: SANDBOX_NAMESERVER, gateway: SANDBOX_GATEWAY };
}

/** What this machine can do, and in words why. */
export interface EgressChoice {
  readonly mode: EgressMode;
  readonly reason: string;
}

/** Chooses how builds reach the network: the configured way, or the best that works here; without one, none. */
export async function chooseEgress(wanted: 'auto' | EgressMode, user: BuildUser | null): Promise<EgressChoice> {
  if (wanted === 'none') return { mode: 'none', reason: 'builds have no network: configured' };
  const missing = await slirpFault(user);
  if (missing !== undefined) return { mode: 'none', reason: `builds have no network: ${missing}` };
  return { mode: 'slirp4netns', reason: 'builds reach the network through slirp4netns, but not this host or private networks' };
}

async function slirpFault(user: BuildUser | null): Promise<string | undefined> {
  try {
    await run(['slirp4netns', '--version'], { timeoutMs: COMMAND_LIMIT_MS });
  } catch {
    return 'slirp4netns is not installed';
  }
  if (user !== null) return undefined;
  return access('/dev/net/tun', constants.R_OK | constants.W_OK).then(
    () => undefined,
    () => '/dev/net/tun is not open to this user',
  );
}

/**
 * Connects the network of the sandbox whose first process is `pid`; disposing ends the connection.
 * A sandbox that has ended already gets none: its own error is the one that counts.
 * @throws Error where it does not come up
 */
export async function connectEgress(options: {
  mode: EgressMode;
  rules: EgressRules;
  user: BuildUser | null;
  pid: number;
  signal: AbortSignal;
  ended: Promise<unknown>;
}): Promise<AsyncDisposable> {
  if (options.mode === 'none') return { [Symbol.asyncDispose]: async () => undefined };
  if (!(await namespacesMade(options.pid, options.ended))) return { [Symbol.asyncDispose]: async () => undefined };
  const child = spawn('setpriv', slirpArgv(options.user, options.pid), {
    cwd: '/',
    detached: true,
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const said = tailOf(child.stderr!);
  const exited = new Promise<'exited'>((resolve) => {
    child.once('error', () => resolve('exited'));
    child.once('close', () => resolve('exited'));
  });
  const end = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    await exited;
  };
  try {
    const ready = once(child.stdio[3] as NodeJS.ReadableStream as never, 'data', { signal: options.signal }).then(() => 'ready' as const);
    const outcome = await within('connecting the network of the build', READY_LIMIT_MS, Promise.race([ready, exited]));
    ready.catch(() => undefined);
    if (outcome === 'exited') throw new Error(`slirp4netns ended: ${said().trim()}`);
  } catch (error) {
    await end();
    throw error;
  }
  return { [Symbol.asyncDispose]: end };
}

function slirpArgv(user: BuildUser | null, pid: number): string[] {
  const slirp = ['slirp4netns', '--configure', '--disable-host-loopback', '--enable-seccomp', '--mtu=65520', `--cidr=${SANDBOX_NETWORK}`, '--ready-fd=3', `${pid}`, 'tap0'];
  if (user === null) return ['--pdeathsig=KILL', '--no-new-privs', ...slirp];
  const asUser = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups', '--no-new-privs', '--pdeathsig=KILL', ...slirp];
  // The machine's own /dev/net/tun may be root's only: this process alone sees one that is open to the build's user.
  const script = `mount -t tmpfs -o mode=755,size=4k lull-tun /dev/net && mknod -m 666 /dev/net/tun c ${TUN_MAJOR_MINOR.join(' ')} && exec "$@"`;
  return ['--pdeathsig=KILL', 'unshare', '--mount', 'sh', '-c', script, 'lull-tun', ...asUser];
}

const NAMESPACE_POLL_MS = 2;
const NAMESPACE_LIMIT_MS = 10_000;

/**
 * The sandbox's first process leaves our network namespace before its script runs; there is no event for that, so we look.
 * @returns false where it ended before
 */
async function namespacesMade(pid: number, ended: Promise<unknown>): Promise<boolean> {
  let over = false;
  void ended.then(() => (over = true));
  const ours = await readlink('/proc/self/ns/net');
  for (let waitedMs = 0; !over; waitedMs += NAMESPACE_POLL_MS) {
    if (waitedMs > NAMESPACE_LIMIT_MS) throw new Error("the build's namespaces were not made in time");
    const [theirs, map] = await Promise.all([
      readlink(`/proc/${pid}/ns/net`).catch(() => ours),
      readFile(`/proc/${pid}/uid_map`, 'utf8').catch(() => ''),
    ]);
    // The user namespace is made in the same moment; its map is empty until the ids are mapped.
    if (theirs !== ours && map.trim() !== '') return true;
    await new Promise((resolve) => setTimeout(resolve, NAMESPACE_POLL_MS));
  }
  return false;
}

/** Tables of ours carry the pid of the server that made them. */
const TABLE_PREFIX = 'lull_build_';
const TABLE_NAME = new RegExp(`^${TABLE_PREFIX}(\\d+)$`);

/**
 * As root: tells nftables that no socket of the build's user reaches this host or a denied network, whatever happens inside
 * the sandbox.
 * @returns removes the table again; undefined where nftables cannot be used (the sandbox's own routes hold alone then)
 */
export async function denyHostFor(user: BuildUser, rules: EgressRules): Promise<AsyncDisposable | undefined> {
  const table = `${TABLE_PREFIX}${process.pid}`;
  if (!(await nftablesWork())) return undefined;
  await replaceTable(table, chainText({ uid: user.uid, rules, resolvers: await resolversIn('/etc/resolv.conf') }));
  return { [Symbol.asyncDispose]: () => removeTable(table).catch(() => undefined) };
}

/** Drops the rules of servers that are gone. @throws CommandError where nftables cannot be used */
export async function sweepHostRules(): Promise<void> {
  for (const name of await tablesOfInet()) {
    const pid = TABLE_NAME.exec(name)?.[1];
    if (pid === undefined) continue;
    const alive = await access(`/proc/${pid}`).then(
      () => true,
      () => false,
    );
    if (!alive) await removeTable(name);
  }
}

function chainText({ uid, rules, resolvers }: { uid: number; rules: EgressRules; resolvers: readonly string[] }): string {
  const of = `meta skuid ${uid}`;
  const toResolvers = resolvers.flatMap((address) => ['udp', 'tcp'].map((protocol) => `${of} ${address.includes(':') ? 'ip6' : 'ip'} daddr ${address} ${protocol} dport 53 accept`));
  const allowed = rules.allowedNetworks.map((network) => `${of} ip daddr ${network} oifname != "lo" accept`);
  const lines = [
    ...toResolvers,
    ...allowed,
    // Whatever goes to one of the host's own addresses leaves through lo.
    `${of} oifname "lo" reject`,
    `${of} ip daddr { ${DENIED_NETWORKS.join(', ')} } reject`,
    `${of} ip6 daddr { fc00::/7, fe80::/10, ff00::/8 } reject`,
  ];
  return ` chain output {\n  type filter hook output priority 0; policy accept;\n  ${lines.join('\n  ')}\n }\n`;
}
