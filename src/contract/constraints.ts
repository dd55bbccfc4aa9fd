/**
 * How inputs are described (zod) and how AWS words what is wrong with them: contract reference, section 1.6. The texts
 * live here only. Two layers, as on AWS: a member of the wrong JSON type is a SerializationException; what violates the
 * model's constraints is a ValidationException that lists every violation at once.
 */
import { z } from 'zod';
import { ApiError } from './exceptions.ts';

/** A string that must match the model's pattern as a whole. The pattern is shown as the model writes it. */
export const patterned = (source: string) => z.string().regex(new RegExp(`^(?:${source})$`, 'u'), { error: source });

/** A string within lengths (in characters). */
export const text = (min: number, max: number) => z.string().min(min).max(max);

/** A member that may be absent or null; inside, it is `undefined` then. */
export const optional = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? undefined);

/** A member that may be absent or null; inside, it is `null` then. */
export const nullable = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? null);

/** An integer in the query, where everything is text. */
export const queryInteger = (min: number, max: number) =>
  z.preprocess((value) => (typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value), z.int().min(min).max(max));

/** Of lists and maps for which the model sets no limit: far above what the services take, and bounds what is checked for one request. */
const MAX_ENTRIES = 1000;

/** A list whose length is checked first: one that is too long is no reason to look at what is in it. */
export const boundedList = <E extends z.ZodType>(entry: E, { min = 0, max = MAX_ENTRIES }: { readonly min?: number; readonly max?: number } = {}) =>
  z.array(z.unknown()).min(min).max(max).pipe(z.array(entry));

/** A map, likewise. */
export const boundedMap = <K extends z.ZodString, V extends z.ZodString>(key: K, value: V, maxEntries = MAX_ENTRIES) =>
  z
    .record(z.string(), z.unknown())
    .superRefine((map, context) => {
      if (Object.keys(map).length <= maxEntries) return;
      context.addIssue({ code: 'custom', message: `have length less than or equal to ${maxEntries}` });
    })
    .pipe(z.record(key, value));

/** A structure of which exactly one member is given (a Smithy union). Any other number is a SerializationException. */
export const exactlyOneOf = <S extends Readonly<Record<string, z.ZodType>>>(members: S) =>
  z.object(members).superRefine((value, context) => {
    const given = Object.values(value).filter((member) => member !== undefined && member !== null).length;
    if (given === 1) return;
    const names = Object.keys(members).join(', ');
    context.addIssue({ code: 'custom', message: `Exactly one member of the union must be given: ${names}`, params: SERIALIZATION });
  });

/** A member that the model calls optional and the service asks for all the same, in prose (section 1.12). */
export const requiredField = <S extends z.ZodType>(name: string, schema: S) =>
  schema.nullish().transform((value, context): z.output<S> => {
    if (value !== undefined && value !== null) return value;
    context.addIssue({ code: 'custom', message: `${name} is a required field`, params: PROSE });
    return z.NEVER;
  });

/** The structure without members that a union names (`allPorts`, `disabled`). Section 1.3: anything in it is `Expected null`. */
export const unit = z.unknown().optional().superRefine((value, context) => {
  if (value === undefined || value === null) return;
  const empty = typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0;
  if (!empty) context.addIssue({ code: 'custom', message: 'Expected null', params: SERIALIZATION });
});

/** How many violations are told, and how much of a value is shown: no request makes an answer much longer than itself. */
const MAX_TOLD = 100;
const MAX_SHOWN_CHARS = 4096;

/** Marks an issue of the first layer. */
const SERIALIZATION = { serialization: true } as const;
/** Marks an issue that is told alone and in its own words, once the constraints hold. */
const PROSE = { prose: true } as const;

type Issue = z.core.$ZodIssue;
type Path = Issue['path'];

/**
 * Parses an operation's input: labels, query and body in one object.
 * @param sensitive top-level members whose values are never shown (sensitive shapes of the model)
 * @throws ApiError SerializationException, ValidationException or InvalidParameterValueException in AWS's words
 */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown, sensitive: ReadonlySet<string> = new Set()): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const { issues } = result.error;
  for (const issue of issues) {
    const refusal = serializationRefusal(issue, valueAt(input, issue.path));
    if (refusal !== undefined) throw new ApiError('SerializationException', refusal);
  }
  const [prose] = issues.filter(isProse);
  const constraints = issues.filter((issue) => !isProse(issue));
  if (constraints.length === 0 && prose !== undefined) throw new ApiError('InvalidParameterValueException', prose.message);
  const violations = describeViolations(constraints, input, sensitive);
  const noun = violations.length === 1 ? 'error' : 'errors';
  const told = violations.slice(0, MAX_TOLD).join('; ');
  throw new ApiError('ValidationException', `${violations.length} validation ${noun} detected: ${told}`);
}

const isProse = (issue: Issue) => issue.code === 'custom' && issue.params?.['prose'] === true;

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

const absent = (value: unknown) => value === undefined || value === null;

