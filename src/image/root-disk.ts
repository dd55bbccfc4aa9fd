/** The two disks of an image: the root, read-only EROFS, and the scratch disk that takes a microVM's writes. */
import { allocatedBytes } from '../host/disk.ts';
import { run } from '../host/process.ts';
import { Files } from '../lib/files.ts';
import { ROOT_DISK_SCRIPT } from './sandbox-script.ts';

/** Nobody writes to a root disk again: every microVM of the image maps it. */
const ROOT_DISK_MODE = 0o444;
/** Nobody looks for a disk by it; one of its own would make two of the same content differ (RFC 9562, version 8: of our own making). */
const UUID = '6c756c6c-0000-8000-a000-000000000000';
const MKE2FS_LIMIT_MS = 60_000;

/**
 * Writes the tree of `image` as uncompressed EROFS: owners, modes, times and extended attributes (file capabilities) as they are.
 * The server makes the file and hands it over open, so that the build's user needs no access to the folder and owns nothing of it.
 * @param options.run runs a command in the builder's sandbox with the file as descriptor 3
 * @returns the size in bytes
 * @throws Error where `path` exists, or mkfs.erofs fails; the file is gone then
 */
export async function writeErofs(options: {
  path: string;
  image: string;
  run: (argv: readonly [string, ...string[]], descriptor: number) => Promise<string>;
}): Promise<number> {
  const { path, image } = options;
  // The step is an effect of the build as a whole (`builder.ts`).
  return new Files().create(path, async (file) => {
    // mkfs.erofs opens by name, /proc/self/fd/3, which asks for permission anew.
    await file.chmod(0o666);
    await options.run(['sh', '-c', ROOT_DISK_SCRIPT, 'root-disk', image, UUID], file.fd);
    await file.chmod(ROOT_DISK_MODE);
    await file.sync();
    return (await file.stat()).size;
  });
}

/**
 * Makes an empty ext4 of `sizeBytes` in a new sparse file. No journal: what a crash of the guest loses is the guest's own, and
 * a suspend saves memory and disk together. Nothing is left for the guest's kernel to initialise, since that would be written
 * and count as a difference to the image.
 * @returns the bytes that it takes on the host
 */
export function makeScratchDisk(files: Files, path: string, sizeBytes: number): Promise<number> {
  return files.create(path, async (file) => {
    await file.truncate(sizeBytes);
    const options = ['-b', '4096', '-I', '256', '-m', '0', '-O', '^has_journal,^resize_inode,sparse_super2', '-E', 'assume_storage_prezeroed=1,lazy_itable_init=0,nodiscard,root_owner=0:0'];
    await run(['mke2fs', '-q', '-F', '-t', 'ext4', ...options, path], { timeoutMs: MKE2FS_LIMIT_MS, env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' } });
    await file.sync();
    return await allocatedBytes(path);
  });
}
