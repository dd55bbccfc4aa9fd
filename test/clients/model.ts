/** AWS's own models of its services, as botocore brings them: operations, members, enums, errors. */
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { PYTHON } from './installed.ts';

const reference = z.object({ shape: z.string() });
const shapeSchema = z.object({
  type: z.string(),
  members: z.record(z.string(), reference).optional(),
  member: reference.optional(),
  enum: z.array(z.string()).optional(),
});
const modelSchema = z.object({
  operations: z.record(
    z.string(),
    z.object({
      http: z.object({ method: z.string(), requestUri: z.string() }),
      input: reference.optional(),
      output: reference.optional(),
      errors: z.array(reference).default([]),
    }),
  ),
  shapes: z.record(z.string(), shapeSchema),
});

export type Model = z.output<typeof modelSchema>;
export type Direction = 'input' | 'output';

/** The newest model of a service. */
export async function readModel(service: string): Promise<Model> {
  const data = join(PYTHON, '../../lib/python3*/site-packages/botocore/data', service, '*/service-2.json.gz');
  const files = (await Array.fromAsync(glob(data))).sort();
  return modelSchema.parse(JSON.parse(gunzipSync(await readFile(files.at(-1)!)).toString()));
}

/** A member with the members that it is made of; a list is what its entries are. */
export interface Member {
  readonly name: string;
  readonly path: string;
  readonly parts: readonly Member[];
}

/** The members of an operation's input or output. */
export function membersOf(model: Model, operation: string, direction: Direction): readonly Member[] {
  const shape = model.operations[operation]?.[direction]?.shape;
  return shape === undefined ? [] : partsOf(model, shape, '');
}

function partsOf(model: Model, name: string, path: string): readonly Member[] {
  const shape = model.shapes[name]!;
  if (shape.type === 'list') return partsOf(model, shape.member!.shape, path);
  if (shape.type !== 'structure') return [];
  return Object.entries(shape.members ?? {}).map(([member, { shape: inner }]) => {
    const at = path === '' ? member : `${path}.${member}`;
    return { name: member, path: at, parts: partsOf(model, inner, at) };
  });
}

/** What a value has: paths of members, those that are null apart, and values of enums as `Enum.VALUE`. */
export interface Seen {
  readonly members: ReadonlySet<string>;
  readonly nulls: ReadonlySet<string>;
  readonly values: ReadonlySet<string>;
}

/** Walks an operation's input or output as its model has it. */
export function seenIn(model: Model, { operation, direction, value }: { operation: string; direction: Direction; value: unknown }): Seen {
  const seen = { members: new Set<string>(), nulls: new Set<string>(), values: new Set<string>() };
  const walk = (name: string, path: string, part: unknown): void => {
    const shape = model.shapes[name]!;
    if (Array.isArray(part)) for (const entry of part) walk(shape.member!.shape, path, entry);
    else if (shape.type === 'structure') {
      for (const [member, { shape: inner }] of Object.entries(shape.members ?? {})) {
        const at = path === '' ? member : `${path}.${member}`;
        const found: unknown = Reflect.get(part as object, member);
        if (found === undefined) continue;
        if (found === null) seen.nulls.add(at);
        else {
          seen.members.add(at);
          walk(inner, at, found);
        }
      }
    } else if (shape.enum !== undefined) seen.values.add(`${name}.${String(part)}`);
  };
  const root = model.operations[operation]?.[direction]?.shape;
  if (root !== undefined) walk(root, '', value);
  return seen;
}

/** Enums that these operations use, with their values. */
export function enumsOf(model: Model, operations: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const reached = new Set<string>();
  const reach = (name: string): void => {
    if (reached.has(name)) return;
    reached.add(name);
    const { members = {}, member } = model.shapes[name]!;
    for (const { shape } of [...Object.values(members), ...(member === undefined ? [] : [member])]) reach(shape);
  };
  for (const operation of operations) {
    const { input, output } = model.operations[operation]!;
    for (const part of [input, output]) if (part !== undefined) reach(part.shape);
  }
  return new Map([...reached].toSorted().flatMap((name) => (model.shapes[name]!.enum === undefined ? [] : [[name, model.shapes[name]!.enum] as const])));
}
