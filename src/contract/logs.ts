/** Amazon CloudWatch Logs, API version 2014-03-28: what tools read logs with. Times are milliseconds since the epoch. */
import { z } from 'zod';
import { boundedList, optional, patterned, text } from './constraints.ts';
import { action, nothing, type JsonServiceContract } from './service.ts';

const GROUP = '[\\.\\-_/#A-Za-z0-9]+';
const logGroupName = patterned(GROUP).min(1).max(512);
/** A name or an ARN. */
const logGroupIdentifier = patterned('[\\w#+=/:,.@*-]*').min(1).max(2048);
const logStreamName = patterned('[^:*]*').min(1).max(512);
/** Either of the two names a group. */
const group = { logGroupName: optional(logGroupName), logGroupIdentifier: optional(logGroupIdentifier) };
const token = optional(text(1, 4096));
const limit = (max: number) => optional(z.int().min(1).max(max));
const moment = optional(z.int().min(0).max(8_640_000_000_000_000));

/** PutRetentionPolicy. */
const RETENTION_DAYS: readonly number[] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
const retentionInDays = z.int().superRefine((days, context) => {
  if (!RETENTION_DAYS.includes(days)) context.addIssue({ code: 'custom', message: `satisfy enum value set: [${RETENTION_DAYS.join(', ')}]` });
});

export const LOGS = {
  signingName: 'logs',
  targetPrefix: 'Logs_20140328',
  actions: {
    CreateLogGroup: action(z.object({ logGroupName }), nothing),
    DeleteLogGroup: action(z.object({ logGroupName }), nothing),
    PutRetentionPolicy: action(z.object({ logGroupName, retentionInDays }), nothing),
    DeleteRetentionPolicy: action(z.object({ logGroupName }), nothing),
    DescribeLogGroups: action(
      z.object({
        logGroupNamePrefix: optional(logGroupName),
        logGroupNamePattern: optional(patterned(`(?:${GROUP})?`).max(512)),
        nextToken: token,
        limit: limit(50),
      }),
      z.object({
        logGroups: z.array(
          z.object({
            logGroupName: z.string(),
            logGroupArn: z.string(),
            arn: z.string(),
            creationTime: z.int(),
            retentionInDays: z.int().optional(),
            metricFilterCount: z.int(),
            storedBytes: z.int(),
            logGroupClass: z.literal('STANDARD'),
          }),
        ),
        nextToken: z.string().optional(),
      }),
    ),
    DescribeLogStreams: action(
      z.object({
        ...group,
        logStreamNamePrefix: optional(logStreamName),
        orderBy: optional(z.enum(['LogStreamName', 'LastEventTime'])),
        descending: optional(z.boolean()),
        nextToken: token,
        limit: limit(50),
      }),
      z.object({
        logStreams: z.array(
          z.object({
            logStreamName: z.string(),
            arn: z.string(),
            creationTime: z.int(),
            firstEventTimestamp: z.int().optional(),
            lastEventTimestamp: z.int().optional(),
            lastIngestionTime: z.int().optional(),
            storedBytes: z.int(),
          }),
        ),
        nextToken: z.string().optional(),
      }),
    ),
    GetLogEvents: action(
      z.object({
        ...group,
        logStreamName,
        startTime: moment,
        endTime: moment,
        nextToken: token,
        limit: limit(10_000),
        startFromHead: optional(z.boolean()),
      }),
      z.object({
        events: z.array(z.object({ timestamp: z.int(), message: z.string(), ingestionTime: z.int() })),
        nextForwardToken: z.string(),
        nextBackwardToken: z.string(),
      }),
    ),
    FilterLogEvents: action(
      z.object({
        ...group,
        logStreamNames: optional(boundedList(logStreamName, { min: 1, max: 100 })),
        logStreamNamePrefix: optional(logStreamName),
        startTime: moment,
        endTime: moment,
        filterPattern: optional(z.string().max(1024)),
        nextToken: token,
        limit: limit(10_000),
      }),
      z.object({
        events: z.array(
          z.object({ logStreamName: z.string(), timestamp: z.int(), message: z.string(), ingestionTime: z.int(), eventId: z.string() }),
        ),
        searchedLogStreams: z.array(z.object({ logStreamName: z.string(), searchedCompletely: z.boolean() })),
        nextToken: z.string().optional(),
      }),
    ),
  },
} as const satisfies JsonServiceContract;
