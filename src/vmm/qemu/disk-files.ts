/**
 * The disks of a QEMU process, which gets them open, as its sets of descriptors (`-add-fd`): one that has become another user could not open
 * the files again, as it does when it wants a disk for reading only (before it saves its devices) and for writing once more.
 */
import { open } from 'node:fs/promises';
import { VmmError, type MachineSpec } from '../driver.ts';

export const SCRATCH_DISK_SET = '/dev/fdset/1';
export const ROOT_DISK_SET = '/dev/fdset/2';

/** The first of their descriptors in the process. */
const FIRST_FD = 5;

/** In the order of the descriptors. */
const FILES = [
  { set: SCRATCH_DISK_SET, path: (spec: MachineSpec) => spec.scratchPath, flags: 'r+' },
  { set: SCRATCH_DISK_SET, path: (spec: MachineSpec) => spec.scratchPath, flags: 'r' },
  { set: ROOT_DISK_SET, path: (spec: MachineSpec) => spec.rootDiskPath, flags: 'r' },
] as const;

/** Arguments that make the sets. */
export const diskArguments = (): string[] =>
  FILES.flatMap(({ set }, index) => ['-add-fd', `fd=${FIRST_FD + index},set=${set.replace('/dev/fdset/', '')}`]);

/** The files, to be inherited from {@link FIRST_FD} on and closed here once they are. @throws VmmError with the name of one that cannot be opened */
export async function openDisks(spec: MachineSpec): Promise<{ readonly fds: readonly number[] } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const fds: number[] = [];
  for (const { path, flags } of FILES) {
    const file = await open(path(spec), flags).catch((error: unknown) => {
      throw new VmmError(`a disk cannot be opened: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    });
    fds.push(stack.use(file).fd);
  }
  const opened = stack.move();
  return { fds, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
