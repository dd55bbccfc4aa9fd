/** The logs of builds line by line, as the logs surface gives them: what was printed, and the steps. */
import { join } from 'node:path';
import type { LogLine } from '../domain/log-stream.ts';
import type { BuildEvent, LogFiles } from '../domain/ports.ts';
import { bytesOf, linesOf, type FileLine } from '../lib/file-lines.ts';
import type { Files } from '../lib/files.ts';
import { openIfThere } from '../lib/open-file.ts';
import { parseEvent } from './build-log.ts';
import { LOG_NAME } from './builder.ts';

const READ_BYTES = 64 * 1024;
/** Beyond what one event takes. */
const MAX_LINE_BYTES = 64 * 1024;

/** @param snapshotDir folder of a version's files */
export function createBuildLogFiles(files: Files, snapshotDir: (snapshotId: string) => string): LogFiles {
  const pathOf = (snapshotId: string) => join(snapshotDir(snapshotId), LOG_NAME);
  return {
    async *lines(snapshotId, range) {
      await using file = await openIfThere(pathOf(snapshotId));
      if (file === undefined) return;
      const { size } = await file.stat();
      const before = Math.min(range.before ?? size, size);
      const position = Math.max(range.from, before - (range.lastBytes ?? size), 0);
      const bytes = bytesOf(file, { from: position, to: before, readBytes: READ_BYTES });
      for await (const lines of linesOf(bytes, { position, maxBytes: MAX_LINE_BYTES, isInLine: position > range.from })) yield lines.flatMap(toLogLine);
    },
    async extent(snapshotId) {
      await using file = await openIfThere(pathOf(snapshotId));
      if (file === undefined) return undefined;
      const { size, mtimeMs } = await file.stat();
      const first = await firstLine(linesOf(bytesOf(file, { from: 0, to: size, readBytes: READ_BYTES }), { position: 0, maxBytes: MAX_LINE_BYTES }));
      const firstEventAtMs = first === undefined ? undefined : parseEvent(first.bytes.toString())?.atMs;
      return { firstEventAtMs: firstEventAtMs ?? null, lastEventAtMs: Math.floor(mtimeMs), storedBytes: size };
    },
    remove: (snapshotId) => files.remove(pathOf(snapshotId)),
  };
}

async function firstLine<T>(batches: AsyncIterable<readonly T[]>): Promise<T | undefined> {
  for await (const [line] of batches) if (line !== undefined) return line;
  return undefined;
}

/** None where it is no whole event, or says nothing. */
function toLogLine({ position, next, bytes, isEnded }: FileLine): readonly LogLine[] {
  const event = isEnded ? parseEvent(bytes.toString()) : undefined;
  const text = event === undefined ? '' : textOf(event);
  return event === undefined || text === '' ? [] : [{ position, next, atMs: event.atMs, text }];
}

function textOf(event: BuildEvent): string {
  if (event.type === 'line') return event.text;
  return event.state === 'started' ? `== ${event.step}` : `== ${event.step} ${event.state}${event.ms === undefined ? '' : ` in ${event.ms} ms`}`;
}
