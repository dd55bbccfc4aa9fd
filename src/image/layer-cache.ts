/** The images of earlier builds, whose layers the next builds begin with. */

/** Where builds of versions end up, by the version's tag. */
export const VERSION_IMAGE = 'localhost/lull-build/version';

/** One of them. */
export interface CachedImage {
  readonly tag: string;
  /** With the layers that it shares with others. */
  readonly sizeBytes: number;
}

/** Runs a command in the builder's sandbox. @returns what it said */
export type InSandbox = (argv: readonly [string, ...string[]]) => Promise<string>;

/** buildah-images(1): sizes are for people, in powers of ten. */
const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

export async function cachedImages(inSandbox: InSandbox): Promise<readonly CachedImage[]> {
  const said = await inSandbox(['buildah', 'images', '--format', '{{.Tag}} {{.Size}}', '--filter', `reference=${VERSION_IMAGE}`]);
  return [...said.matchAll(/^(\S+) +([\d.]+) (\w+)$/gm)].map(([, tag = '', figure, unit = '']) => ({
    tag,
    sizeBytes: Math.round(Number(figure) * (UNITS[unit] ?? 1)),
  }));
}

/** Layers that another image has stay. */
export async function forgetImage(inSandbox: InSandbox, tag: string): Promise<void> {
  await inSandbox(['buildah', 'rmi', '--force', `${VERSION_IMAGE}:${tag}`]);
}
