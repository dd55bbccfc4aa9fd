/** Parameters of the query protocol as structures: `Tags.member.1.Key=a` is `{ tags: [{ key: 'a' }] }` (Smithy, "AWS query protocol"). */
import { unparseable } from '../contract/exceptions.ts';

/** Lists of inputs are short (50 tags); this bounds what a number in a name can ask for. */
const MAX_LIST_ITEMS = 1000;
const MAX_DEPTH = 8;

interface Structure {
  [name: string]: unknown;
}

/** @throws ApiError where two parameters contradict each other or a list has holes */
export function queryInput(parameters: Iterable<[string, string]>): Structure {
  const root = structure();
  for (const [name, value] of parameters) {
    const path = name.split('.').filter((part) => part !== 'member');
    if (path.length > MAX_DEPTH) throw unparseable();
    let at = root;
    for (const part of path.slice(0, -1)) at = child(at, memberName(part));
    const last = memberName(path.at(-1) ?? '');
    if (last in at) throw unparseable();
    at[last] = value;
  }
  return listed(root) as Structure;
}

/** Without a prototype: names come from the client. */
const structure = (): Structure => Object.create(null) as Structure;

/** AWS's texts show members with a small first letter. */
const memberName = (part: string) => part.slice(0, 1).toLowerCase() + part.slice(1);

function child(of: Structure, name: string): Structure {
  const found = of[name] ?? (of[name] = structure());
  if (typeof found !== 'object') throw unparseable();
  return found as Structure;
}

/** Structures whose names are numbers become lists: 1, 2, 3, …, in whichever order they came. */
function listed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  // JavaScript itself puts members whose names are numbers in order.
  const entries = Object.entries(value).map(([name, member]): [string, unknown] => [name, listed(member)]);
  const isList = entries.length > 0 && entries.every(([name]) => /^\d+$/.test(name));
  if (!isList) return Object.fromEntries(entries);
  if (entries.length > MAX_LIST_ITEMS || entries.some(([name], at) => name !== String(at + 1))) throw unparseable();
  return entries.map(([, member]) => member);
}
