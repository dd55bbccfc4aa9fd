/** Lull's own base images in the builder's storage: imported once, under their own names and those that the configuration maps to them. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { IMPORT_BASE_SCRIPT } from './sandbox-script.ts';

/** A root file system that set-up made. */
export interface BaseImage {
  /** As in `FROM`, without registry: `lull/base`. */
  readonly name: string;
  /** Tar, readable by the build's user. */
  readonly tarPath: string;
  /** Changes when the tarball does. */
  readonly digest: string;
  readonly env: Readonly<Record<string, string>>;
}

type InSandbox = (argv: readonly [string, ...string[]], binds?: readonly { source: string; target: string }[]) => Promise<string>;

/** Marks an image as one of ours; the tag says which content. */
const KEY_NAME = 'localhost/lull-base-key';

const imagesSchema = z.array(z.object({ id: z.string(), names: z.array(z.string()).nullish() }));

/**
 * Imports what is not there yet and gives every base exactly the names it should have.
 * @throws Error where an import fails or a name is mapped to no base
 */
export async function prepareBases(options: { bases: readonly BaseImage[]; names: Readonly<Record<string, string>>; inSandbox: InSandbox }): Promise<void> {
  const { bases, names, inSandbox } = options;
  const images = imagesSchema.parse(JSON.parse((await inSandbox(['buildah', 'images', '--json', '--no-trunc'])).trim() || '[]'));
  const known = new Set(images.flatMap((image) => image.names ?? []));
  const wanted = new Set<string>();
  for (const base of bases) {
    const key = keyOf(base);
    const aliases = [`localhost/${base.name}:latest`, ...Object.keys(names).filter((name) => names[name] === base.name).map(withTag)];
    for (const name of [key, ...aliases]) wanted.add(name);
    if (!known.has(key)) await importBase(base, key, inSandbox);
    await inSandbox(['buildah', 'tag', key, ...aliases]);
  }
  const unknown = Object.entries(names).find(([, base]) => !bases.some(({ name }) => name === base));
  if (unknown !== undefined) throw new Error(`the base name ${unknown[0]} is mapped to ${unknown[1]}, which is not there`);
  const ours = images.filter((image) => image.names?.some((name) => name.startsWith(`${KEY_NAME}:`)) === true);
  for (const stale of ours.flatMap((image) => image.names ?? []).filter((name) => !wanted.has(name))) {
    await inSandbox(['buildah', 'rmi', stale]).catch(() => undefined);
  }
}

const withTag = (name: string): string => (/[@:][^/]*$/.test(name) ? name : `${name}:latest`);

function keyOf(base: BaseImage): string {
  const content = createHash('sha256').update(JSON.stringify([base.name, base.digest, base.env])).digest('hex');
  return `${KEY_NAME}:${content.slice(0, 32)}`;
}

async function importBase(base: BaseImage, key: string, inSandbox: InSandbox): Promise<void> {
  const env = Object.entries(base.env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
  await inSandbox(['sh', '-c', IMPORT_BASE_SCRIPT, 'import', '/base.tar', key, ...env], [{ source: base.tarPath, target: 'base.tar' }]);
}
