/** Stops a build that fills the disk. There is no quota that works for every user and file system, so we look, four times a second. */
import { statfs } from 'node:fs/promises';
import { run } from '../host/process.ts';

const LOOK_EVERY_MS = 250;
const DU_LIMIT_MS = 60_000;
/** The host keeps this much whatever the limit of a build is: its server writes state and snapshots on the same disk. */
const HOST_RESERVE_BYTES = 1024 ** 3;
const HOST_RESERVE_INODES = 10_000;

/** The reason of the abort: the build has used up its disk, or the host's. */
export class DiskFull extends Error {
  override readonly name = 'DiskFull';
}

export interface DiskLimits {
  readonly dir: string;
  readonly maxBytes: number;
  /** The server may see all files below `dir`. */
  readonly mayCount: boolean;
  /** Less must not be left on the disk. */
  readonly keptBytes?: number;
}

/**
 * Aborts `controller` with {@link DiskFull} once `dir` has grown by more than `maxBytes`, or its file system is nearly full.
 * Growth is first told from the free space, which costs nothing; what else happens on the disk is excluded by counting the
 * files, where the server may see them all.
 */
export async function watchDisk(options: DiskLimits & { controller: AbortController }): Promise<Disposable> {
  const { dir, maxBytes, mayCount, keptBytes = HOST_RESERVE_BYTES, controller } = options;
  const free = async (): Promise<{ bytes: number; inodes: number; hasInodes: boolean }> => {
    const stats = await statfs(dir);
    return { bytes: stats.bavail * stats.bsize, inodes: stats.ffree, hasInodes: stats.files > 0 };
  };
  const before = { free: (await free()).bytes, used: mayCount ? await usedBytes(dir) : 0 };
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const look = async (): Promise<void> => {
    const now = await free();
    if (now.bytes < keptBytes || (now.hasInodes && now.inodes < HOST_RESERVE_INODES)) throw new DiskFull('the disk of the host is nearly full');
    const mayHaveGrown = before.free - now.bytes > maxBytes;
    if (mayHaveGrown && (!mayCount || (await usedBytes(dir)) - before.used > maxBytes)) {
      throw new DiskFull(`the build used more than ${maxBytes} bytes of disk`);
    }
  };
  const again = (): void => {
    if (over) return;
    timer = setTimeout(() => {
      look().then(again, (error: unknown) => controller.abort(error));
    }, LOOK_EVERY_MS);
  };
  again();
  return {
    [Symbol.dispose]: () => {
      over = true;
      clearTimeout(timer);
    },
  };
}

async function usedBytes(dir: string): Promise<number> {
  // Files come and go while it counts: du then says so and ends with 1, but its number is good.
  const said = await run(['sh', '-c', 'du --summarize --one-file-system --block-size=1 -- "$1" 2> /dev/null || true', 'du', dir], { timeoutMs: DU_LIMIT_MS });
  return Number.parseInt(said, 10) || 0;
}
