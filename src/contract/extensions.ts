/** What Lull adds to AWS's API, under `/lull/v1`: signed as `lambda`, health and metrics excepted. */
import { z } from 'zod';
import { nullable, optional, text } from './constraints.ts';
import { imageIdentifier, imageVersion, microvmIdentifier } from './microvms.ts';

/** Where `lull build` puts the code of images. Keys of roles do not open it. */
export const ARTIFACT_BUCKET = 'lull-artifacts';

const follow = optional(z.enum(['true', 'false']));

/** How many images, and how many microVMs, one call verifies by name. */
const MAX_VERIFIED = 1000;

/** As for an operation. */
interface ExtensionContract {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly query: readonly string[];
  readonly queryLists: readonly string[];
  readonly hasBody: boolean;
  readonly input: z.ZodType;
}

const GET = { method: 'GET', query: [], queryLists: [], hasBody: false } as const;
const NOTHING = z.object({});

/** The table of extensions; `{…}` are path labels as in the table of operations. */
export const EXTENSIONS = {
  health: { ...GET, path: '/lull/v1/health', input: NOTHING },
  /** For a scraper, which signs nothing: to this machine, or to a bearer of a token. */
  metrics: { ...GET, path: '/lull/v1/metrics', input: NOTHING },
  microvmLogs: {
    ...GET,
    path: '/lull/v1/microvms/{microvmIdentifier}/logs',
    query: ['follow'],
    input: z.object({ microvmIdentifier, follow }),
  },
  microvmReport: { ...GET, path: '/lull/v1/microvms/{microvmIdentifier}/report', input: z.object({ microvmIdentifier }) },
  buildEvents: {
    ...GET,
    path: '/lull/v1/images/{imageIdentifier}/versions/{imageVersion}/events',
    query: ['follow'],
    input: z.object({ imageIdentifier, imageVersion, follow }),
  },
  rebuildImage: {
    ...GET,
    method: 'POST',
    path: '/lull/v1/images/{imageIdentifier}/rebuild',
    hasBody: true,
    input: z.object({ imageIdentifier, imageVersion: nullable(imageVersion) }),
  },
  /** Of everything at rest where nothing is named. */
  verify: {
    ...GET,
    method: 'POST',
    path: '/lull/v1/verify',
    hasBody: true,
    input: z.object({
      images: z.array(z.object({ imageIdentifier, imageVersion: nullable(imageVersion) })).max(MAX_VERIFIED),
      microvms: z.array(microvmIdentifier).max(MAX_VERIFIED),
    }),
  },
  keys: { ...GET, path: '/lull/v1/keys', input: NOTHING },
  createKey: {
    ...GET,
    method: 'POST',
    path: '/lull/v1/keys',
    hasBody: true,
    input: z.object({ description: nullable(text(1, 256)) }),
  },
  revokeKey: { ...GET, method: 'DELETE', path: '/lull/v1/keys/{accessKeyId}', input: z.object({ accessKeyId: text(1, 128) }) },
  /** Removes what nobody uses, or only says what that is. */
  collectGarbage: { ...GET, method: 'POST', path: '/lull/v1/gc', hasBody: true, input: z.object({ dryRun: z.boolean() }) },
  shutdown: { ...GET, method: 'POST', path: '/lull/v1/shutdown', input: NOTHING },
} as const satisfies Record<string, ExtensionContract>;

export type ExtensionName = keyof typeof EXTENSIONS;
export type ExtensionInput<E extends ExtensionName> = z.output<(typeof EXTENSIONS)[E]['input']>;
/** As for the operations: typed for a generic caller. */
export const EXTENSION_INPUT_OF: { readonly [E in ExtensionName]: { readonly input: z.ZodType<ExtensionInput<E>> } } = EXTENSIONS;

/** In bytes; `reservedBytes` of those available are promised to what is under way. */
const diskFigures = z.object({ sizeBytes: z.number(), availableBytes: z.number(), reservedBytes: z.number() });

export const healthAnswer = z.object({
  status: z.literal('ok'),
  version: z.string(),
  driver: z.string(),
  accelerator: z.string(),
  /** What was found not as it should be since the start, and brought into order. */
  reconciler: z.object({ runs: z.number(), mended: z.number(), lastRunAtMs: z.number().nullable() }),
  disks: z.object({ data: diskFigures, platform: diskFigures }),
  /** MicroVMs that stand still because their disk is full or fails. */
  stoppedByDisk: z.number(),
});
export type HealthAnswer = z.output<typeof healthAnswer>;

const stepTimes = z.array(z.object({ step: z.string(), ms: z.number() }));

/** How long each step of the last launch, suspend and wake took (milliseconds), and what the suspend wrote. */
export const reportAnswer = z.object({
  launch: stepTimes.nullable(),
  suspend: z.object({ bytesWritten: z.number(), pages: z.number(), zeroPages: z.number(), steps: stepTimes }).nullable(),
  wake: stepTimes.nullable(),
});
export type ReportAnswer = z.output<typeof reportAnswer>;

/** One line of the event stream of a build (NDJSON). */
export const buildEventLine = z.discriminatedUnion('type', [
  z.object({
    atMs: z.number(),
    type: z.literal('step'),
    step: z.string(),
    state: z.enum(['started', 'finished', 'failed']),
    ms: z.number().optional(),
  }),
  z.object({ atMs: z.number(), type: z.literal('line'), step: z.string(), text: z.string() }),
]);
export type BuildEventLine = z.output<typeof buildEventLine>;

/** The version that is being built. */
export const rebuildAnswer = z.object({ imageArn: z.string(), imageVersion: z.string() });
export type RebuildAnswer = z.output<typeof rebuildAnswer>;

/** One file that was verified (NDJSON): of which image version or microVM, and what is wrong with it. */
export const verifiedFileLine = z.object({ subject: z.string(), file: z.string(), sizeBytes: z.number(), fault: z.string().nullable() });
export type VerifiedFileLine = z.output<typeof verifiedFileLine>;

const keyAnswer = { accessKeyId: z.string(), createdAtMs: z.number(), description: z.string().nullable() };
/** The secret is in the answer to the key's creation only. */
export const createKeyAnswer = z.object({ ...keyAnswer, secretAccessKey: z.string() });
export type CreateKeyAnswer = z.output<typeof createKeyAnswer>;

/** `isOwn`: it is the one in `credentials.json`. */
export const keysAnswer = z.object({ keys: z.array(z.object({ ...keyAnswer, isOwn: z.boolean() })) });
export type KeysAnswer = z.output<typeof keysAnswer>;

export const shutdownAnswer = z.object({ suspended: z.int() });
export type ShutdownAnswer = z.output<typeof shutdownAnswer>;

/** What was removed, or would be. */
export const garbageAnswer = z.object({ garbage: z.array(z.object({ kind: z.string(), name: z.string(), sizeBytes: z.number() })) });
export type GarbageAnswer = z.output<typeof garbageAnswer>;

/** Prometheus's text format. */
export const METRICS_MEDIA_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Media types of the streams. */
export const LOG_MEDIA_TYPE = 'text/plain; charset=utf-8';
export const EVENTS_MEDIA_TYPE = 'application/x-ndjson';
