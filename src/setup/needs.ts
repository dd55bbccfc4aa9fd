/** What Lull needs of a machine, from the list that the launcher installs from. */
import { access, constants, glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Architecture } from '../domain/platform.ts';

/** A row of `setup/debian-packages`. */
export interface PackageNeed {
  readonly name: string;
  readonly there: boolean;
}

/** For checkouts: a published package brings its modules. */
const ONLY_FOR_CHECKOUTS = 'npm';

/**
 * Looks for every package that this architecture needs, by the command or file that it brings.
 * @param list path of `setup/debian-packages`
 */
export async function packageNeeds(list: string, arch: Architecture, env: NodeJS.ProcessEnv): Promise<readonly PackageNeed[]> {
  const debianArch = { x86_64: 'amd64', aarch64: 'arm64' }[arch];
  const rows = (await readFile(list, 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const wanted = rows.map((line) => line.split(/\s+/) as [string, string, string]).filter(([name, on]) => (on === 'any' || on === debianArch) && name !== ONLY_FOR_CHECKOUTS);
  return await Promise.all(wanted.map(async ([name, , shownBy]) => ({ name, there: await isThere(shownBy, env) })));
}

async function isThere(shownBy: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  if (shownBy.startsWith('/')) {
    for await (const _ of glob(shownBy)) return true;
    return false;
  }
  for (const folder of (env['PATH'] ?? '').split(':')) {
    const found = await access(join(folder, shownBy), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
