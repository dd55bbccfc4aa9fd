/** Prepares this machine: kernel, agent, initramfs, QEMU, base images. Makes only what is missing or has changed. */
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LullError } from '../domain/errors.ts';
import type { Architecture, Platform } from '../domain/platform.ts';
import { agentKey, makeAgent } from './agent.ts';
import { ARTIFACTS, keyOf } from './artifacts.ts';
import { BASE_IMAGES_RECIPE, baseImageSources, debianSources, makeBaseImages } from './base-images.ts';
import { RANGE_SIZE, ensureBuildUser, idRanges, subordinateIdsMend } from './build-user.ts';
import type { Account } from './build-user.ts';
import { INITRAMFS_RECIPE, makeInitramfs } from './initramfs.ts';
import { KERNEL_RECIPE, makeKernel } from './kernel.ts';
import { PLATFORM_VERSION, absolutePaths, hostArchitecture, platformFiles, readManifest, writeManifest } from './platform.ts';
import type { Manifest } from './platform.ts';
import { makeQemu, qemuKey } from './qemu.ts';
import { describeEarlierCopy } from './vmm-copy.ts';

/** How long a second set-up waits for a first one that is under way. */
const LOCK_LIMIT_MS = 600_000;

export interface SetUpOptions {
  /** The platform folder. */
  readonly folder: string;
  /** The agent's crate, with OpenSSL's provider beside it. */
  readonly crate: string;
  /** Node's program and npm's folder, for `lull/node`. */
  readonly node: string;
  readonly npm: string;
  readonly uid: number;
  /** Makes kernel and base images anew, for the updates in them. */
  readonly refresh: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Sets this machine up. Idempotent: where all is there it reads a few files.
 * @returns the platform with absolute paths
 * @throws LullError naming the step that failed; what was there before still works then
 */
export async function setUp(options: SetUpOptions): Promise<Platform> {
  const { folder } = options;
  await mkdir(join(folder, ARTIFACTS), { recursive: true, mode: 0o755 });
  using _lock = lockFolder(folder);
  const arch = hostArchitecture();
  const old = await wholeManifest(folder);
  const step = stepper(options.say);
  const keys = await wantedKeys(options, arch);
  const parts: Parts = { options, arch, old: options.refresh ? undefined : old, keys, step };

  const user = options.uid === 0 ? await buildUser(options.say) : await requireSubordinateIds(options.uid);
  const [machine, baseImages] = await allOrFirstError([makeMachine({ ...parts, old }), makeImages(parts, user)]);
  const manifest: Manifest = { version: PLATFORM_VERSION, arch, createdAtMs: Date.now(), inputs: keys, ...machine, baseImages };
  if (step.made() > 0) {
    await writeManifest(folder, manifest);
    await dropLeftovers(folder);
  }
  return absolutePaths(folder, manifest);
}

const opensslFolder = ({ crate }: Pick<SetUpOptions, 'crate'>) => join(crate, 'openssl');

interface Parts {
  readonly options: SetUpOptions;
  readonly arch: Architecture;
  /** What can be kept where its key is unchanged. */
  readonly old: Manifest | undefined;
  readonly keys: Readonly<Record<string, string>>;
  readonly step: Stepper;
}

/** The key of each part, from what it is made of; a part with an unchanged key is kept. */
async function wantedKeys(options: SetUpOptions, arch: Architecture): Promise<Record<string, string>> {
  const node = await stat(options.node);
  return {
    kernel: keyOf(KERNEL_RECIPE, arch),
    agent: await agentKey(options.crate),
    initramfs: keyOf(INITRAMFS_RECIPE),
    qemu: await qemuKey(arch),
    baseImages: keyOf(BASE_IMAGES_RECIPE, arch, process.versions.node, `${node.size}`, ...(await baseImageSources({ openssl: opensslFolder(options) }))),
  };
}

async function makeMachine(parts: Parts): Promise<Pick<Manifest, 'kernel' | 'agent' | 'initramfs' | 'qemu'>> {
  const { options, arch, old, keys, step } = parts;
  const { folder } = options;
  const same = (part: string) => old !== undefined && old.inputs[part] === keys[part];
  if (old !== undefined) await describeEarlierCopy(join(folder, old.qemu.path), { version: old.qemu.version, argv: old.qemu.argv });
  const qemu = same('qemu') ? old!.qemu : await step('copying QEMU and its libraries', () => makeQemu(folder, arch));
  const kernel = same('kernel') && !options.refresh ? old!.kernel : await step("fetching the guest's kernel", () => kernelPart(folder, arch));
  const agent = same('agent') ? old!.agent : await step('building the agent', () => makeAgent(folder, options.crate, arch));
  const unchanged = same('initramfs') && kernel.id === old!.kernel.id && agent.id === old!.agent.id;
  const sources = { agent: join(folder, agent.path), kernel: join(folder, kernel.path, '..') };
  const initramfs = unchanged ? old!.initramfs : await step('packing the initramfs', () => makeInitramfs(folder, sources));
  return { kernel, agent, initramfs, qemu };
}

async function kernelPart(folder: string, arch: Architecture): Promise<Manifest['kernel']> {
  const made = await makeKernel(folder, arch);
  return { id: made.id, path: join(made.path, 'vmlinuz'), release: made.release };
}

async function makeImages(parts: Parts, user: Account | undefined): Promise<Manifest['baseImages']> {
  const { options, old, keys } = parts;
  if (old !== undefined && old.inputs.baseImages === keys.baseImages) return old.baseImages;
  const tools = { ...options, openssl: opensslFolder(options), as: user, sources: await debianSources() };
  return await parts.step('making the base images', () =>
    makeBaseImages(tools, (name) => {
      options.say(`  ${name} is ready`);
    }),
  );
}

async function buildUser(say: (line: string) => void): Promise<Account> {
  const { account, changed } = await ensureBuildUser();
  if (changed) say(`the user ${account.name} is ready`);
  return account;
}

/** Without root, builds run as the user itself, with ids that only root can give. */
async function requireSubordinateIds(uid: number): Promise<undefined> {
  const { username } = userInfo();
  const held = await idRanges(username, uid);
  if (held.uids >= RANGE_SIZE && held.gids >= RANGE_SIZE) return undefined;
  throw new LullError('validation', `${username} has too few subordinate ids. As root, run: ${await subordinateIdsMend(username)}`);
}

/** The manifest, where every file that it names is still there. */
async function wholeManifest(folder: string): Promise<Manifest | undefined> {
  const manifest = await readManifest(folder);
  if (manifest === undefined) return undefined;
  for (const path of platformFiles(absolutePaths(folder, manifest))) {
    if ((await stat(path).catch(() => undefined)) === undefined) return undefined;
  }
  return manifest;
}

/** Runs one step, saying what it does and how long it took, and counts what was made. */
interface Stepper {
  <T>(what: string, work: () => Promise<T>): Promise<T>;
  made(): number;
}

function stepper(say: (line: string) => void): Stepper {
  let made = 0;
  const run = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    made += 1;
    say(`${what} …`);
    const startMs = performance.now();
    const result = await work();
    say(`${what}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    return result;
  };
  return Object.assign(run, { made: () => made });
}

/** Waits for all, so that nothing is left running behind an error; then the first error. */
async function allOrFirstError<A, B>(work: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

/** One set-up at a time per folder; the lock goes with the process that holds it. */
function lockFolder(folder: string): Disposable {
  const lock = new DatabaseSync(join(folder, 'set-up.lock'), { timeout: LOCK_LIMIT_MS });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    throw new LullError('conflict', `Another set-up of ${folder} is under way.`, { cause });
  }
  return {
    [Symbol.dispose]: () => {
      lock.close();
    },
  };
}

/** What a set-up that was killed left half made. Finished artifacts stay: snapshots name them. */
async function dropLeftovers(folder: string): Promise<void> {
  for (const [where, prefix] of [[join(folder, ARTIFACTS), '.making-'], [folder, '.kernel-']] as const) {
    const names = (await readdir(where)).filter((name) => name.startsWith(prefix));
    for (const name of names) await rm(join(where, name), { recursive: true, force: true });
  }
}
