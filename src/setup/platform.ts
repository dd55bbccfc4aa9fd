/** The platform folder: where set-up keeps what it made, and its manifest. */
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import { ARCHITECTURES } from '../domain/platform.ts';
import type { Architecture, Platform } from '../domain/platform.ts';
import { writeFileAtomic } from './artifacts.ts';
import { argvOf } from './vmm-copy.ts';

const MANIFEST = 'platform.json';
const SYSTEM_FOLDER = '/var/cache/lull';
const MEND = 'Run `./lull setup`.';

/** Bumped when a manifest of an older Lull can no longer be read. */
export const PLATFORM_VERSION = 1;

const file = z.object({ id: z.string(), path: z.string() });

/** `platform.json`: a {@link Platform} with paths relative to its folder, and what each part was made from. */
const manifestSchema = z.object({
  version: z.literal(PLATFORM_VERSION),
  arch: z.enum(ARCHITECTURES),
  createdAtMs: z.number(),
  /** Set-up makes a part again when its key changes. */
  inputs: z.record(z.string(), z.string()),
  kernel: file.extend({ release: z.string() }),
  initramfs: file,
  agent: file,
  qemu: z.object({ id: z.string(), version: z.string(), path: z.string(), argv: z.array(z.string()).min(1) }),
  baseImages: z.array(
    z.object({
      name: z.string(),
      arnName: z.string(),
      rootfsPath: z.string(),
      digest: z.string(),
      config: z.object({ env: z.array(z.string()), cmd: z.array(z.string()), workingDir: z.string() }),
      createdAtMs: z.number(),
    }),
  ),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** The folder shared by all data folders of a user: `LULL_PLATFORM`, else the system's or the user's cache. */
export function platformFolder(env: NodeJS.ProcessEnv, uid: number): string {
  if (env.LULL_PLATFORM !== undefined && env.LULL_PLATFORM !== '') return resolve(env.LULL_PLATFORM);
  if (uid === 0) return SYSTEM_FOLDER;
  const cache = env.XDG_CACHE_HOME?.startsWith('/') ? env.XDG_CACHE_HOME : join(env.HOME ?? homedir(), '.cache');
  return join(cache, 'lull');
}

/** This machine's architecture. @throws LullError validation where Lull does not run on it */
export function hostArchitecture(arch: string = process.arch): Architecture {
  switch (arch) {
    case 'x64':
      return 'x86_64';
    case 'arm64':
      return 'aarch64';
  }
  throw new LullError('validation', `Lull runs on x86-64 and arm64 machines, not on ${arch}.`);
}

/** The manifest with paths as on disk; undefined where there is none that this version reads. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const text = await readFile(join(folder, MANIFEST), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return manifestSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Writes the manifest: the last step of set-up, so that what it names is complete. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFileAtomic(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * Reads what set-up prepared, with absolute paths.
 * @throws LullError not-found, naming the mend, where it is absent, from another version, or lost files
 */
export async function loadPlatform(folder: string): Promise<Platform> {
  const manifest = await readManifest(folder);
  if (manifest === undefined) throw new LullError('not-found', `This machine is not set up (nothing in ${folder}). ${MEND}`);
  if (manifest.arch !== hostArchitecture()) {
    throw new LullError('not-found', `The set-up in ${folder} is for another kind of machine. ${MEND}`);
  }
  const platform = absolutePaths(folder, manifest);
  for (const path of platformFiles(platform)) {
    await stat(path).catch((cause: unknown) => {
      throw new LullError('not-found', `${path} is gone from the set-up. ${MEND}`, { cause });
    });
  }
  return platform;
}

/** Every file that must be there for a platform to be whole. */
export function platformFiles(platform: Platform): readonly string[] {
  return [
    platform.kernel.path,
    platform.initramfs.path,
    platform.agent.path,
    platform.qemu.path,
    ...platform.baseImages.map((image) => image.rootfsPath),
  ];
}

/** A manifest with its paths made absolute. */
export function absolutePaths(folder: string, manifest: Manifest): Platform {
  const at = (path: string) => resolve(folder, path);
  const copy = at(manifest.qemu.path);
  return {
    ...manifest,
    kernel: { ...manifest.kernel, path: at(manifest.kernel.path) },
    initramfs: { ...manifest.initramfs, path: at(manifest.initramfs.path) },
    agent: { ...manifest.agent, path: at(manifest.agent.path) },
    qemu: {
      ...manifest.qemu,
      path: copy,
      argv: argvOf(copy, manifest.qemu.argv),
    },
    baseImages: manifest.baseImages.map((image) => ({ ...image, rootfsPath: at(image.rootfsPath) })),
  };
}
