/** What of AWS's models the clients saw, what is explained, and what is neither. */
import type { Difference } from './differences.ts';
import { enumsOf, membersOf, seenIn, type Direction, type Member, type Model } from './model.ts';
import type { Observation } from './scenario-run.ts';

/** One line of the page: an operation, a member, an error, a value. `null` is a member that AWS, too, sends as an explicit null. */
export interface Item {
  /** `RunMicrovm.input.idlePolicy`, `RunMicrovm.errors.ConflictException`, `enum.MicrovmState.RUNNING`, `recorded.memory quota`, `RunMicrovm`. */
  readonly key: string;
  readonly seen: 'yes' | 'null' | 'no';
  readonly difference: Difference | undefined;
}

export interface Coverage {
  readonly item: (key: string) => Item;
  /** What was not seen and is not explained, and explanations of what is not there or was seen after all. */
  readonly unexplained: readonly string[];
}

export interface Service {
  readonly model: Model;
  /** Those of its operations that belong to MicroVMs. */
  readonly operations: readonly string[];
}

/** What is held against what. */
export interface Sources {
  readonly services: readonly Service[];
  /** Names of the recorded errors. */
  readonly recordedErrors: readonly string[];
  readonly differences: readonly Difference[];
  readonly observations: readonly Observation[];
}

/** Holds what was observed against the models. */
export function coverageOf({ services, recordedErrors, differences, observations }: Sources): Coverage {
  const seen = seenKeys(services, observations);
  const keys = services.flatMap((service) => keysOf(service)).concat(recordedErrors.map((id) => `recorded.${id}`));
  const items = new Map(keys.map((key) => [key, { key, seen: seen.get(key) ?? 'no', difference: differenceOf(key, differences) } satisfies Item]));
  return {
    item: (key) => items.get(key) ?? { key, seen: 'no', difference: undefined },
    unexplained: [
      ...[...items.values()].filter(({ key }) => !isPartOfMissing(key, items)).flatMap(complaintAbout),
      ...differences.filter(({ of }) => !keys.some((key) => covers(of, key))).map(({ of }) => `${of}: explained, but not in the model`),
    ],
  };
}

/** An operation that is not there has no members and errors to explain. */
function isPartOfMissing(key: string, items: ReadonlyMap<string, Item>): boolean {
  const operation = key.split('.', 1)[0]!;
  return operation !== key && items.get(operation)?.seen === 'no';
}

/** A difference says how it stands to what is seen; where it says wrong, the page would. */
function complaintAbout({ key, seen, difference }: Item): string[] {
  if (difference === undefined) return seen === 'no' ? [`${key}: not seen, and not explained`] : [];
  if (difference.seen === 'yes' && seen === 'no') return [`${key}: not seen, though explained as seen`];
  if (difference.seen === 'no' && seen !== 'no') return [`${key}: seen, though explained as not`];
  return [];
}

/** Which of several applies: the one that names the most. */
const differenceOf = (key: string, differences: readonly Difference[]) =>
  differences.filter(({ of }) => covers(of, key)).toSorted((a, b) => b.of.replaceAll('*', '').length - a.of.replaceAll('*', '').length)[0];

function covers(of: string, key: string): boolean {
  const whole = of.startsWith('*') ? key.replace(/^[^.]*/, '*') : key;
  if (of.endsWith('.*')) return whole.startsWith(of.slice(0, -1));
  return whole === of || (/\.(input|output)\./.test(of) && whole.startsWith(`${of}.`));
}

const pathsOf = (members: readonly Member[]): string[] => members.flatMap(({ path, parts }) => [path, ...pathsOf(parts)]);

function keysOf({ model, operations }: Service): string[] {
  const ofOperations = operations.flatMap((operation) => [
    operation,
    ...(['input', 'output'] as const).flatMap((direction) => pathsOf(membersOf(model, operation, direction)).map((path) => `${operation}.${direction}.${path}`)),
    ...model.operations[operation]!.errors.map(({ shape }) => `${operation}.errors.${shape}`),
  ]);
  const ofEnums = [...enumsOf(model, operations)].flatMap(([name, values]) => values.map((value) => `enum.${name}.${value}`));
  return [...ofOperations, ...ofEnums];
}

function seenKeys(services: readonly Service[], observations: readonly Observation[]): ReadonlyMap<string, Item['seen']> {
  const seen = new Map<string, Item['seen']>();
  for (const { operation, input, output, error, recorded } of observations) {
    const service = services.find(({ operations }) => operations.includes(operation));
    if (service === undefined) continue;
    if (error !== undefined) seen.set(`${operation}.errors.${error.type}`, 'yes');
    if (recorded !== undefined) seen.set(`recorded.${recorded}`, 'yes');
    // What was sent with a call that was refused may be what it was refused for.
    if (output === undefined) continue;
    seen.set(operation, 'yes');
    for (const [direction, value] of [['input', input], ['output', output]] as const) mark(seen, service.model, { operation, direction, value });
  }
  return seen;
}

function mark(seen: Map<string, Item['seen']>, model: Model, call: { operation: string; direction: Direction; value: unknown }): void {
  const { members, nulls, values } = seenIn(model, call);
  const prefix = `${call.operation}.${call.direction}`;
  for (const path of members) seen.set(`${prefix}.${path}`, 'yes');
  for (const path of nulls) if (!seen.has(`${prefix}.${path}`)) seen.set(`${prefix}.${path}`, 'null');
  for (const value of values) seen.set(`enum.${value}`, 'yes');
}
