/** FilterLogEvents: the lines of a group's streams that match, in order of time, a page at a time. */
import { LullError } from '../../domain/errors.ts';
import type { LogLine, LogStream } from '../../domain/log-stream.ts';
import type { Page, PageRequest } from '../../domain/ports.ts';
import { MAX_EVENTS, eventBytes, isPage } from './event-page.ts';
import { filterPattern } from './filter-pattern.ts';
import type { LogCatalogue } from './log-catalogue.ts';

export interface GroupQuery {
  readonly group: string;
  readonly streamNames: readonly string[] | undefined;
  readonly streamPrefix: string | undefined;
  readonly startMs: number | undefined;
  /** Inclusive here, as AWS has it, and exclusive in GetLogEvents. */
  readonly endMs: number | undefined;
  readonly pattern: string | undefined;
}

/** An event, and whose. */
export interface FoundEvent extends LogLine {
  readonly stream: LogStream;
}

/** The place of an event in the order of all: time, then stream, then position. */
type Place = readonly [atMs: number, sourceId: string, position: number];

const placeOf = ({ atMs, position, stream }: FoundEvent): Place => [atMs, stream.sourceId, position];

function compare(a: Place, b: Place): number {
  if (a[0] !== b[0]) return a[0] - b[0];
  if (a[1] !== b[1]) return a[1] < b[1] ? -1 : 1;
  return a[2] - b[2];
}

/**
 * One page.
 * @throws LullError not-found; validation for a pattern or a token that is none
 */
export async function filterEvents(catalogue: LogCatalogue, query: GroupQuery, page: PageRequest): Promise<Page<FoundEvent>> {
  const matches = filterPattern(query.pattern ?? '');
  const after = page.after === undefined ? undefined : parsePlace(page.after);
  await catalogue.group(query.group);
  await catalogue.refresh();
  const startMs = Math.max(query.startMs ?? 0, after?.[0] ?? 0);
  const endMs = query.endMs ?? Number.MAX_SAFE_INTEGER;
  const streams = await catalogue.streams.overlapping(query.group, { names: query.streamNames, prefix: query.streamPrefix, startMs, endMs });
  const found = new EarliestEvents(Math.min(page.limit, MAX_EVENTS));
  for (const stream of streams) {
    if (found.isBeyond([stream.firstEventAtMs ?? 0, '', 0])) continue;
    for await (const line of catalogue.lines(stream, { from: 0, startMs })) {
      const event = { ...line, stream };
      const isNext = after === undefined || compare(placeOf(event), after) > 0;
      if (isNext && line.atMs >= startMs && line.atMs <= endMs && matches(line.text)) found.add(event);
    }
  }
  return found.page();
}

/** @throws LullError validation */
function parsePlace(text: string): Place {
  const match = /^(\d{1,15}):(\d{1,15}):(.{1,100})$/.exec(text);
  if (match === null) throw new LullError('validation', 'The specified nextToken is invalid.');
  return [Number(match[1]), match[3]!, Number(match[2])];
}

/** So much more than a page is gathered before it is sorted again. */
const SLACK_EVENTS = 2000;
const SLACK_BYTES = 4 * 1024 * 1024;

/** The earliest events of all that are added, as many as one page holds; memory is bounded whatever comes. */
class EarliestEvents {
  readonly #limit: number;
  #events: FoundEvent[] = [];
  #bytes = 0;
  /** The last event of the page, once some were left out behind it. */
  #last: Place | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  isBeyond(place: Place): boolean {
    return this.#last !== undefined && compare(place, this.#last) > 0;
  }

  add(event: FoundEvent): void {
    if (this.isBeyond(placeOf(event))) return;
    this.#events.push(event);
    this.#bytes += eventBytes(event);
    if (this.#events.length > this.#limit + SLACK_EVENTS || this.#bytes > SLACK_BYTES) this.#cut();
  }

  page(): Page<FoundEvent> {
    this.#cut();
    const last = this.#last;
    return { items: this.#events, next: last === undefined ? null : `${last[0]}:${last[2]}:${last[1]}` };
  }

  #cut(): void {
    this.#events.sort((a, b) => compare(placeOf(a), placeOf(b)));
    let bytes = 0;
    const end = this.#events.findIndex((event, at) => {
      bytes += eventBytes(event);
      return !isPage({ count: at + 1, bytes, limit: this.#limit });
    });
    if (end === -1) return;
    this.#events.length = end;
    this.#bytes = this.#events.reduce((sum, event) => sum + eventBytes(event), 0);
    this.#last = placeOf(this.#events[end - 1]!);
  }
}
