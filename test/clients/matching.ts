/** The little language of the scenario: `${name}` in what is sent and expected, and patterns for what comes back. */
import type { Json, JsonObject } from './client.ts';

/** What was saved so far, by name. */
export type Variables = Map<string, Json>;

/**
 * A value with its variables filled in; a string that is one variable becomes what that is.
 * @throws Error where a variable was never saved
 */
export function filled(value: Json, variables: Variables): Json {
  if (typeof value === 'string') {
    const whole = /^\$\{(\w+)\}$/.exec(value)?.[1];
    if (whole !== undefined) return variableOf(whole, variables);
    return value.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => variableOf(name, variables) as string);
  }
  if (Array.isArray(value)) return value.map((entry: Json) => filled(entry, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, filled(member, variables)]));
}

function variableOf(name: string, variables: Variables): Json {
  const value = variables.get(name);
  if (value === undefined) throw new Error(`nothing was saved as ${name}`);
  return value;
}

/** What a path such as `items.0.buildId` leads to. */
export function valueAt(root: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined), root);
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Clients show times as seconds or in ISO 8601. */
const msOf = (value: unknown) => (typeof value === 'number' ? value * 1000 : typeof value === 'string' ? Date.parse(value) : Number.NaN);
const DAY_MS = 24 * 3_600_000;

const KINDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  /** Within a day of now. */
  timestamp: (value) => Math.abs(msOf(value) - Date.now()) < DAY_MS,
  /** Of this century. */
  time: (value) => msOf(value) > Date.UTC(2000) && msOf(value) < Date.now() + DAY_MS,
  string: (value) => typeof value === 'string' && value !== '',
  number: (value) => typeof value === 'number',
  size: (value) => typeof value === 'number' && value > 0,
};

/** `{"$is": …}` and its like: what a value must be, instead of the value. */
const MATCHERS: Readonly<Record<string, (argument: Json, value: unknown, path: string) => string | undefined>> = {
  /** One of {@link KINDS}. */
  $is: (kind, value, path) => (KINDS[kind as string]!(value) ? undefined : `${path} is no ${kind as string}: ${shown(value)}`),
  /** A text that this regular expression matches. */
  $matches: (source, value, path) =>
    typeof value === 'string' && new RegExp(source as string, 's').test(value) ? undefined : `${path} does not match ${source as string}: ${shown(value)}`,
  /** Not there, or null. */
  $absent: (_, value, path) => (value === undefined || value === null ? undefined : `${path} should not be there: ${shown(value)}`),
  /** A list with such an entry. */
  $has: (pattern, value, path) =>
    Array.isArray(value) && value.some((entry) => mismatch(pattern, entry) === undefined) ? undefined : `${path} has no ${shown(pattern)}: ${shown(value)}`,
  /** A list without such an entry. */
  $lacks: (pattern, value, path) =>
    Array.isArray(value) && !value.some((entry) => mismatch(pattern, entry) === undefined) ? undefined : `${path} has ${shown(pattern)}: ${shown(value)}`,
  /** A list of such entries, at least one. */
  $each: (pattern, value, path) =>
    Array.isArray(value) && value.length > 0 && value.every((entry) => mismatch(pattern, entry) === undefined) ? undefined : `${path} is not all ${shown(pattern)}: ${shown(value)}`,
  $size: (size, value, path) => (Array.isArray(value) && value.length === size ? undefined : `${path} has not ${shown(size)} entries: ${shown(value)}`),
  $in: (values, value, path) => ((values as readonly Json[]).includes(value as Json) ? undefined : `${path} is none of ${shown(values)}: ${shown(value)}`),
};

const shown = (value: unknown) => (JSON.stringify(value) ?? 'undefined').slice(0, 600);

/**
 * Compares a value with a pattern: objects may have members beyond the pattern's, lists have exactly its entries.
 * @returns what is wrong, or undefined
 */
export function mismatch(pattern: Json, value: unknown, path = 'the answer'): string | undefined {
  if (Array.isArray(pattern)) {
    if (!Array.isArray(value) || value.length !== pattern.length) return `${path} should be ${shown(pattern)}: ${shown(value)}`;
    return firstOf(pattern.map((entry: Json, at) => () => mismatch(entry, value[at], `${path}.${at}`)));
  }
  if (!isObject(pattern)) return pattern === value ? undefined : `${path} should be ${shown(pattern)}: ${shown(value)}`;
  const matchers = Object.entries(pattern as JsonObject).filter(([name]) => name.startsWith('$'));
  if (matchers.length > 0) return firstOf(matchers.map(([name, argument]) => () => MATCHERS[name]!(argument, value, path)));
  if (!isObject(value)) return `${path} should be ${shown(pattern)}: ${shown(value)}`;
  return firstOf(Object.entries(pattern as JsonObject).map(([name, member]) => () => mismatch(member, Reflect.get(value, name), `${path}.${name}`)));
}

function firstOf(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const found = check();
    if (found !== undefined) return found;
  }
  return undefined;
}
