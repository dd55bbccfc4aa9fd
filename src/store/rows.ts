/** Rows into records and back. A file on disk is an edge: every row is parsed. */
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import { IMAGE_STATES, IMAGE_VERSION_STATES, type Image, type ImageBuild, type ImageConfig, type ImageVersion, type LoggingConfig } from '../domain/image.ts';
import { CONNECTOR_STATES, type NetworkConnector } from '../domain/network-connector.ts';
import { LOG_SOURCES, type LogGroup, type LogStream } from '../domain/log-stream.ts';
import { MICROVM_STATES, type IdlePolicy, type Microvm, type ProcessIdentity } from '../domain/microvm.ts';
import type { AccessKey, RoleSession } from '../domain/ports.ts';
import type { Role } from '../domain/role.ts';

/** A text column that holds JSON of this shape. */
export function json<T>(schema: z.ZodType<T>) {
  const parsed = z.string().transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue('not JSON');
      return z.NEVER;
    }
  });
  return parsed.pipe(schema);
}

export const count = z.number().int().nonnegative();
export const timeMs = z.number().int();

const logging: z.ZodType<LoggingConfig> = z.union([
  z.strictObject({ disabled: z.strictObject({}) }),
  z.strictObject({ cloudWatch: z.object({ logGroup: z.string().optional(), logStream: z.string().optional() }) }),
]);

const idlePolicy: z.ZodType<IdlePolicy> = z.object({
  maxIdleDurationSeconds: count,
  suspendedDurationSeconds: count,
  autoResumeEnabled: z.boolean(),
});

const processIdentity: z.ZodType<ProcessIdentity> = z.object({ pid: count, startTicks: count, bootId: z.string() });

const microvmRow: z.ZodType<Microvm> = z.object({
  microvmId: z.string(),
  endpointId: z.string(),
  state: z.enum(MICROVM_STATES),
  stateReason: z.string().nullable(),
  imageName: z.string(),
  imageArn: z.string(),
  imageVersion: z.string(),
  snapshotId: z.string(),
  baselineMib: count,
  executionRoleArn: z.string().nullable(),
  idlePolicy: json(idlePolicy).nullable(),
  maximumDurationSeconds: count,
  ingressConnectors: json(z.array(z.string())),
  egressConnectors: json(z.array(z.string())),
  logging: json(logging).nullable(),
  runHookPayload: z.string().nullable(),
  clientToken: z.string().nullable(),
  requestFingerprint: z.string().nullable(),
  startedAtMs: timeMs,
  suspendedAtMs: timeMs.nullable(),
  terminatedAtMs: timeMs.nullable(),
  generation: count,
  lastGeneration: count,
  process: json(processIdentity).nullable(),
});

export const texts = z.record(z.string(), z.string());

const imageRow: z.ZodType<Image> = z.object({
  id: z.string(),
  name: z.string(),
  imageArn: z.string(),
  state: z.enum(IMAGE_STATES),
  createdAtMs: timeMs,
  updatedAtMs: timeMs,
  latestActiveVersion: z.string().nullable(),
  latestFailedVersion: z.string().nullable(),
  tags: json(texts),
});

const hookState = z.enum(['ENABLED', 'DISABLED']).optional();
const seconds = count.optional();

const imageConfig: z.ZodType<ImageConfig> = z.object({
  baseImageArn: z.string(),
  baseImageVersion: z.string(),
  buildRoleArn: z.string(),
  codeArtifactUri: z.string(),
  description: z.string().nullable(),
  logging: logging.nullable(),
  egressConnectors: z.array(z.string()),
  cpuArchitectures: z.array(z.string()).nullable(),
  minimumMemoryMib: count,
  additionalOsCapabilities: z.array(z.string()).nullable(),
  hooks: z
    .object({
      port: count.optional(),
      microvmHooks: z
        .object({
          run: hookState,
          resume: hookState,
          suspend: hookState,
          terminate: hookState,
          runTimeoutInSeconds: seconds,
          resumeTimeoutInSeconds: seconds,
          suspendTimeoutInSeconds: seconds,
          terminateTimeoutInSeconds: seconds,
        })
        .optional(),
      microvmImageHooks: z
        .object({ ready: hookState, validate: hookState, readyTimeoutInSeconds: seconds, validateTimeoutInSeconds: seconds })
        .optional(),
    })
    .nullable(),
  environmentVariables: texts.nullable(),
});

const imageBuild: z.ZodType<ImageBuild> = z.object({
  buildId: z.string(),
  state: z.enum(['PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED']),
  stateReason: z.string().nullable(),
  sizes: z.object({ memoryBytes: count.exactOptional(), codeBytes: count, diskBytes: count.exactOptional() }).nullable(),
  createdAtMs: timeMs,
});

