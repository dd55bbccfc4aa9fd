/** The logs of builds line by line, as the logs surface gives them: what was printed, and the steps. */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildEvent, LogFiles } from '../domain/ports.ts';
import { bytesOf, linesOf } from '../lib/file-lines.ts';
import { parseEvent } from './build-log.ts';
import { LOG_NAME } from './builder.ts';

const READ_BYTES = 64 * 1024;
/** Beyond what one event takes. */
const MAX_LINE_BYTES = 64 * 1024;

/** @param snapshotDir folder of a version's files */
export function createBuildLogFiles(snapshotDir: (snapshotId: string) => string): LogFiles {
  const pathOf = (snapshotId: string) => join(snapshotDir(snapshotId), LOG_NAME);
  return {
    async *lines(snapshotId, { from }) {
      await using file = await openIfThere(pathOf(snapshotId));
      if (file === undefined) return;
      const { size } = await file.stat();
      for await (const line of linesOf(bytesOf(file, { from, to: size, readBytes: READ_BYTES }), { position: from, maxBytes: MAX_LINE_BYTES })) {
        const event = line.isEnded ? parseEvent(line.bytes.toString()) : undefined;
        const text = event === undefined ? '' : textOf(event);
        if (event !== undefined && text !== '') yield { position: line.position, next: line.next, atMs: event.atMs, text };
      }
    },
    async extent(snapshotId) {
      await using file = await openIfThere(pathOf(snapshotId));
      if (file === undefined) return undefined;
      const { size, mtimeMs } = await file.stat();
      const first = await firstLine(linesOf(bytesOf(file, { from: 0, to: size, readBytes: READ_BYTES }), { position: 0, maxBytes: MAX_LINE_BYTES }));
      const firstEventAtMs = first === undefined ? undefined : parseEvent(first.bytes.toString())?.atMs;
      return { firstEventAtMs: firstEventAtMs ?? null, lastEventAtMs: Math.floor(mtimeMs), storedBytes: size };
    },
    remove: (snapshotId) => rm(pathOf(snapshotId), { force: true }),
  };
}

async function firstLine<T>(lines: AsyncIterable<T>): Promise<T | undefined> {
  for await (const line of lines) return line;
  return undefined;
}

function textOf(event: BuildEvent): string {
  if (event.type === 'line') return event.text;
  return event.state === 'started' ? `== ${event.step}` : `== ${event.step} ${event.state}${event.ms === undefined ? '' : ` in ${event.ms} ms`}`;
}

async function openIfThere(path: string) {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
