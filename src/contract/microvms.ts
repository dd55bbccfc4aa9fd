/** Inputs and answers of the MicroVM operations: contract reference, sections 1.3 and 1.10. */
import { z } from 'zod';
import { boundedList, boundedMap, exactlyOneOf, nullable, optional, patterned, queryInteger, text, unit } from './constraints.ts';

/** Section 1.7. */
export const MAX_PAGE_SIZE = 50;
/** Members whose values are never shown in a validation text (sensitive shapes, section 1.2). */
export const SENSITIVE_MEMBERS: ReadonlySet<string> = new Set(['runHookPayload', 'environmentVariables']);

/** Sections 3.2, 3.3. */
const MAX_LIFE_SECONDS = 28_800;

/** Seconds since the epoch with milliseconds as fraction: section 1.1. */
export const timestamp = z.number();

/** The query of every listing. */
export const pageInput = {
  maxResults: optional(queryInteger(1, MAX_PAGE_SIZE)),
  nextToken: optional(z.string()),
};

export const imageIdentifier = text(1, 256);
export const microvmIdentifier = text(1, 256);
/** The model's text without white space. */
export const nonBlank = patterned('[^\\s]+').min(1).max(2048);
export const imageVersion = nonBlank;
export const connectorArn = text(1, 2048);
/** Section 1.3. */
export const roleArn = patterned('^arn:aws[a-z\\-]*:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+$').min(20).max(2048);
export const clientToken = nullable(text(1, 128));

const cloudWatch = z.object({
  logGroup: optional(patterned('[a-zA-Z0-9_\\-/.#]+').min(1).max(512)),
  logStream: optional(patterned('[^:*]*').min(1).max(512)),
});

/** The `logging` union, inside as one of its two members. */
export const logging = nullable(
  exactlyOneOf({ disabled: unit, cloudWatch: optional(cloudWatch) }).transform((union) =>
    union.cloudWatch === undefined ? { disabled: {} } : { cloudWatch: union.cloudWatch },
  ),
);

/** How `logging` looks in answers. */
export const loggingAnswer = z.union([
  z.object({ disabled: z.record(z.string(), z.never()) }),
  z.object({ cloudWatch: z.object({ logGroup: z.string().nullish(), logStream: z.string().nullish() }) }),
]);

export const runMicrovmInput = z.object({
  imageIdentifier,
  imageVersion: nullable(imageVersion),
  executionRoleArn: nullable(roleArn),
  idlePolicy: nullable(
    z.object({
      maxIdleDurationSeconds: z.int().min(60).max(MAX_LIFE_SECONDS),
      suspendedDurationSeconds: z.int().min(0),
      autoResumeEnabled: z.boolean(),
    }),
  ),
  maximumDurationInSeconds: z.int().min(1).max(MAX_LIFE_SECONDS).nullish().transform((value) => value ?? MAX_LIFE_SECONDS),
  runHookPayload: nullable(text(0, 4096)),
  ingressNetworkConnectors: nullable(boundedList(connectorArn, { max: 10 })),
  egressNetworkConnectors: nullable(boundedList(connectorArn, { max: 10 })),
  logging,
  clientToken,
});

export const microvmLabel = z.object({ microvmIdentifier });

export const MICROVM_WIRE_STATES = ['PENDING', 'RUNNING', 'SUSPENDING', 'SUSPENDED', 'TERMINATING', 'TERMINATED'] as const;

export const microvmAnswer = z.object({
  microvmId: z.string(),
  state: z.enum(MICROVM_WIRE_STATES),
  endpoint: z.string(),
  imageArn: z.string(),
  imageVersion: z.string(),
  maximumDurationInSeconds: z.int(),
  startedAt: timestamp,
  terminatedAt: timestamp.nullable(),
  stateReason: z.string().nullable(),
  terminationReasonCode: z.null(),
  executionRoleArn: z.string().nullable(),
  idlePolicy: z
    .object({ maxIdleDurationSeconds: z.int(), suspendedDurationSeconds: z.int(), autoResumeEnabled: z.boolean() })
    .nullable(),
  ingressNetworkConnectors: z.array(z.string()).nullable(),
  egressNetworkConnectors: z.array(z.string()).nullable(),
});
export type MicrovmAnswer = z.output<typeof microvmAnswer>;

export const listMicrovmsInput = z.object({
  ...pageInput,
  imageIdentifier: optional(imageIdentifier),
  imageVersion: optional(z.string()),
});

const microvmItem = microvmAnswer.pick({ microvmId: true, state: true, imageArn: true, imageVersion: true, startedAt: true });
export type MicrovmItem = z.output<typeof microvmItem>;

/** A page of a listing: `nextToken` is null at the end. */
export const pageAnswer = <S extends z.ZodType>(item: S) => z.object({ items: z.array(item), nextToken: z.string().nullable() });

export const listMicrovmsAnswer = pageAnswer(microvmItem);

export const emptyAnswer = z.object({});

const port = z.int().min(1).max(65_535);

export const createAuthTokenInput = z.object({
  microvmIdentifier,
  expirationInMinutes: z.int().min(1),
  allowedPorts: boundedList(
    exactlyOneOf({ port: optional(port), range: optional(z.object({ startPort: port, endPort: port })), allPorts: unit }),
    { min: 1 },
  ),
});

/** Section 1.3. */
export const createShellAuthTokenInput = z.object({ microvmIdentifier, expirationInMinutes: z.int().min(1) });

/** Section 1.3: today exactly one key. */
export const AUTH_TOKEN_KEY = 'X-aws-proxy-auth';

export const createAuthTokenAnswer = z.object({ authToken: z.record(z.string(), z.string()) });

/** Section 1.3, CreateMicrovmImage: tags. */
const TAG_PATTERN = '^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$';
export const tagKey = patterned(TAG_PATTERN).min(1).max(128);
/** The model sets no limit to their number; the service does. */
export const tagMap = boundedMap(tagKey, patterned(TAG_PATTERN).max(256));
