/** The streams and what is known of them: their extent is that of their files, taken while they are written to. */
import { logGroupNotFound, logStreamNotFound, type LogGroup, type LogLine, type LogSource, type LogStream } from '../../domain/log-stream.ts';
import type { LogFiles, LogRange, LogRepository, OpenStreamFilter } from '../../domain/ports.ts';
import { atMost } from '../../lib/at-most.ts';

const MEASURED_AT_ONCE = 8;

export interface LogCatalogueParts {
  readonly streams: LogRepository;
  readonly files: { readonly [S in LogSource]: LogFiles };
}

export class LogCatalogue {
  readonly streams: LogRepository;
  readonly #files: LogCatalogueParts['files'];

  constructor(parts: LogCatalogueParts) {
    this.streams = parts.streams;
    this.#files = parts.files;
  }

  /** Takes the extent of every stream of a kind that is written to, and marks those that have ended. */
  async refresh(filter: OpenStreamFilter): Promise<void> {
    await atMost(MEASURED_AT_ONCE, await this.streams.open(filter), async ({ isLive, ...stream }) => {
      const extent = (await this.#files[stream.source].extent(stream.sourceId)) ?? stream;
      const { firstEventAtMs, lastEventAtMs, storedBytes } = extent;
      const isKnown = !isLive === stream.hasEnded && storedBytes === stream.storedBytes && lastEventAtMs === stream.lastEventAtMs;
      if (!isKnown) await this.streams.measured(stream, { firstEventAtMs, lastEventAtMs, storedBytes, hasEnded: !isLive });
    });
  }

  /** @throws LullError not-found */
  async group(name: string): Promise<LogGroup> {
    const group = await this.streams.group(name);
    if (group === undefined) throw logGroupNotFound();
    return group;
  }

  /** @throws LullError not-found, first for the group */
  async stream(group: string, name: string): Promise<LogStream> {
    await this.group(group);
    const stream = await this.streams.stream(group, name);
    if (stream === undefined) throw logStreamNotFound();
    return stream;
  }

  lines({ source, sourceId, hasEnded }: LogStream, range: Omit<LogRange, 'isComplete'>): AsyncIterable<readonly LogLine[]> {
    return this.#files[source].lines(sourceId, { ...range, isComplete: hasEnded });
  }

  /** Removes a stream that has ended: its lines, then what is known of it. */
  async remove(stream: LogStream): Promise<void> {
    await this.#files[stream.source].remove(stream.sourceId);
    await this.streams.removeStream(stream);
  }
}