const TOKEN_NAMES: Readonly<Record<string, string>> = { string: 'STRING_VALUE', number: 'NUMBER_VALUE', boolean: 'BOOLEAN_VALUE' };
const TARGET_NAMES: Readonly<Record<string, string>> = { string: 'a String', number: 'an Integer', int: 'an Integer', boolean: 'a Boolean' };

/** The text where an issue is one of JSON types; undefined where it is one of constraints. */
function serializationRefusal(issue: Issue, value: unknown): string | undefined {
  if (issue.code === 'custom') return issue.params?.['serialization'] === true ? issue.message : undefined;
  const typed = issue.code === 'invalid_type' || (issue.code === 'invalid_value' && typeof value !== 'string');
  if (!typed || absent(value)) return undefined;
  if (Array.isArray(value)) return 'Start of list found where not expected';
  const token = TOKEN_NAMES[typeof value];
  if (token === undefined) return 'Start of structure or map found where not expected.';
  const target = issue.code === 'invalid_type' ? TARGET_NAMES[issue.expected] : 'a String';
  return target === undefined ? 'Unexpected field type' : `${token} can not be converted to ${target}`;
}

/** What the member must do, after `Member must `. */
function constraintOf(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return 'not be null';
    case 'too_big':
      return `have ${measure(issue.origin)} less than or equal to ${issue.maximum}`;
    case 'too_small':
      return `have ${measure(issue.origin)} greater than or equal to ${issue.minimum}`;
    case 'invalid_format':
      return `satisfy regular expression pattern: ${issue.message}`;
    case 'invalid_value':
      return absent(value) ? 'not be null' : `satisfy enum value set: [${issue.values.join(', ')}]`;
    case 'invalid_key':
      return issue.issues.map((inner) => constraintOf(inner, value)).join(', Member must ');
    case 'custom':
      return issue.message;
    case 'invalid_union':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'unrecognized_keys':
      return 'be valid';
  }
  issue satisfies never;
  return 'be valid';
}

const measure = (origin: string) => (origin === 'number' || origin === 'int' || origin === 'bigint' ? 'value' : 'length');

/** A violation belongs to the list or map where its path ends in one of its entries; AWS then shows the whole of it, once. */
function describeViolations(issues: readonly Issue[], input: unknown, sensitive: ReadonlySet<string>): string[] {
  const failed = (path: Path) =>
    `${shownValue(valueAt(input, path), wirePath(path), sensitive.has(String(path[0])))} failed to satisfy constraint:`;
  const plain: string[] = [];
  const grouped = new Map<string, { container: Path; entries: Set<string>; keys: Set<string> }>();
  for (const issue of issues) {
    const constraint = `Member must ${constraintOf(issue, valueAt(input, issue.path))}`;
    if (issue.code !== 'invalid_key' && !isEntry(input, issue.path)) {
      plain.push(`${failed(issue.path)} ${constraint}`);
      continue;
    }
    const container = issue.path.slice(0, -1);
    const name = wirePath(container);
    const group = grouped.get(name) ?? { container, entries: new Set<string>(), keys: new Set<string>() };
    grouped.set(name, group);
    (issue.code === 'invalid_key' ? group.keys : group.entries).add(constraint);
  }
  for (const { container, entries, keys } of grouped.values()) {
    const value = failed(container);
    if (keys.size > 0) plain.push(`${value} Map keys must satisfy constraint: [${[...keys].join(', ')}]`);
    if (entries.size > 0) plain.push(`${value} Member must satisfy constraint: [${[...entries].join(', ')}]`);
  }
  return plain;
}

/** The top-level members that are maps; every other object is a structure. */
const MAPS: ReadonlySet<string> = new Set(['environmentVariables', 'tags', 'Tags']);

function isEntry(input: unknown, path: Path): boolean {
  if (path.length === 0) return false;
  if (path.length === 2 && MAPS.has(String(path[0]))) return true;
  return typeof path.at(-1) === 'number' && typeof valueAt(input, path) !== 'object';
}

/** `hooks.microvmHooks.runTimeoutInSeconds`, `allowedPorts.1.member.port`; AWS's texts are in camelCase for members in PascalCase too. */
const wirePath = (path: Path) => path.map((key) => (typeof key === 'number' ? `${key + 1}.member` : lowerFirst(String(key)))).join('.');

const lowerFirst = (name: string) => `${name.charAt(0).toLowerCase()}${name.slice(1)}`;

function shownValue(value: unknown, path: string, secret: boolean): string {
  if (secret && !absent(value)) return `Value at '${path}'`;
  if (absent(value)) return `Value null at '${path}'`;
  const shown = plainText(value);
  return `Value '${shown.length > MAX_SHOWN_CHARS ? `${shown.slice(0, MAX_SHOWN_CHARS)}…` : shown}' at '${path}'`;
}

function plainText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((entry) => typeof entry !== 'object')) return `[${value.join(', ')}]`;
  if (typeof value === 'object' && value !== null && Object.values(value).every((entry) => typeof entry !== 'object')) {
    return `{${Object.entries(value).map(([key, entry]) => `${key}=${String(entry)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}
