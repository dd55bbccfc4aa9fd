/** GetLogEvents: the lines of one stream, a page at a time in either direction. */
import { invalidLogQuery, type LogLine } from '../../domain/log-stream.ts';
import { MAX_EVENTS, eventBytes, isPage } from './event-page.ts';
import type { LogCatalogue } from './log-catalogue.ts';

export interface StreamQuery {
  readonly group: string;
  readonly stream: string;
  readonly startMs: number | undefined;
  /** Exclusive. */
  readonly endMs: number | undefined;
  readonly limit: number | undefined;
  readonly startFromHead: boolean;
  readonly nextToken: string | undefined;
}

export interface StreamPage {
  readonly events: readonly LogLine[];
  readonly nextForwardToken: string;
  readonly nextBackwardToken: string;
}

/** Where a page begins or ends. */
interface Cursor {
  readonly direction: 'f' | 'b';
  readonly position: number;
}

const TOKEN = /^([fb])\/(\d{1,15})$/;
const tokenOf = (direction: Cursor['direction'], position: number) => `${direction}/${String(position).padStart(15, '0')}`;

/**
 * One page. At either end the token that leads there is given again, which is how a client knows it.
 * @throws LullError not-found, validation
 */
export async function streamEvents(catalogue: LogCatalogue, query: StreamQuery): Promise<StreamPage> {
  const cursor = cursorOf(query);
  await catalogue.refresh();
  const stream = await catalogue.stream(query.group, query.stream);
  const from = cursor.direction === 'f' ? cursor.position : 0;
  const lines = within(catalogue.lines(stream, { from, startMs: query.startMs }), query);
  const limit = Math.min(query.limit ?? MAX_EVENTS, MAX_EVENTS);
  const events = cursor.direction === 'f' ? await firstLines(lines, limit) : await lastLines(lines, { limit, before: cursor.position });
  const edge = cursor.position === Number.MAX_SAFE_INTEGER ? 0 : cursor.position;
  return {
    events,
    nextForwardToken: tokenOf('f', events.at(-1)?.next ?? edge),
    nextBackwardToken: tokenOf('b', events[0]?.position ?? edge),
  };
}

function cursorOf({ nextToken, startFromHead }: StreamQuery): Cursor {
  if (nextToken === undefined) return startFromHead ? { direction: 'f', position: 0 } : { direction: 'b', position: Number.MAX_SAFE_INTEGER };
  const match = TOKEN.exec(nextToken);
  if (match === null) throw invalidLogQuery('The specified nextToken is invalid.');
  return { direction: match[1] === 'f' ? 'f' : 'b', position: Number(match[2]) };
}

async function* within(lines: AsyncIterable<LogLine>, { startMs = 0, endMs = Number.POSITIVE_INFINITY }: StreamQuery): AsyncGenerator<LogLine> {
  for await (const line of lines) if (line.atMs >= startMs && line.atMs < endMs) yield line;
}

async function firstLines(lines: AsyncIterable<LogLine>, limit: number): Promise<readonly LogLine[]> {
  const page: LogLine[] = [];
  let bytes = 0;
  for await (const line of lines) {
    bytes += eventBytes(line);
    if (!isPage({ count: page.length + 1, bytes, limit })) break;
    page.push(line);
  }
  return page;
}

/** The last lines before a position: what no longer fits is let go at the other end. */
async function lastLines(lines: AsyncIterable<LogLine>, { limit, before }: { limit: number; before: number }): Promise<readonly LogLine[]> {
  let kept: LogLine[] = [];
  let start = 0;
  let bytes = 0;
  for await (const line of lines) {
    if (line.position >= before) break;
    kept.push(line);
    bytes += eventBytes(line);
    while (!isPage({ count: kept.length - start, bytes, limit })) {
      bytes -= eventBytes(kept[start]!);
      start += 1;
    }
    if (start <= limit) continue;
    kept = kept.slice(start);
    start = 0;
  }
  return kept.slice(start);
}
