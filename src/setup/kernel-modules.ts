/** Which modules the guest's kernel needs and in which order they load. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LullError } from '../domain/errors.ts';

/** What the agent needs from the kernel: devices, root disk, the ending of stale sockets, the way to the host's services, `/dev/fuse`. */
export const GUEST_MODULES = [
  'virtio_mmio',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'overlay',
  'erofs',
  'inet_diag',
  'tcp_diag',
  'veth',
  'fuse',
] as const;

/** The same module is `a-b.ko` as a file and `a_b` to the kernel. */
const canonical = (name: string) => name.replaceAll('-', '_');

/**
 * The wanted modules with everything they depend on, each after its own dependencies; what is built in is left out.
 * The order comes from the `depends=` that each module carries (modinfo), since an unpacked package has no `modules.dep`.
 * @param kernel folder of the kernel artifact
 * @throws LullError internal where the kernel has one of them neither as a file nor built in
 */
export async function moduleOrder(kernel: string, wanted: readonly string[]): Promise<readonly { name: string; file: string; content: Buffer }[]> {
  const builtIn = new Set(
    (await readFile(join(kernel, 'modules.builtin'), 'utf8')).split('\n').map((line) => canonical(moduleName(line))),
  );
  const ordered = new Map<string, { name: string; file: string; content: Buffer }>();
  const add = async (name: string): Promise<void> => {
    if (name === '' || ordered.has(name) || builtIn.has(name)) return;
    const found = await readModule(kernel, name);
    for (const dependency of dependenciesOf(found.content)) await add(canonical(dependency));
    ordered.set(name, { name, ...found });
  };
  for (const name of wanted) await add(canonical(name));
  return [...ordered.values()];
}

function moduleName(line: string): string {
  return line.slice(line.lastIndexOf('/') + 1).replace(/\.ko$/, '');
}

async function readModule(kernel: string, name: string): Promise<{ file: string; content: Buffer }> {
  for (const file of [`${name}.ko`, `${name.replaceAll('_', '-')}.ko`]) {
    const content = await readFile(join(kernel, 'modules', file)).catch(() => undefined);
    if (content !== undefined) return { file, content };
  }
  throw new LullError('internal', `The kernel package has no module ${name}.`);
}

/** The `depends=` entry of a module's `.modinfo` section: NUL-separated `key=value` strings. */
export function dependenciesOf(module: Buffer): readonly string[] {
  const key = Buffer.from('\0depends=');
  const start = module.indexOf(key);
  if (start < 0) return [];
  const end = module.indexOf(0, start + key.length);
  const value = module.subarray(start + key.length, end < 0 ? module.length : end).toString('latin1');
  return value === '' ? [] : value.split(',');
}
