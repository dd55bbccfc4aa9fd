/** Copies of VMMs say by themselves how they are started, so that one outlives the manifest that once named it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import type { VmmCopy } from '../domain/platform.ts';
import { ARTIFACTS, isArtifactId, writeFileAtomic } from './artifacts.ts';

/** In the copy's folder, and part of what is hashed. */
const DESCRIPTION = 'vmm.json';

/** The words of its command line that are paths in the copy start with this on disk. */
export const COPY_PREFIX = '@/';

const descriptionSchema = z.object({
  version: z.string(),
  argv: z.array(z.string()).min(1),
  /** Names of the libraries that it loads. Copies of an earlier Lull do not tell. */
  libraries: z.array(z.string()).optional(),
});
export type VmmDescription = z.infer<typeof descriptionSchema>;

/** @param copy the folder of the copy */
export async function describeVmm(copy: string, description: VmmDescription): Promise<void> {
  await writeFileAtomic(join(copy, DESCRIPTION), `${JSON.stringify(description, null, 2)}\n`);
}

/** Has a copy that an earlier Lull made say of itself what only the manifest said, before that names another. */
export async function describeEarlierCopy(copy: string, description: VmmDescription): Promise<void> {
  const isThere = await stat(join(copy, DESCRIPTION)).catch(() => undefined);
  if (isThere === undefined) await describeVmm(copy, description);
}

/**
 * The copy with which a snapshot was made.
 * @param folder the platform folder
 * @throws LullError not-found, naming the mend, where it is not there, or does not say how it is started
 */
export async function loadVmmCopy(folder: string, id: string): Promise<VmmCopy> {
  const path = join(folder, ARTIFACTS, id);
  try {
    if (!isArtifactId(id)) throw new Error('that is no id of a copy');
    const { version, argv } = descriptionSchema.parse(JSON.parse(await readFile(join(path, DESCRIPTION), 'utf8')));
    return { id, version, path, argv: argvOf(path, argv) };
  } catch (cause) {
    throw new LullError('not-found', `The copy of QEMU with which it was made (${id}) is gone from ${folder}; rebuild the image (\`lull images rebuild\`).`, { cause });
  }
}

/** The words as they are started. */
export const argvOf = (copy: string, argv: readonly string[]): string[] =>
  argv.map((word) => (word.startsWith(COPY_PREFIX) ? join(copy, word.slice(COPY_PREFIX.length)) : word));
