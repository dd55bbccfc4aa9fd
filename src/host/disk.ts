/** Disk images: sparse copies that take no more room, and no more time, than what is in them. */
import { stat } from 'node:fs/promises';
import { effect, type Effects } from '../lib/effects.ts';
import { run } from './process.ts';

/**
 * Copies a sparse file: by reference where the file system can, else only what is not a hole.
 * @throws CommandError where it cannot be read or written
 */
export async function copySparse(from: string, to: string, effects: Effects): Promise<void> {
  await effect(effects, { kind: 'write', subject: to }, () => run(['cp', '--reflink=auto', '--sparse=always', '--no-preserve=mode', '--', from, to]));
}

/**
 * The parts of a sparse file that are not holes.
 * @param hostTool the program `lull-host`: Node has no lseek(2)
 */
export async function extentsOf(hostTool: string, path: string): Promise<[offset: number, length: number][]> {
  const lines = (await run([hostTool, 'extents', path])).split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [offset, length] = line.split(' ').map(Number);
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length)) throw new Error(`lull-host extents said: ${line}`);
    return [offset!, length!];
  });
}

/** stat(2): `st_blocks` counts these, whatever the file system's own are. */
const BLOCK_BYTES = 512;

/** What a file takes of its disk, in bytes: its holes take nothing. */
export const allocatedBytes = async (path: string): Promise<number> => (await stat(path)).blocks * BLOCK_BYTES;
