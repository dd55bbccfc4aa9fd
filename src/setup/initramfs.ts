/** The first file system of every microVM: the agent as init, and the kernel modules it loads. Layout: docs/agent-protocol.md. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeArtifact } from './artifacts.ts';
import { cpioArchive } from './cpio.ts';
import type { CpioEntry } from './cpio.ts';
import { GUEST_MODULES, moduleOrder } from './kernel-modules.ts';

/** Bumped when the layout changes. */
export const INITRAMFS_RECIPE = `2 ${GUEST_MODULES.join(' ')}`;

const FILE = 'initramfs.cpio';

/**
 * Packs agent and modules; left uncompressed, because unpacking gzip under emulation takes longer than reading the bytes.
 * @param sources absolute paths of the agent's binary and of the kernel artifact's folder
 */
export async function makeInitramfs(folder: string, sources: { agent: string; kernel: string }): Promise<{ id: string; path: string }> {
  const modules = await moduleOrder(sources.kernel, GUEST_MODULES);
  const folders = ['dev', 'proc', 'sys', 'lull', 'lull/modules'];
  const order = modules.map((module) => `${module.file}\n`).join('');
  const entries: CpioEntry[] = [
    ...folders.map((name) => ({ type: 'folder', name, mode: 0o755 }) as const),
    // The kernel opens it for init's standard streams before anything is mounted.
    { type: 'device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'file', name: 'lull/modules.order', mode: 0o644, content: Buffer.from(order) },
    ...modules.map(({ file, content }) => ({ type: 'file', name: `lull/modules/${file}`, mode: 0o644, content }) as const),
    { type: 'file', name: 'init', mode: 0o755, content: await readFile(sources.agent) },
  ];
  const made = await makeArtifact(folder, async (into) => {
    await writeFile(join(into, FILE), cpioArchive(entries));
  });
  return { id: made.id, path: join(made.path, FILE) };
}
