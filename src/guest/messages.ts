/** The JSON messages of the agent protocol, as the agent sends them: hostile until parsed. */
import { z } from 'zod';
import { brokenRule } from './frame.ts';

const text = z.string().max(4096);
const nanoseconds = z.string().regex(/^\d{1,20}$/);

const application = z.object({
  state: z.enum(['none', 'running', 'frozen', 'exited']),
  pid: z.number().int().nullish(),
  exitCode: z.number().int().nullish(),
  signal: z.number().int().nullish(),
});
/** What the agent says of the application. */
export type ApplicationStatus = z.infer<typeof application>;

export const welcomeSchema = z.object({
  protocol: z.number().int(),
  nonce: text,
  agent: text,
  realtimeNs: nanoseconds,
  bootId: text,
  application,
  warnings: z.array(text).max(64),
});
export type Welcome = z.infer<typeof welcomeSchema>;

export const problemSchema = z.object({ code: text, message: text });

export const resultSchema = z.union([z.object({ ok: z.unknown() }), z.object({ error: problemSchema })]);

export const eventSchema = z.object({ event: z.literal('exit'), exitCode: z.number().int(), signal: z.number().int().nullish() });

const nothing = z.object({});
const port = z.number().int().min(1).max(65_535);

/** What each call answers. */
export const CALL_RESULTS = {
  start: z.object({ pid: z.number().int() }),
  listening: z.object({ ports: z.array(port).max(65_535) }),
  awaitListening: z.object({ port: port.nullable() }),
  freeze: nothing,
  thaw: nothing,
  quiesce: z.object({ trimmedBytes: z.number() }),
  clock: z.object({ realtimeNs: nanoseconds }),
  status: z.object({ application, memTotalKib: z.number(), memAvailableKib: z.number(), bootId: text }),
} as const;
export type CallName = keyof typeof CALL_RESULTS;
export type CallResult<C extends CallName> = z.infer<(typeof CALL_RESULTS)[C]>;

/** What each call takes. */
export interface CallArguments {
  readonly start: {
    readonly argv: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly cwd: string;
    readonly user: string;
    readonly hostname: string;
    readonly capabilities: 'default' | 'all';
  };
  readonly listening: Record<string, never>;
  readonly awaitListening: { readonly ports: readonly number[]; readonly timeoutMs: number };
  readonly freeze: Record<string, never>;
  readonly thaw: Record<string, never>;
  readonly quiesce: Record<string, never>;
  readonly clock: { readonly realtimeNs: string };
  readonly status: Record<string, never>;
}

/** @throws LullError internal where the payload is not that message */
export function parseMessage<T>(name: string, schema: z.ZodType<T>, payload: Buffer): T {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString());
  } catch {
    throw brokenRule(`${name} is not JSON`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw brokenRule(`${name}: ${parsed.error.issues[0]?.message ?? 'wrong shape'}`);
  return parsed.data;
}
