/** Whom builds run as on this machine, and what they need to be there. */
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LullError } from '../domain/errors.ts';

/** Whom builds run as; `null` is the server's own user. */
export interface BuildUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Made by set-up where the server is root: a system user with a range of subordinate ids. */
export const BUILD_USER_NAME = 'lull-build';

/**
 * The user for builds: `lull-build` for a server that is root, else null, the server's own user.
 * @throws LullError validation where the user, or its range in /etc/subuid and /etc/subgid, is not there
 */
export async function findBuildUser(name = BUILD_USER_NAME): Promise<BuildUser | null> {
  if (process.getuid?.() !== 0) return null;
  const entry = (await readFile('/etc/passwd', 'utf8')).split('\n').find((line) => line.startsWith(`${name}:`));
  if (entry === undefined) throw new LullError('validation', `The user ${name} is not there; set-up makes it.`);
  const [, , uid, gid] = entry.split(':').map(Number);
  for (const file of ['/etc/subuid', '/etc/subgid']) {
    const ranges = await readFile(file, 'utf8').catch(() => '');
    if (!ranges.split('\n').some((line) => line.startsWith(`${name}:`) || line.startsWith(`${uid}:`))) {
      throw new LullError('validation', `The user ${name} has no range in ${file}; set-up adds one.`);
    }
  }
  return { name, uid: uid as number, gid: gid as number };
}

/** Debian packages by the program that builds need from each. */
export const BUILD_PROGRAMS: Readonly<Record<string, string>> = {
  buildah: 'buildah',
  'mkfs.erofs': 'erofs-utils',
  mke2fs: 'e2fsprogs',
  newuidmap: 'uidmap',
  newgidmap: 'uidmap',
  ip: 'iproute2',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  prlimit: 'util-linux',
  choom: 'util-linux',
  pivot_root: 'util-linux',
  mount: 'mount',
  tar: 'tar',
  find: 'findutils',
};

/** Programs of {@link BUILD_PROGRAMS} that are not there. */
export async function missingBuildPrograms(): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const program of Object.keys(BUILD_PROGRAMS)) if (!(await isInstalled(program))) missing.push(program);
  return missing;
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin']) {
    const there = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return true;
  }
  return false;
}
