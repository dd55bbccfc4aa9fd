/** What a power cut may take: everything that was done and not made durable, in the worst of combinations. */
import { existsSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Done } from './fault-port.ts';

/** One mark that is not durable yet: a name in a folder, or the bytes behind it. */
export interface Loss {
  readonly what: 'name' | 'bytes';
  readonly path: string;
  /** What the file was called before. */
  readonly was?: string;
}

/** What is not durable after these steps. A file's bytes are by its fsync, a name by the fsync of its folder (fsync(2)). */
export function pending(steps: readonly Done[]): readonly Loss[] {
  let losses: Loss[] = [];
  for (const { kind, subject, to } of steps) {
    if (kind === 'write') losses.push({ what: 'name', path: subject }, { what: 'bytes', path: subject });
    if (kind === 'make folder') losses.push({ what: 'name', path: subject });
    if (kind === 'link') losses.push({ what: 'name', path: to! });
    if (kind === 'rename') {
      // What was written under the old name is there under the new one; the old one matters no more.
      losses = losses.filter(({ what, path }) => path !== subject || what === 'bytes').map((loss) => (loss.path === subject ? { ...loss, path: to! } : loss));
      losses.push({ what: 'name', path: to!, was: subject });
    }
    if (kind === 'remove' || kind === 'remove tree') losses = losses.filter(({ path }) => path !== subject && !path.startsWith(`${subject}/`));
    if (kind === 'fsync') losses = losses.filter(({ what, path }) => (what === 'bytes' ? path !== subject : dirname(path) !== subject));
  }
  return losses;
}

/** All of them; each one alone; all but each one. */
export function combinations(losses: readonly Loss[]): readonly (readonly Loss[])[] {
  const alone = losses.map((loss) => [loss]);
  const allBut = losses.map((kept) => losses.filter((loss) => loss !== kept));
  const seen = new Set<string>();
  return [[], losses, ...alone, ...allBut].filter((combination) => !seen.has(JSON.stringify(combination)) && seen.add(JSON.stringify(combination)));
}

/** Takes these away from the disk. */
export function lose(losses: readonly Loss[]): void {
  for (const { what, path, was } of losses) {
    if (!existsSync(path)) continue;
    if (what === 'bytes') truncateSync(path, 0);
    else if (was !== undefined) renameSync(path, was);
    else rmSync(path, { recursive: true });
  }
}
