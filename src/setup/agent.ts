/** The guest agent: built from the crate in `guest/` with the machine's cargo. */
import { access, constants, copyFile, mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { keyOf, makeArtifact } from './artifacts.ts';
import { runCommand } from './command.ts';
import type { Architecture } from '../domain/platform.ts';

const BUILD_LIMIT_MS = 600_000;
const AGENT = 'lull-agent';
/** The crate's aid for the host's side. */
const HOST_TOOL = 'lull-host';
/** Bumped when the way it is built changes. */
const AGENT_RECIPE = '2';

/** A key over the crate's sources and the way they are built. */
export async function agentKey(crate: string): Promise<string> {
  const files = await crateFiles(crate);
  const contents = await Promise.all(files.map(async (file) => `${relative(crate, file)}\0${await readFile(file, 'latin1')}`));
  return keyOf(AGENT_RECIPE, ...contents);
}

async function crateFiles(crate: string): Promise<readonly string[]> {
  const sources = await readdir(join(crate, 'src'), { recursive: true, withFileTypes: true });
  const files = sources.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const settings = await readdir(join(crate, '.cargo'), { withFileTypes: true }).catch(() => []);
  files.push(...settings.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)));
  for (const name of ['Cargo.toml', 'Cargo.lock', 'build.rs']) {
    const path = join(crate, name);
    if (await readable(path)) files.push(path);
  }
  return files.sort();
}

const readable = (path: string) =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  );

/**
 * Builds the agent as a static program. Cargo works on a copy of the sources in the platform folder, so that the package's own
 * folder may be read-only and its owner stays as it is.
 * @param crate absolute path of `guest/`
 */
export async function makeAgent(folder: string, crate: string, arch: Architecture): Promise<{ id: string; path: string }> {
  const work = join(folder, 'agent-build');
  const copy = join(work, 'crate');
  await rm(copy, { recursive: true, force: true });
  for (const file of await crateFiles(crate)) {
    const to = join(copy, relative(crate, file));
    await mkdir(join(to, '..'), { recursive: true });
    await copyFile(file, to);
  }
  const target = join(work, 'target');
  const triple = `${arch}-unknown-linux-gnu`;
  await runCommand(['cargo', 'build', '--release', '--locked', '--target', triple, '--target-dir', target], {
    purpose: 'building the agent',
    cwd: copy,
    timeoutMs: BUILD_LIMIT_MS,
  });
  const made = await makeArtifact(folder, async (into) => {
    for (const name of [AGENT, HOST_TOOL]) await copyFile(join(target, triple, 'release', name), join(into, name));
  });
  return { id: made.id, path: join(made.path, AGENT) };
}
