/** `docs/compatibility.md`, made from what the clients saw. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Coverage, Item, Service } from './coverage.ts';
import { DIFFERENCES, type Difference } from './differences.ts';
import { enumsOf, membersOf, type Direction, type Member } from './model.ts';
import { RECORDED_ERRORS } from './recorded-errors.ts';
import type { Observation } from './scenario-run.ts';

const FOLDER = join(import.meta.dirname, 'page');
const PAGE = join(import.meta.dirname, '../../docs/compatibility.md');

export interface PageSources {
  readonly services: readonly Service[];
  readonly coverage: Coverage;
  readonly observations: readonly Observation[];
}

/** The page as it is committed. */
export const committedPage = () => readFile(PAGE, 'utf8');
export const PAGE_PATH = PAGE;

/** The page as it should be. Its beginning and end are written by hand. */
export async function renderPage(sources: PageSources): Promise<string> {
  const { services, coverage } = sources;
  const notes = new Notes();
  const operations = services.flatMap((service) => service.operations.map((operation) => sectionOf(operation, { service, coverage, notes })));
  const generated = [
    '## Operations',
    table(['operation', '', 'today', 'differs from AWS'], services.flatMap((service) => service.operations.map((name) => operationRow(name, service, coverage)))),
    '## Members and errors',
    ...operations,
    '## Values of enums',
    table(['enum', 'yes', 'no, or differs'], services.flatMap((service) => enumRows(service, { coverage, notes }))),
    '## Recorded errors',
    'Type, status and text as AWS was recorded to give them; `<…>` differs from call to call.',
    table(['situation', 'status, type', 'text', ''], recordedRows(coverage)),
    '## Other services, in the same origin',
    table(['service', 'operations that the clients used'], otherServices(sources)),
    '## Notes',
    notes.text(),
  ];
  const [foreword, afterword] = await Promise.all(['foreword.md', 'afterword.md'].map((name) => readFile(join(FOLDER, name), 'utf8')));
  return `${[foreword!.trim(), ...generated, afterword!.trim()].join('\n\n')}\n`;
}

/** Reasons that stand for many things, numbered as they come up. */
class Notes {
  readonly #texts: string[] = [];

  /** Whether a reason is told once for all: where it is one of several operations, or of more than two things. */
  isShared({ of, because }: Difference): boolean {
    return of.startsWith('*') || DIFFERENCES.filter((other) => other.because === because).length > 2;
  }

  /** The link to a shared reason. */
  cite({ because }: Difference): string {
    if (!this.#texts.includes(because)) this.#texts.push(because);
    return `[note ${this.#texts.indexOf(because) + 1}](#notes)`;
  }

  text(): string {
    return this.#texts.map((text, at) => `${at + 1}. ${text}`).join('\n');
  }
}

interface Context {
  readonly coverage: Coverage;
  readonly notes: Notes;
}

function operationRow(name: string, { model }: Service, coverage: Coverage): string[] {
  const { method, requestUri } = model.operations[name]!.http;
  const { seen, difference } = coverage.item(name);
  return [name, `\`${method} ${requestUri}\``, seen === 'no' ? 'no' : 'yes', difference?.because ?? ''];
}

function sectionOf(name: string, { service, coverage, notes }: Context & { service: Service }): string {
  if (coverage.item(name).seen === 'no') return `### ${name}\n\nNot there. ${coverage.item(name).difference?.because ?? 'not explained'}`;
  const rows = (['input', 'output'] as const).map((direction) => memberRow(name, direction, { service, coverage, notes })).filter((row) => row !== undefined);
  const errors = service.model.operations[name]!.errors.map(({ shape }) => ({ name: shape, item: coverage.item(`${name}.errors.${shape}`) }));
  const seen = errors.filter(({ item }) => item.seen !== 'no').map((error) => `\`${error.name}\``);
  rows.push(['errors', seen.join(', '), reasons(errors.map(({ name: path, item }) => ({ path, item })), notes)]);
  return `### ${name}\n\n${table(['', 'yes', 'no, or differs'], rows)}`;
}

function memberRow(name: string, direction: Direction, { service, coverage, notes }: Context & { service: Service }): string[] | undefined {
  const members = membersOf(service.model, name, direction);
  if (members.length === 0) return undefined;
  const itemOf = ({ path }: Member) => coverage.item(`${name}.${direction}.${path}`);
  const shown = shownTree(members, itemOf);
  return [direction, shown, reasons(explained(members, itemOf), notes)];
}

/** `idlePolicy{maxIdleDurationSeconds, …}`: what was seen; explicit nulls are marked. */
function shownTree(members: readonly Member[], itemOf: (member: Member) => Item): string {
  const shown = members.flatMap((member): string[] => {
    const { seen } = itemOf(member);
    if (seen === 'no') return [];
    const parts = shownTree(member.parts, itemOf);
    const name = seen === 'null' ? `${member.name} (null)` : member.name;
    return [parts === '' ? name : `${name}{${parts}}`];
  });
  return shown.join(', ');
}

/** Members with a reason of their own; parts of one that share its reason go with it. */
function explained(members: readonly Member[], itemOf: (member: Member) => Item, above?: Item['difference']): { path: string; item: Item }[] {
  return members.flatMap((member) => {
    const item = itemOf(member);
    const own = item.difference !== undefined && item.difference !== above ? [{ path: member.path, item }] : [];
    return [...own, ...explained(member.parts, itemOf, item.difference)];
  });
}

/** Names that share a reason stand together. */
function reasons(items: readonly { path: string; item: Item }[], notes: Notes): string {
  const grouped = new Map<string, string[]>();
  for (const { path, item } of items) {
    if (item.difference === undefined) continue;
    const reason = notes.isShared(item.difference) ? notes.cite(item.difference) : item.difference.because;
    grouped.set(reason, [...(grouped.get(reason) ?? []), `\`${path}\``]);
  }
  return [...grouped].map(([reason, paths]) => `${paths.join(', ')}: ${reason}`).join('<br>');
}

function enumRows({ model, operations }: Service, { coverage, notes }: Context): string[][] {
  return [...enumsOf(model, operations)].map(([name, values]) => {
    const items = values.map((value) => ({ path: value, item: coverage.item(`enum.${name}.${value}`) }));
    return [name, items.filter(({ item }) => item.seen !== 'no').map(({ path }) => path).join(', '), reasons(items, notes)];
  });
}

function recordedRows(coverage: Coverage): string[][] {
  return Object.entries(RECORDED_ERRORS).map(([id, { situation, status, type, text }]) => {
    const { seen, difference } = coverage.item(`recorded.${id}`);
    const verdict = seen === 'no' ? 'no' : 'yes';
    return [situation, `${status} ${type}`, `\`${text}\``, difference === undefined ? verdict : `${verdict}: ${difference.because}`];
  });
}

function otherServices({ services, observations }: PageSources): string[][] {
  const known = new Set(services.flatMap(({ operations }) => operations));
  const used = new Map<string, Set<string>>();
  for (const { service, operation, output } of observations) {
    if (known.has(operation) || output === undefined) continue;
    used.set(service, (used.get(service) ?? new Set()).add(operation));
  }
  return [...used].map(([service, operations]) => [service, [...operations].toSorted().join(', ')]);
}

const cell = (text: string) => text.replaceAll('|', String.raw`\|`);
const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`.replaceAll('|  |', '| |');
const table = (head: readonly string[], rows: readonly (readonly string[])[]) => [row(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(row)].join('\n');
