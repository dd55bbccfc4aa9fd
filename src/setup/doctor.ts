/** What this machine can and cannot do, and the mend. */
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { lookup } from 'node:dns/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { defaultHookTimeoutScale } from '../domain/hooks.ts';
import type { Confinement, Platform } from '../domain/platform.ts';
import { BUILD_USER, RANGE_SIZE, account, idRanges, subordinateIdsMend } from './build-user.ts';
import { probeKvm, type KvmFinding } from './kvm-probe.ts';
import { confinementOf } from './confinement.ts';
import { packageNeeds } from './needs.ts';
import { hostArchitecture, loadPlatform } from './platform.ts';

/** One need, how it stands, and what mends it. `degraded`: Lull works, with less. */
export interface MachineFinding {
  readonly need: string;
  readonly state: 'ok' | 'degraded' | 'missing';
  readonly detail: string;
  readonly mend?: string;
}

/** What a server would be started with, and who says so. */
interface Chosen<V> {
  readonly value: V;
  readonly source: string;
}

export interface DoctorOptions {
  /** The platform folder. */
  readonly folder: string;
  readonly dataFolder: string;
  /** Path of the list of packages. */
  readonly packages: string;
  readonly accel: Chosen<'auto' | 'kvm' | 'tcg'>;
  /** The accelerator's own where the value is undefined. */
  readonly hookTimeoutScale: Chosen<number | undefined>;
  /** Why microVMs have no network of their own; undefined where they have. */
  readonly missingNetwork: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  readonly signal: AbortSignal;
}

const MIB = 1024 ** 2;
/** Room for an image's memory, disks and build layers. */
const LOW_DISK_MIB = 5 * 1024;
const LOW_MEMORY_MIB = 1024;

/** Looks at everything. Never fails: what cannot be found out is a finding. */
export async function examine(options: DoctorOptions): Promise<readonly MachineFinding[]> {
  const findings: MachineFinding[] = [await node(), ...(await packages(options))];
  const platform = await loadPlatform(options.folder).catch((error: unknown) => error);
  if (platform instanceof Error) {
    const detail = platform instanceof LullError ? platform.message : `it cannot be read: ${platform.message}`;
    findings.push({ need: 'set-up', state: 'missing', detail, mend: './lull setup' });
  } else {
    findings.push(...(await prepared(platform as Platform, options)));
  }
  findings.push(await subordinateIds(options), await tunnels(options), egress(options), await names(), await cgroups());
  findings.push(await memory(), ...(await disks(options)));
  return findings;
}

function node(): Promise<MachineFinding> {
  return Promise.resolve({ need: 'Node.js', state: 'ok', detail: process.version });
}

async function packages({ packages: list, env }: DoctorOptions): Promise<readonly MachineFinding[]> {
  const needs = await packageNeeds(list, hostArchitecture(), env);
  const missing = needs.filter(({ there }) => !there).map(({ name }) => name);
  if (missing.length === 0) return [{ need: 'packages', state: 'ok', detail: `all ${needs.length} are there` }];
  const mend = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  return [{ need: 'packages', state: 'missing', detail: missing.join(', '), mend }];
}

async function prepared(platform: Platform, options: DoctorOptions): Promise<readonly MachineFinding[]> {
  const kvm = await probeKvm(options.folder, platform, options.signal);
  const images = platform.baseImages.map(({ name }) => name).join(', ');
  const ageDays = Math.floor((Date.now() - platform.createdAtMs) / 86_400_000);
  return [
    { need: 'set-up', state: 'ok', detail: `${ageDays === 0 ? 'made today' : `${ageDays} days old`}, in ${options.folder}` },
    { need: 'guest kernel', state: 'ok', detail: platform.kernel.release },
    { need: 'base images', state: 'ok', detail: images },
    { need: 'driver', state: 'ok', detail: `qemu ${platform.qemu.version}, a private copy` },
    ...accelerated(kvm, options),
    await jailed(platform, options.uid),
    ...writableSnapshots(platform),
  ];
}

function accelerated({ works, reason }: KvmFinding, { accel, hookTimeoutScale }: DoctorOptions): readonly MachineFinding[] {
  const accelerator = works && accel.value !== 'tcg' ? 'kvm' : 'tcg';
  const why = accel.value === 'tcg' ? `chosen (${accel.source}); KVM: ${reason}` : reason;
  const hooks = { need: 'hook time-outs', state: 'ok', detail: hookTimeouts(hookTimeoutScale, accelerator) } as const;
  if (accelerator === 'kvm') return [{ need: 'accelerator', state: 'ok', detail: `kvm: ${why}` }, hooks];
  return [{ need: 'accelerator', state: 'degraded', detail: `tcg (emulation: slower, and no security boundary): ${why}` }, hooks];
}

function hookTimeouts({ value, source }: DoctorOptions['hookTimeoutScale'], accelerator: 'kvm' | 'tcg'): string {
  const scale = value ?? defaultHookTimeoutScale(accelerator);
  const figures = scale === 1 ? "AWS's" : `${scale} times AWS's`;
  if (value !== undefined) return `${figures} (${source})`;
  return scale === 1 ? `${figures} (--hook-timeout-scale lengthens them)` : `${figures}, because of emulation (--hook-timeout-scale sets another factor)`;
}

const CONFINEMENTS: Readonly<Record<Confinement, Omit<MachineFinding, 'need'>>> = {
  'own-user': { state: 'ok', detail: 'each has a user, a network and a root of its own, with no file but its own' },
  'same-user': { state: 'degraded', detail: 'each has a network and a root of its own, with no file but its own; all are this user (as root, each is a user of its own)' },
  none: { state: 'degraded', detail: 'none: hypervisors have the rights of this user, since it may not make namespaces here' },
};

