/** Logs as CloudWatch Logs shows them: groups of streams, one stream for each microVM and each build. Contract reference, section 8.4. */
import { LullError } from './errors.ts';
import type { ImageVersion, LoggingConfig } from './image.ts';
import type { Microvm } from './microvm.ts';

export interface LogGroup {
  readonly name: string;
  readonly createdAtMs: number;
  /** Of a retention policy of its own; null for the installation's. */
  readonly retentionDays: number | null;
}

/** What writes to a stream. */
export const LOG_SOURCES = ['microvm', 'build'] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

/** A stream that is about to be written to. */
export interface NewLogStream {
  /** Null where logging is switched off: nobody is shown it, and it is kept no longer than the others. */
  readonly group: string | null;
  readonly name: string;
  readonly source: LogSource;
  /** The microVM's id, or that of the version's snapshot. */
  readonly sourceId: string;
  readonly createdAtMs: number;
}

/** Where its events begin and end, when it was last measured. */
export interface LogExtent {
  /** Null where there are none. */
  readonly firstEventAtMs: number | null;
  readonly lastEventAtMs: number;
  readonly storedBytes: number;
}

export interface LogStream extends NewLogStream, LogExtent {
  /** Nothing is written to it any more. */
  readonly hasEnded: boolean;
}

/** One line of a log. Positions only grow, also over what has been dropped before it. */
export interface LogLine {
  readonly position: number;
  /** Where the next line begins. */
  readonly next: number;
  readonly atMs: number;
  readonly text: string;
}

/** A line longer than this is more than one event: CloudWatch Logs quotas, "Event size". */
export const MAX_EVENT_BYTES = 256 * 1024;

const day = (atMs: number) => new Date(atMs).toISOString().slice(0, 10).replaceAll('-', '/');

function placeOf(logging: LoggingConfig | null, otherwise: { imageName: string; name: string }): { group: string | null; name: string } {
  if (logging !== null && 'disabled' in logging) return { group: null, name: otherwise.name };
  const { logGroup, logStream } = logging?.cloudWatch ?? {};
  return { group: logGroup ?? `/aws/lambda-microvms/${otherwise.imageName}`, name: logStream ?? otherwise.name };
}

/** The stream of an application's output. Section 8.4: the image's own group does not count for its microVMs. */
export function microvmStream({ microvmId, imageName, imageVersion, logging, startedAtMs }: Microvm): NewLogStream {
  const name = `${day(startedAtMs)}[${imageVersion}]${microvmId}`;
  return { ...placeOf(logging, { imageName, name }), source: 'microvm', sourceId: microvmId, createdAtMs: startedAtMs };
}

/** The stream of a version's build; its name is ours, in the form of the other. */
export function buildStream({ imageName, version, snapshotId, config, build, createdAtMs }: ImageVersion): NewLogStream {
  const name = `${day(createdAtMs)}[${version}]build-${build.buildId}`;
  return { ...placeOf(config.logging, { imageName, name }), source: 'build', sourceId: snapshotId, createdAtMs };
}

/** The refusals of CloudWatch Logs, in its words. */
export const logGroupNotFound = () => new LullError('not-found', 'The specified log group does not exist.');
export const logStreamNotFound = () => new LullError('not-found', 'The specified log stream does not exist.');
export const logGroupTaken = () => new LullError('conflict', 'The specified log group already exists');
/** Ours: AWS lets its service write on, into a new group. */
export const logGroupInUse = (writer: string) =>
  new LullError('conflict', `${writer} still writes to this log group: end it first.`, { awsCode: 'OperationAbortedException' });
export const invalidLogQuery = (text: string) => new LullError('validation', text);
