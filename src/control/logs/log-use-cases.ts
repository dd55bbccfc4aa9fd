/** CloudWatch Logs over what microVMs and builds print. */
import { invalidLogQuery, logGroupInUse, logGroupNotFound, logGroupTaken, type LogGroup, type LogStream } from '../../domain/log-stream.ts';
import type { Clock, LogStreamOrder, Page, PageRequest } from '../../domain/ports.ts';
import { filterEvents, type FoundEvent, type GroupQuery } from './filter-events.ts';
import type { LogCatalogue } from './log-catalogue.ts';
import { streamEvents, type StreamPage, type StreamQuery } from './stream-events.ts';

/** Log operations. Errors: `src/domain/log-stream.ts`. */
export interface LogUseCases {
  createGroup(name: string): Promise<void>;
  /** Refused while something that has not ended writes to it. */
  deleteGroup(name: string): Promise<void>;
  /** @param days null for the installation's own */
  setRetention(name: string, days: number | null): Promise<void>;
  /** With their sizes when they were last measured. */
  groups(filter: { prefix?: string | undefined; contains?: string | undefined }, page: PageRequest): Promise<Page<LogGroup & { storedBytes: number }>>;
  streams(group: string, order: LogStreamOrder, page: PageRequest): Promise<Page<LogStream>>;
  events(query: StreamQuery): Promise<StreamPage>;
  filter(query: GroupQuery, page: PageRequest): Promise<Page<FoundEvent>>;
}

const REMOVED_AT_ONCE = 50;

/** Puts the use-cases together. */
export function createLogUseCases(catalogue: LogCatalogue, clock: Pick<Clock, 'nowMs'>): LogUseCases {
  const { streams } = catalogue;
  return {
    createGroup: async (name) => {
      if ((await streams.createGroup(name, clock.nowMs())) === 'exists') throw logGroupTaken();
    },
    deleteGroup: async (name) => {
      await catalogue.group(name);
      await catalogue.refresh({ group: name });
      const [writing] = await streams.open({ group: name });
      if (writing !== undefined) throw logGroupInUse(writing.name);
      await removeStreams(catalogue, name);
      const outcome = await streams.removeGroup(name);
      if (outcome === 'absent') throw logGroupNotFound();
      if (outcome === 'in-use') throw logGroupInUse('A new stream');
    },
    setRetention: async (name, days) => {
      await catalogue.group(name);
      await streams.setRetention(name, days);
    },
    groups: (filter, page) => streams.groups(filter, page),
    streams: async (group, order, page) => {
      if (order.orderBy === 'last-event' && order.prefix !== undefined) throw invalidLogQuery('Cannot order by LastEventTime with a logStreamNamePrefix.');
      await catalogue.group(group);
      await catalogue.refresh({ group });
      return streams.streams(group, order, page);
    },
    events: (query) => streamEvents(catalogue, query),
    filter: (query, page) => filterEvents(catalogue, query, page),
  };
}

/** Removes the streams of a group in one walk, which ends whatever comes meanwhile. */
async function removeStreams(catalogue: LogCatalogue, group: string): Promise<void> {
  let page: PageRequest | undefined = { limit: REMOVED_AT_ONCE };
  while (page !== undefined) {
    const { items, next }: Page<LogStream> = await catalogue.streams.streams(group, { orderBy: 'name', descending: false }, page);
    for (const stream of items) {
      // It has come since.
      if (!stream.hasEnded) throw logGroupInUse(stream.name);
      await catalogue.remove(stream);
    }
    page = next === null ? undefined : { limit: REMOVED_AT_ONCE, after: next };
  }
}
