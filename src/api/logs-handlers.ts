/** CloudWatch Logs: groups, streams and events. */
import { LOGS } from '../contract/logs.ts';
import type { Realm } from '../domain/ids.ts';
import { invalidLogQuery, type LogStream } from '../domain/log-stream.ts';
import { nextToken, pageRequest } from './page-token.ts';
import { bind, type BoundAction, type BoundService, type ServiceErrorCodes } from './service-actions.ts';

/** "Errors" of the CloudWatch Logs API reference. */
const ERROR_CODES: ServiceErrorCodes = {
  validation: 'InvalidParameterException',
  'access-denied': 'AccessDeniedException',
  'not-found': 'ResourceNotFoundException',
  conflict: 'ResourceAlreadyExistsException',
  'quota-exceeded': 'LimitExceededException',
  'insufficient-capacity': 'ServiceUnavailableException',
  throttled: 'ThrottlingException',
  internal: 'InternalFailure',
};

/** "If you don't specify a value, the default is up to 50 items", and 10,000 events. */
const PAGE_SIZE = 50;
const EVENTS_PAGE_SIZE = 10_000;

interface GroupInput {
  readonly logGroupName: string | undefined;
  readonly logGroupIdentifier: string | undefined;
}

/** @throws LullError validation where none, or both, are given */
function groupOf({ logGroupName, logGroupIdentifier }: GroupInput): string {
  const given = [logGroupName, logGroupIdentifier].filter((name) => name !== undefined);
  if (given.length !== 1) throw invalidLogQuery('Exactly one of logGroupName and logGroupIdentifier must be given.');
  return given[0]!.replace(/^arn:aws[a-z-]*:logs:[^:]*:[^:]*:log-group:/, '').replace(/:\*$/, '');
}

const pageIn = (listing: string, input: { nextToken: string | undefined; limit: number | undefined }, defaultSize = PAGE_SIZE) =>
  pageRequest(listing, { maxResults: input.limit ?? defaultSize, nextToken: input.nextToken });

/** Left out at the end of a listing. */
function tokenAfter(listing: string, next: string | null): { nextToken?: string } {
  const token = nextToken(listing, next);
  return token === null ? {} : { nextToken: token };
}

const groupArn = ({ region, account }: Realm, name: string) => `arn:aws:logs:${region}:${account}:log-group:${name}`;

function renderStream(realm: Realm, group: string, stream: LogStream) {
  const { firstEventAtMs, lastEventAtMs, storedBytes } = stream;
  const events = firstEventAtMs === null ? {} : { firstEventTimestamp: firstEventAtMs, lastEventTimestamp: lastEventAtMs, lastIngestionTime: lastEventAtMs };
  return { logStreamName: stream.name, arn: `${groupArn(realm, group)}:log-stream:${stream.name}`, creationTime: stream.createdAtMs, ...events, storedBytes };
}

const { actions } = LOGS;

const GROUPS = {
  CreateLogGroup: bind(actions.CreateLogGroup, ({ logGroupName }, { control }) => control.logs.createGroup(logGroupName).then(() => undefined)),
  DeleteLogGroup: bind(actions.DeleteLogGroup, ({ logGroupName }, { control }) => control.logs.deleteGroup(logGroupName).then(() => undefined)),
  PutRetentionPolicy: bind(actions.PutRetentionPolicy, ({ logGroupName, retentionInDays }, { control }) =>
    control.logs.setRetention(logGroupName, retentionInDays).then(() => undefined),
  ),
  DeleteRetentionPolicy: bind(actions.DeleteRetentionPolicy, ({ logGroupName }, { control }) =>
    control.logs.setRetention(logGroupName, null).then(() => undefined),
  ),
  DescribeLogGroups: bind(actions.DescribeLogGroups, async (input, { control, realm }) => {
    const { logGroupNamePrefix: prefix, logGroupNamePattern: contains } = input;
    const listing = `log groups ${prefix ?? ''} ${contains ?? ''}`;
    const { items, next } = await control.logs.groups({ prefix, contains }, pageIn(listing, input));
    const logGroups = items.map(({ name, createdAtMs, retentionDays, storedBytes }) => ({
      logGroupName: name,
      logGroupArn: groupArn(realm, name),
      arn: `${groupArn(realm, name)}:*`,
      creationTime: createdAtMs,
      ...(retentionDays === null ? {} : { retentionInDays: retentionDays }),
      metricFilterCount: 0,
      storedBytes,
      logGroupClass: 'STANDARD' as const,
    }));
    return { logGroups, ...tokenAfter(listing, next) };
  }),
};

const STREAMS = {
  DescribeLogStreams: bind(actions.DescribeLogStreams, async (input, { control, realm }) => {
    const group = groupOf(input);
    const { logStreamNamePrefix: prefix, orderBy, descending = false } = input;
    const order = { prefix, orderBy: orderBy === 'LastEventTime' ? 'last-event' : 'name', descending } as const;
    const listing = `log streams ${group} ${prefix ?? ''} ${order.orderBy} ${descending}`;
    const { items, next } = await control.logs.streams(group, order, pageIn(listing, input));
    return { logStreams: items.map((stream) => renderStream(realm, group, stream)), ...tokenAfter(listing, next) };
  }),
  GetLogEvents: bind(actions.GetLogEvents, async (input, { control }) => {
    const page = await control.logs.events({
      group: groupOf(input),
      stream: input.logStreamName,
      startMs: input.startTime,
      endMs: input.endTime,
      limit: input.limit,
      startFromHead: input.startFromHead ?? false,
      nextToken: input.nextToken,
    });
    const events = page.events.map(({ atMs, text }) => ({ timestamp: atMs, message: text, ingestionTime: atMs }));
    return { events, nextForwardToken: page.nextForwardToken, nextBackwardToken: page.nextBackwardToken };
  }),
  FilterLogEvents: bind(actions.FilterLogEvents, async (input, { control }) => {
    const group = groupOf(input);
    const { logStreamNames, logStreamNamePrefix, startTime, endTime, filterPattern } = input;
    if (logStreamNames !== undefined && logStreamNamePrefix !== undefined) {
      throw invalidLogQuery('Only one of logStreamNames and logStreamNamePrefix may be given.');
    }
    const listing = `log events ${JSON.stringify([group, logStreamNames, logStreamNamePrefix, startTime, endTime, filterPattern])}`;
    const query = { group, streamNames: logStreamNames, streamPrefix: logStreamNamePrefix, startMs: startTime, endMs: endTime, pattern: filterPattern };
    const { items, next } = await control.logs.filter(query, pageIn(listing, input, EVENTS_PAGE_SIZE));
    const events = items.map(({ stream, atMs, text, position }) => ({
      logStreamName: stream.name,
      timestamp: atMs,
      message: text,
      ingestionTime: atMs,
      eventId: `${stream.sourceId}/${position}`,
    }));
    return { events, searchedLogStreams: [], ...tokenAfter(listing, next) };
  }),
};

const ACTIONS = { ...GROUPS, ...STREAMS } satisfies Record<keyof typeof LOGS.actions, BoundAction>;

export const logsService: BoundService<typeof LOGS> = { contract: LOGS, actions: new Map(Object.entries(ACTIONS)), errorCodes: ERROR_CODES };