const imageVersionRow: z.ZodType<ImageVersion> = z
  .object({
    imageName: z.string(),
    version: z.string(),
    snapshotId: z.string(),
    state: z.enum(IMAGE_VERSION_STATES),
    status: z.enum(['ACTIVE', 'INACTIVE']),
    config: json(imageConfig),
    createdAtMs: timeMs,
    updatedAtMs: timeMs,
    build: json(imageBuild),
    artifactBlobId: z.string().nullable(),
    clientToken: z.string().nullable(),
    requestFingerprint: z.string().nullable(),
  })
  .transform(({ clientToken, requestFingerprint: fingerprint, ...version }): ImageVersion =>
    clientToken === null || fingerprint === null ? version : { ...version, request: { clientToken, fingerprint } },
  );

const clientRequest = z.object({ clientToken: z.string(), fingerprint: z.string() });

const connectorRow: z.ZodType<NetworkConnector> = z
  .object({
    connectorId: z.string(),
    arn: z.string(),
    name: z.string(),
    state: z.enum(CONNECTOR_STATES),
    stateReason: z.string(),
    configuration: json(
      z.object({
        subnetIds: z.array(z.string()),
        securityGroupIds: z.array(z.string()),
        networkProtocol: z.enum(['IPv4', 'DualStack']),
      }),
    ),
    operatorRole: z.string(),
    version: count,
    lastUpdate: json(z.object({ reason: z.string(), request: clientRequest })).nullable(),
    modifiedAtMs: timeMs,
    tags: json(texts),
    clientToken: z.string(),
    requestFingerprint: z.string(),
  })
  .transform(({ clientToken, requestFingerprint: fingerprint, ...connector }): NetworkConnector => ({
    ...connector,
    request: { clientToken, fingerprint },
  }));

const roleSession: z.ZodType<RoleSession> = z.object({
  roleArn: z.string(),
  sessionName: z.string(),
  sessionToken: z.string(),
  expiresAtMs: timeMs,
  microvmId: z.string(),
});

const accessKeyRow: z.ZodType<AccessKey> = z.object({
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  createdAtMs: timeMs,
  description: z.string().nullable(),
  session: json(roleSession).nullable(),
});

const roleRow: z.ZodType<Role> = z.object({
  roleName: z.string(),
  roleId: z.string(),
  path: z.string(),
  description: z.string().nullable(),
  maxSessionSeconds: count,
  createdAtMs: timeMs,
  trustPolicy: z.string(),
  inlinePolicies: json(texts),
  attachedPolicies: json(z.array(z.string())),
  tags: json(texts),
});

const logGroupRow: z.ZodType<LogGroup> = z.object({ name: z.string(), createdAtMs: timeMs, retentionDays: count.nullable() });

const logStreamRow: z.ZodType<LogStream> = z
  .object({
    groupName: z.string().nullable(),
    name: z.string(),
    source: z.enum(LOG_SOURCES),
    sourceId: z.string(),
    createdAtMs: timeMs,
    firstEventAtMs: timeMs.nullable(),
    lastEventAtMs: timeMs,
    storedBytes: count,
    hasEnded: z.literal([0, 1]),
  })
  .transform(({ groupName: group, hasEnded, ...stream }) => ({ ...stream, group, hasEnded: hasEnded === 1 }));

/** Parses rows of a table. */
export function reader<T>(table: string, schema: z.ZodType<T>): (row: unknown) => T {
  return (row) => {
    const result = schema.safeParse(row);
    if (result.success) return result.data;
    throw new LullError('internal', `The store holds a damaged row in ${table}.`, { cause: result.error });
  };
}

/** @throws LullError internal where the row is not what this code writes */
export const toMicrovm = reader('microvms', microvmRow);
/** @throws LullError internal where the row is not what this code writes */
export const toImage = reader('images', imageRow);
/** @throws LullError internal where the row is not what this code writes */
export const toImageVersion = reader('image_versions', imageVersionRow);
/** @throws LullError internal where the row is not what this code writes */
export const toConnector = reader('connectors', connectorRow);
/** @throws LullError internal where the row is not what this code writes */
export const toAccessKey = reader('access_keys', accessKeyRow);

/** @throws LullError internal where the row is not what this code writes */
export const toRole = reader('roles', roleRow);

/** @throws LullError internal where the row is not what this code writes */
export const toLogGroup = reader('log_groups', logGroupRow);
/** @throws LullError internal where the row is not what this code writes */
export const toLogStream = reader('log_streams', logStreamRow);

/** JSON for a column that may be empty. */
export const jsonOrNull = (value: unknown) => (value === null ? null : JSON.stringify(value));
