/** The guest's kernel: the distribution's cloud kernel package, fetched and unpacked, not installed. */
import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import type { Architecture } from '../domain/platform.ts';
import { makeArtifact } from './artifacts.ts';
import { runCommand } from './command.ts';

/** Bumped when the content of the artifact changes its form. */
export const KERNEL_RECIPE = '2';

const DEBIAN_ARCHITECTURE: Readonly<Record<Architecture, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
const QUERY_LIMIT_MS = 60_000;
const DOWNLOAD_LIMIT_MS = 300_000;

/** Kernel and modules as kept: `vmlinuz` and `modules/*.ko`. */
export interface KernelArtifact {
  readonly id: string;
  /** Folder, relative to the platform folder. */
  readonly path: string;
  readonly release: string;
}

/**
 * Fetches the newest cloud kernel that the machine's package sources offer.
 * @param folder the platform folder
 * @throws LullError internal where the package sources do not have it
 */
export async function makeKernel(folder: string, arch: Architecture): Promise<KernelArtifact> {
  const work = await mkdtemp(join(folder, '.kernel-'));
  try {
    const lists = await packageLists(work, DEBIAN_ARCHITECTURE[arch]);
    const name = await imagePackage(lists, DEBIAN_ARCHITECTURE[arch]);
    await runCommand(['apt-get', ...lists, 'download', '--quiet', name], {
      purpose: 'downloading the kernel',
      cwd: work,
      timeoutMs: DOWNLOAD_LIMIT_MS,
    });
    const archive = (await readdir(work)).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new LullError('internal', `downloading the kernel: no package file came for ${name}`);
    await runCommand(['dpkg-deb', '-x', archive, 'tree'], { purpose: 'unpacking the kernel', cwd: work, timeoutMs: QUERY_LIMIT_MS });
    const release = name.replace(/^linux-image-/, '').replace(/-unsigned$/, '');
    const tree = join(work, 'tree');
    const artifact = await makeArtifact(folder, async (into) => {
      await cp(join(tree, 'boot', `vmlinuz-${release}`), join(into, 'vmlinuz'));
      await keepModules(join(tree, 'lib', 'modules', release), into);
    });
    return { ...artifact, release };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Options that give apt package lists: none where the machine has them, else our own, fetched without root. */
async function packageLists(work: string, debianArch: string): Promise<readonly string[]> {
  const known = await runCommand(['apt-cache', 'search', '--names-only', `^linux-image-cloud-${debianArch}$`], {
    purpose: 'looking for the kernel',
    timeoutMs: QUERY_LIMIT_MS,
  });
  if (known.trim() !== '') return [];
  const state = join(work, 'apt');
  await mkdir(join(state, 'lists', 'partial'), { recursive: true });
  await mkdir(join(state, 'archives', 'partial'), { recursive: true });
  const own = ['-o', `Dir::State::Lists=${state}/lists`, '-o', `Dir::Cache=${state}`, '-o', 'APT::Sandbox::User='];
  await runCommand(['apt-get', ...own, 'update', '--quiet'], { purpose: 'reading the package lists', timeoutMs: DOWNLOAD_LIMIT_MS });
  return own;
}

/** The package with the kernel itself, on which `linux-image-cloud-ARCH` depends. */
async function imagePackage(lists: readonly string[], debianArch: string): Promise<string> {
  const meta = `linux-image-cloud-${debianArch}`;
  const depends = await runCommand(['apt-cache', ...lists, 'depends', '--important', meta], {
    purpose: 'looking for the kernel',
    timeoutMs: QUERY_LIMIT_MS,
  });
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new LullError('internal', `The package sources of this machine have no ${meta}.`);
  return name;
}

/** Keeps the module files flat by name, with the list of what is built in. */
async function keepModules(modules: string, into: string): Promise<void> {
  await cp(join(modules, 'modules.builtin'), join(into, 'modules.builtin'));
  await mkdir(join(into, 'modules'));
  const kept = /^kernel\/(drivers\/(virtio|block|net|char)|fs\/(overlayfs|erofs|fuse)|net\/(ipv4|core)|lib|crypto|arch)(\/|$)/;
  for (const entry of await readdir(join(modules, 'kernel'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !entry.name.endsWith('.ko') || !kept.test(path.slice(modules.length + 1))) continue;
    await cp(path, join(into, 'modules', entry.name));
  }
}
