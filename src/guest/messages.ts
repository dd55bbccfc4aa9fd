import { z } from 'zod';

/** The longest text that is taken from a guest where nothing else limits it. */
const TEXT_LIMIT = 1024;
/** Texts of a guest end up in logs and on terminals: one line, no control characters. */
const text = z
  .string()
  .max(TEXT_LIMIT)
  .transform((value) => value.replaceAll(/[\u0000-\u001f\u007f-\u009f]/gu, ' '));
const realtimeNs = z
  .string()
  .regex(/^\d{1,19}$/u)
  .transform(BigInt);
const count = z.int().min(0);
const port = z.int().min(1).max(65_535);

export const failureSchema = z.object({ code: text.default('EIO'), message: text.default('') });
export type Failure = z.infer<typeof failureSchema>;

export const applicationSchema = z.object({
  state: z.enum(['none', 'running', 'frozen', 'exited']),
  pid: z.int().min(1).nullable(),
  exitCode: z.int().min(0).max(255).nullable(),
  signal: z.int().min(1).max(64).nullable(),
});
/** What the agent tells of the application. */
export type ApplicationStatus = z.infer<typeof applicationSchema>;

export const welcomeSchema = z.object({
  /** The version that is spoken from here on. */
  protocol: z.int().min(1),
  /** Those that the agent speaks; earlier agents do not tell. */
  protocols: z.object({ min: z.int().min(1), max: z.int().min(1) }).optional(),
  nonce: z.string(),
  agent: text,
  realtimeNs,
  bootId: text,
  application: applicationSchema,
  /** What earlier agents of the same version of the protocol could not do. */
  features: z.array(text).max(64).default([]),
  warnings: z.array(text).max(64),
});
export type Welcome = z.infer<typeof welcomeSchema>;

export const faultSchema = failureSchema.extend({ nonce: z.string().max(64).optional() });

export const eventSchema = z.discriminatedUnion('event', [
  z.object({ event: z.literal('exit'), exitCode: z.int().min(0).max(255), signal: z.int().min(1).max(64).nullable() }),
]);
/** What the agent tells unasked. */
export type AgentEvent = z.infer<typeof eventSchema>;

/** What the host wants a stream to: 127.0.0.1:`port` in the guest, or a shell beside the application. */
export type StreamTarget = { readonly to: 'tcp'; readonly port: number } | { readonly to: 'shell' };

/** What the agent wants a stream to: a service's name. */
export const openSchema = z.object({ to: z.string().max(TEXT_LIMIT) });

/** How the application is to be started: the OCI image's configuration, resolved as far as the host can. */
export interface StartArguments {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** OCI `User`: name or uid, optionally `:group`; empty is root. */
  readonly user?: string;
  readonly hostname?: string;
  /** `all` for `additionalOsCapabilities: ["ALL"]`. */
  readonly capabilities?: 'default' | 'all';
}

/** Arguments of each operation. */
export interface CallArguments {
  readonly start: StartArguments;
  readonly listening: Readonly<Record<string, never>>;
  /** `ports` empty: any. */
  readonly awaitListening: { readonly ports: readonly number[]; readonly timeoutMs: number };
  /** The size of a shell's terminal. */
  readonly resize: { readonly stream: number; readonly cols: number; readonly rows: number };
  readonly freeze: Readonly<Record<string, never>>;
  readonly thaw: Readonly<Record<string, never>>;
  readonly quiesce: { readonly trim?: boolean };
  readonly clock: { readonly realtimeNs: string };
  readonly status: Readonly<Record<string, never>>;
}

/** What each operation answers. */
export const RESULT_SCHEMAS = {
  start: z.object({ pid: z.int().min(1) }),
  listening: z.object({ ports: z.array(port).max(65_535) }),
  awaitListening: z.object({ port: port.nullable() }),
  resize: z.object({}),
  freeze: z.object({}),
  thaw: z.object({}),
  quiesce: z.object({ trimmedBytes: count }),
  clock: z.object({ realtimeNs }),
  status: z.object({ application: applicationSchema, memTotalKib: count, memAvailableKib: count, bootId: text, vmcoreinfo: text.default('') }),
} as const satisfies Record<keyof CallArguments, z.ZodType>;

/** RESULT: one of the two. */
export const resultSchema = z.union([
  z.object({ ok: z.record(z.string(), z.unknown()), error: z.undefined().optional() }),
  z.object({ error: failureSchema, ok: z.undefined().optional() }),
]);

export type CallName = keyof CallArguments;
export type CallResult<O extends CallName> = z.infer<(typeof RESULT_SCHEMAS)[O]>;

/** Parses JSON that a guest sent. @returns undefined where it is none or not of that shape */
export function parseMessage<T>(schema: z.ZodType<T>, bytes: Buffer): T | undefined {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(json);
  return parsed.success ? parsed.data : undefined;
}
