/** How many events one answer holds: CloudWatch Logs API reference, GetLogEvents, "as many as fit in 1 MB, up to 10,000". */
import type { LogLine } from '../../domain/log-stream.ts';

export const MAX_EVENTS = 10_000;
const MAX_PAGE_BYTES = 1024 * 1024;
/** What an event counts besides its text (PutLogEvents). */
const EVENT_OVERHEAD_BYTES = 26;

export const eventBytes = ({ text }: Pick<LogLine, 'text'>) => Buffer.byteLength(text) + EVENT_OVERHEAD_BYTES;

/** Whether so many events of so many bytes are one page; a single event always is. */
export const isPage = ({ count, bytes, limit }: { count: number; bytes: number; limit: number }) =>
  count <= limit && (count <= 1 || bytes <= MAX_PAGE_BYTES);
