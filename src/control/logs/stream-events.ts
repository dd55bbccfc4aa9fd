/** GetLogEvents: the lines of one stream, a page at a time in either direction. */
import { invalidLogQuery, type LogLine } from '../../domain/log-stream.ts';
import type { LogRange } from '../../domain/ports.ts';
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

/** What a page backwards is looked for in; twice what one holds, so that it comes out short only where little of the text is events. */
const LAST_BYTES = 2 * 1024 * 1024;

/**
 * One page. At either end the token that leads there is given again, which is how a client knows it; a page may be short,
 * or empty, before that, as the reference of GetLogEvents allows.
 * @throws LullError not-found, validation
 */
export async function streamEvents(catalogue: LogCatalogue, query: StreamQuery): Promise<StreamPage> {
  const { direction, position } = cursorOf(query);
  await catalogue.refresh({ group: query.group, name: query.stream });
  const stream = await catalogue.stream(query.group, query.stream);
  const { startMs = 0, endMs = Number.POSITIVE_INFINITY } = query;
  const search: Search = {
    lines: (range) => catalogue.lines(stream, { ...range, startMs: query.startMs, endMs: query.endMs }),
    isWanted: ({ atMs }) => atMs >= startMs && atMs < endMs,
    limit: Math.min(query.limit ?? MAX_EVENTS, MAX_EVENTS),
  };
  const edge = position === Number.MAX_SAFE_INTEGER ? 0 : position;
  const { events, searchedFrom = edge } = direction === 'f' ? await firstLines(search, position) : await lastLines(search, position);
  return { events, nextForwardToken: tokenOf('f', events.at(-1)?.next ?? edge), nextBackwardToken: tokenOf('b', searchedFrom) };
}

function cursorOf({ nextToken, startFromHead }: StreamQuery): Cursor {
  if (nextToken === undefined) return startFromHead ? { direction: 'f', position: 0 } : { direction: 'b', position: Number.MAX_SAFE_INTEGER };
  const match = TOKEN.exec(nextToken);
  if (match === null) throw invalidLogQuery('The specified nextToken is invalid.');
  return { direction: match[1] === 'f' ? 'f' : 'b', position: Number(match[2]) };
}

interface Search {
  readonly lines: (range: Pick<LogRange, 'from' | 'before' | 'lastBytes'>) => AsyncIterable<readonly LogLine[]>;
  readonly isWanted: (line: LogLine) => boolean;
  readonly limit: number;
}

interface Found {
  readonly events: readonly LogLine[];
  /** What is before this was not looked at, or did not fit; undefined where there was nothing to look at. */
  readonly searchedFrom: number | undefined;
}

async function firstLines({ lines: linesIn, isWanted, limit }: Search, from: number): Promise<Found> {
  const events: LogLine[] = [];
  let bytes = 0;
  const found = () => ({ events, searchedFrom: events[0]?.position });
  for await (const lines of linesIn({ from })) {
    for (const line of lines) {
      if (!isWanted(line)) continue;
      bytes += eventBytes(line);
      if (!isPage({ count: events.length + 1, bytes, limit })) return found();
      events.push(line);
    }
  }
  return found();
}

async function lastLines(search: Search, before: number): Promise<Found> {
  const found = await lastOf(search.lines({ from: 0, before, lastBytes: LAST_BYTES }), search);
  // No event begins there: it is the start, or a single line, or none but empty ones.
  return found.searchedFrom === undefined ? lastOf(search.lines({ from: 0, before }), search) : found;
}

/** What no longer fits is let go at the other end. */
async function lastOf(reads: AsyncIterable<readonly LogLine[]>, { isWanted, limit }: Search): Promise<Found> {
  let kept: LogLine[] = [];
  let start = 0;
  let bytes = 0;
  let searchedFrom: number | undefined;
  for await (const lines of reads) {
    searchedFrom ??= lines[0]?.position;
    for (const line of lines) {
      if (!isWanted(line)) continue;
      kept.push(line);
      bytes += eventBytes(line);
      while (!isPage({ count: kept.length - start, bytes, limit })) {
        bytes -= eventBytes(kept[start]!);
        start += 1;
        searchedFrom = kept[start]!.position;
      }
    }
    kept = kept.slice(start);
    start = 0;
  }
  return { events: kept, searchedFrom };
}