async function jailed(platform: Platform, uid: number): Promise<MachineFinding> {
  const confinement = await confinementOf(platform);
  const isMended = confinement === 'none' && uid !== 0;
  return { need: 'jail of hypervisors', ...CONFINEMENTS[confinement], ...(isMended ? { mend: 'sysctl -w user.max_user_namespaces=15000' } : {}) };
}

/** The first QEMU that can map guest memory from a file that it opens read-only. */
const READ_ONLY_MEMORY_VERSION = [8, 2] as const;

function writableSnapshots({ qemu }: Platform): readonly MachineFinding[] {
  const [major = 0, minor = 0] = qemu.version.split('.').map(Number);
  const [needMajor, needMinor] = READ_ONLY_MEMORY_VERSION;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return [];
  const detail = `QEMU ${qemu.version} opens an image's memory for writing too: one that a guest has broken into could change it (8.2 and newer cannot)`;
  return [{ need: 'read-only snapshots', state: 'degraded', detail }];
}

async function subordinateIds({ uid }: DoctorOptions): Promise<MachineFinding> {
  const need = 'build user';
  if (uid === 0) {
    const user = await account(BUILD_USER);
    if (user === undefined) return { need, state: 'missing', detail: `there is no user ${BUILD_USER}`, mend: './lull setup' };
    const held = await idRanges(user.name, user.uid);
    const enough = held.uids >= RANGE_SIZE && held.gids >= RANGE_SIZE;
    if (!enough) return { need, state: 'missing', detail: `${BUILD_USER} has too few subordinate ids`, mend: './lull setup' };
    return { need, state: 'ok', detail: `${BUILD_USER}, with ${held.uids} subordinate ids` };
  }
  const { username } = userInfo();
  const held = await idRanges(username, uid);
  if (held.uids >= RANGE_SIZE && held.gids >= RANGE_SIZE) return { need, state: 'ok', detail: `${username}, with ${held.uids} subordinate ids` };
  const detail = `${username} has too few subordinate ids in /etc/subuid and /etc/subgid`;
  return { need, state: 'missing', detail, mend: await subordinateIdsMend(username) };
}

async function tunnels({ uid }: DoctorOptions): Promise<MachineFinding> {
  const need = 'network of builds';
  const open = await access('/dev/net/tun', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (open || uid === 0) return { need, state: 'ok', detail: 'by slirp4netns, never to this host' };
  return { need, state: 'degraded', detail: 'this user may not open /dev/net/tun: RUN has no network', mend: 'chmod 0666 /dev/net/tun' };
}

function egress({ missingNetwork }: DoctorOptions): MachineFinding {
  const need = 'network of microVMs';
  if (missingNetwork === undefined) return { need, state: 'ok', detail: 'to the internet, never to this host, other microVMs or private networks' };
  return { need, state: 'degraded', detail: `none: ${missingNetwork}` };
}

async function names(): Promise<MachineFinding> {
  const need = 'names under .localhost';
  const found = await lookup('lull.microvm.localhost').catch(() => undefined);
  if (found !== undefined) return { need, state: 'ok', detail: `resolve to ${found.address}` };
  const mend = 'apt-get install -y libnss-myhostname';
  return { need, state: 'degraded', detail: 'do not resolve: only curl, browsers and `lull curl` reach the endpoints', mend };
}

async function cgroups(): Promise<MachineFinding> {
  const need = 'limits of processes';
  const controllers = await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8').catch(() => undefined);
  if (controllers !== undefined) return { need, state: 'degraded', detail: 'cgroup version 2 is there, but this version of Lull sets no limits with it' };
  return { need, state: 'degraded', detail: 'cgroup version 2 is not there: memory and CPU of a VMM are not limited by the kernel' };
}

async function memory(): Promise<MachineFinding> {
  const need = 'memory';
  const available = /MemAvailable:\s+(\d+) kB/.exec(await readFile('/proc/meminfo', 'utf8').catch(() => ''))?.[1];
  const mib = Math.floor(Number(available ?? 0) / 1024);
  if (mib >= LOW_MEMORY_MIB) return { need, state: 'ok', detail: `${mib} MiB available` };
  return { need, state: 'degraded', detail: `only ${mib} MiB available` };
}

/** The platform's only where it is another one. */
async function disks({ dataFolder, folder }: DoctorOptions): Promise<readonly MachineFinding[]> {
  const [data, platform] = [await nearest(dataFolder), await nearest(folder)];
  const [ofData, ofPlatform] = await Promise.all([stat(data), stat(platform)]);
  const findings = [await disk('disk', dataFolder, data)];
  if (ofData.dev !== ofPlatform.dev) findings.push(await disk('disk of builds', folder, platform));
  return findings;
}

async function disk(need: string, folder: string, existing: string): Promise<MachineFinding> {
  const { bavail, bsize } = await statfs(existing);
  const mib = Math.floor((bavail * bsize) / MIB);
  if (mib >= LOW_DISK_MIB) return { need, state: 'ok', detail: `${mib} MiB free for ${folder}` };
  return { need, state: 'degraded', detail: `only ${mib} MiB free for ${folder}`, mend: 'lull gc' };
}

/** The folder, or the one above it that is there already. */
async function nearest(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  return found !== undefined || folder === dirname(folder) ? folder : await nearest(dirname(folder));
}
