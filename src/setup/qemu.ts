/**
 * A private copy of QEMU with the libraries and firmware it loads, so that an upgrade of the packages strands no snapshot.
 * The copy runs through its own dynamic loader. Its folders mirror the package's (`bin`, `lib`, `share`) because QEMU finds its
 * modules and firmware relative to the folder of the running program, which then is the loader's.
 */
import { access, copyFile, mkdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import type { Architecture } from '../domain/platform.ts';
import { keyOf, makeArtifact } from './artifacts.ts';
import { runCommand } from './command.ts';
import type { Manifest } from './platform.ts';
import { COPY_PREFIX, describeVmm } from './vmm-copy.ts';

/** Bumped when the form of the copy changes. */
const QEMU_RECIPE = '3';
const QUERY_LIMIT_MS = 30_000;
/** dpkg writes it with every change of an installed package: unchanged means QEMU and its libraries are too. */
const PACKAGE_STATUS = '/var/lib/dpkg/status';

const LIBRARY_FOLDER: Readonly<Record<Architecture, string>> = { x86_64: 'x86_64-linux-gnu', aarch64: 'aarch64-linux-gnu' };

/** Firmware that the machine types we use load; `virt` (arm64) starts a kernel without any. */
const FIRMWARE: Readonly<Record<Architecture, readonly string[]>> = {
  x86_64: [
    // Debian has two by this name, and QEMU takes this one (qboot) first; with the other no guest of exactly 2 GiB boots.
    'share/qemu/bios-microvm.bin',
    'share/seabios/bios-microvm.bin',
    'share/qemu/linuxboot_dma.bin',
    'share/qemu/linuxboot.bin',
    'share/qemu/pvh.bin',
  ],
  aarch64: [],
};

/** Where Debian puts QEMU's program. */
const PROGRAM_FOLDER = '/usr/bin';
const PREFIX = '/usr';

export const qemuProgram = (arch: Architecture) => join(PROGRAM_FOLDER, `qemu-system-${arch}`);

/** Changes whenever the installed QEMU or a library may have changed. */
export async function qemuKey(arch: Architecture): Promise<string> {
  const status = await stat(PACKAGE_STATUS).catch(() => undefined);
  const program = await stat(qemuProgram(arch)).catch((cause: unknown) => {
    throw new LullError('not-found', `${qemuProgram(arch)} is missing.`, { cause });
  });
  return keyOf(QEMU_RECIPE, `${status?.mtimeMs} ${status?.size}`, `${program.mtimeMs} ${program.size}`);
}

/** Copies the installed QEMU. @param folder the platform folder */
export async function makeQemu(folder: string, arch: Architecture): Promise<Manifest['qemu']> {
  const program = qemuProgram(arch);
  const accelerator = join(PREFIX, 'lib', LIBRARY_FOLDER[arch], 'qemu', `accel-tcg-${arch}.so`);
  const modules = (await exists(accelerator)) ? [accelerator] : [];
  const libraries = new Set<string>();
  for (const file of [program, ...modules]) for (const library of await librariesOf(file)) libraries.add(library);
  const loader = [...libraries].find((library) => /\/ld-linux[^/]*\.so/.test(library));
  if (loader === undefined) throw new LullError('internal', `${program} names no dynamic loader.`);

  const words = ['bin/' + basename(loader), '--inhibit-cache', '--library-path', 'lib', `bin/${basename(program)}`];
  const argv = words.map((word) => (word.startsWith('--') ? word : `${COPY_PREFIX}${word}`));
  const version = await versionOf(program);
  const made = await makeArtifact(folder, async (into) => {
    const put = async (from: string, to: string) => {
      await mkdir(dirname(join(into, to)), { recursive: true });
      await copyFile(await realpath(from), join(into, to));
    };
    await put(program, `bin/${basename(program)}`);
    for (const library of libraries) await put(library, library === loader ? `bin/${basename(loader)}` : `lib/${basename(library)}`);
    for (const module of modules) await put(module, module.slice(PREFIX.length + 1));
    for (const file of FIRMWARE[arch]) if (await exists(join(PREFIX, file))) await put(join(PREFIX, file), file);
    await describeVmm(into, { version, argv, libraries: [...libraries].map((library) => basename(library)).toSorted() });
  });
  return { id: made.id, path: made.path, version, argv };
}

/** What a program loads at start, as the loader finds it on this machine. */
async function librariesOf(file: string): Promise<readonly string[]> {
  const text = await runCommand(['ldd', file], { purpose: 'looking for libraries', timeoutMs: QUERY_LIMIT_MS });
  if (text.includes('not found')) throw new LullError('internal', `${file} misses libraries:\n${text}`);
  return [...text.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}

async function versionOf(program: string): Promise<string> {
  const text = await runCommand([program, '--version'], { purpose: 'asking for the version', timeoutMs: QUERY_LIMIT_MS });
  return /version (\S+)/.exec(text)?.[1] ?? 'unknown';
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
