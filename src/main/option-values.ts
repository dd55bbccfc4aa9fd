/** How the value of an option is written: as text on the command line and in the environment, as TOML in the file. */
import { isIP } from 'node:net';
import { isAbsolute, resolve } from 'node:path';
import { z } from 'zod';

/** An address to listen on; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** In TOML: a string, a string that is an absolute path, a whole number, a boolean, an array of strings, a table. */
export type Shape = 'text' | 'path' | 'count' | 'switch' | 'list' | 'map';

const ON = ['1', 'true', 'yes'];
const OFF = ['0', 'false', 'no', ''];

/** Words of the command line (or the one of the environment) → the value as the file would say it. */
export const FROM_WORDS: { readonly [S in Shape]: (words: readonly string[]) => unknown } = {
  text: (words) => words.at(-1),
  // A relative one starts where the command was given; in a file it would mean another place each time.
  path: (words) => (words.at(-1) === '' ? '' : resolve(words.at(-1)!)),
  count: (words) => (/^\d+$/.test(words.at(-1) ?? '') ? Number(words.at(-1)) : words.at(-1)),
  switch: (words) => (ON.includes(words.at(-1)!) ? true : OFF.includes(words.at(-1)!) ? false : words.at(-1)),
  list: (words) => words.flatMap((word) => word.split(',')),
  map: (words) => {
    const entries = words.flatMap((word) => word.split(',')).filter((entry) => entry !== '');
    // One without `=` becomes a value that no schema takes.
    return Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s)).map(([name = '', value]) => [name, value ?? null]));
  },
};

const MAX_PORT = 65_535;

export const address = z.string().transform((text, context): ListenAddress => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match !== null && port <= MAX_PORT) return { host: match[1] ?? match[2]!, port };
  context.addIssue({ code: 'custom', message: `must be HOST:PORT (an IPv6 address in brackets), not ${text}` });
  return z.NEVER;
});

export const hostName = z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/, { error: 'must be a host name' });

/** An IPv4 or IPv6 network in CIDR notation, with its length of prefix. */
export const network = z.string().refine(
  (text) => {
    const [base = '', prefix = '', ...rest] = text.split('/');
    const bits = { 0: -1, 4: 32, 6: 128 }[isIP(base)] ?? -1;
    return rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits;
  },
  { error: ({ input }) => `must be a network such as 10.1.0.0/16, not ${String(input)}` },
);

// Nothing can be kept there, and Node's mkdir does not come back from an attempt.
const KERNEL_FOLDERS = /^\/(proc|sys)(\/|$)/;

export const path = z
  .string()
  .refine((text) => isAbsolute(text), { error: 'must be an absolute path' })
  .transform((text) => resolve(text))
  .refine((text) => !KERNEL_FOLDERS.test(text), { error: ({ input }) => `${String(input)} is no place for files` });

const PAIR = { error: 'must be NAME=VALUE' };
export const pairs = z.record(z.string().min(1, PAIR), z.string(PAIR));

/** A whole number from 1 up, in TOML or as text. */
export const count = z
  .union([z.number(), z.string().regex(/^\d+$/).transform(Number)], { error: 'must be a whole number from 1 up' })
  .pipe(z.int({ error: 'must be a whole number from 1 up' }).min(1, { error: 'must be a whole number from 1 up' }));

/** One that is not above `max`. */
export const countUpTo = (max: number) => count.refine((number) => number <= max, { error: `must be a whole number from 1 to ${max}` });

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'must be a string',
  number: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be a list of strings',
  record: 'must be a table',
};

/** What is wrong, in a few words; the entry of a table that it is about stands first. */
export function wordIssue(issue: z.core.$ZodIssue): string {
  const entry = issue.path.filter((step) => typeof step === 'string').join('.');
  return entry === '' ? wordKind(issue) : `${entry} ${wordKind(issue)}`;
}

function wordKind(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return wordKind(issue.issues[0]!);
  if (issue.code === 'unrecognized_keys') return `unknown name ${issue.keys.join(', ')}`;
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.join(', ')}`;
  // Where the schema has words of its own, they are in the message.
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid input')) return TYPE_WORDS[issue.expected] ?? issue.message;
  return issue.message;
}
