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

/** What one call reads besides the beginning of each stream, in reads of at most 64 KiB; then it answers with what it has found so far. */
const MAX_READS = 64;

/** A stream, of which every event up to `place` was seen. */
interface Search {
  readonly stream: LogStream;
  readonly reads: AsyncIterator<readonly LogLine[]>;
  place: Place;
  isBegun: boolean;
}

/**
 * One page: of all streams always that one is read on which is the farthest back, so that what was found up to there is
 * complete whenever it ends. A page may be short, or empty, with more behind its token, as
 * the reference of FilterLogEvents allows.
 * @throws LullError not-found; validation for a pattern or a token that is none
 */
export async function filterEvents(catalogue: LogCatalogue, query: GroupQuery, page: PageRequest): Promise<Page<FoundEvent>> {
  const matches = filterPattern(query.pattern ?? '');
  const after = page.after === undefined ? START : parsePlace(page.after);
  await catalogue.group(query.group);
  await catalogue.refresh({ group: query.group });
  const startMs = Math.max(query.startMs ?? 0, after[0]);
  const endMs = query.endMs === undefined ? Number.MAX_SAFE_INTEGER : query.endMs + 1;
  const isWanted = ({ atMs, text }: LogLine) => atMs >= startMs && atMs < endMs && matches(text);
  const streams = await catalogue.streams.overlapping(query.group, { names: query.streamNames, prefix: query.streamPrefix, startMs, endMs });
  const found = new EarliestEvents(Math.min(page.limit, MAX_EVENTS));
  await using stack = new AsyncDisposableStack();
  const searches = new Set<Search>();
  for (const stream of streams) {
    const from = stream.sourceId === after[1] ? after[2] : 0;
    const reads = catalogue.lines(stream, { from, startMs, endMs })[Symbol.asyncIterator]();
    stack.defer(async () => void (await reads.return?.()));
    searches.add({ stream, reads, place: [Math.max(stream.firstEventAtMs ?? 0, startMs), '', 0], isBegun: false });
  }
  for (let reads = 0; ; ) {
    const search = farthestBack(searches);
    if (search === undefined || found.isBeyond(search.place)) return found.page();
    // Never without having come on, or a client would ask for the same for ever.
    if (reads >= MAX_READS && compare(search.place, after) > 0) return found.page(search.place);
    const { done, value: lines } = await search.reads.next();
    if (done === true) searches.delete(search);
    else if (search.isBegun) reads += 1;
    search.isBegun = true;
    for (const line of lines ?? []) {
      if (!isWanted(line)) continue;
      const event = { ...line, stream: search.stream };
      if (compare(placeOf(event), after) > 0) found.add(event);
    }
    const last = lines?.at(-1);
    if (last !== undefined) search.place = placeOf({ ...last, stream: search.stream });
  }
}

function farthestBack(searches: Iterable<Search>): Search | undefined {
  let least: Search | undefined;
  for (const search of searches) if (least === undefined || compare(search.place, least.place) < 0) least = search;
  return least;
}

/** Before every event. */
const START: Place = [0, '', 0];

const tokenOf = ([atMs, sourceId, position]: Place) => `${atMs}:${position}:${sourceId}`;

/** @throws LullError validation */
function parsePlace(text: string): Place {
  const match = /^(\d{1,15}):(\d{1,15}):(.{0,100})$/.exec(text);
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

  /** @param searchedTo up to where what was added is all there is; undefined for everything */
  page(searchedTo?: Place): Page<FoundEvent> {
    this.#cut();
    if (searchedTo === undefined || this.isBeyond(searchedTo)) return { items: this.#events, next: this.#last === undefined ? null : tokenOf(this.#last) };
    return { items: this.#events.filter((event) => compare(placeOf(event), searchedTo) <= 0), next: tokenOf(searchedTo) };
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
