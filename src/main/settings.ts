/** Where each option's value comes from: command line, then environment, then configuration file, then default. Tables are put together from all of them, entry by entry. */
import { resolve } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { NO_FILE, readConfigFile, type FileValue, type FileValues } from './config-file.ts';
import { defaultConfigFile } from './default-folders.ts';
import { FROM_WORDS, wordIssue } from './option-values.ts';
import { defaultOf, OPTION_ROWS, type OptionName, type OptionRow, type OptionValue, type Surroundings } from './option-table.ts';

/** As the command line gives them. */
export type OptionValues = { readonly [N in OptionName | 'config']?: string | boolean | readonly string[] | undefined };

/** One option: its value, how the file would say it, and who said it. */
export interface Setting<V = unknown> {
  readonly value: V;
  readonly raw: unknown;
  /** `--flag`, `LULL_X`, `FILE:LINE` or {@link DEFAULT}; of a table, the foremost that says anything of it. */
  readonly source: string;
  /** The source with the option's name, to stand before what is wrong with it. */
  readonly label: string;
  /** Of a table: who said each entry. Empty for all others. */
  readonly entrySources: ReadonlyMap<string, string>;
}

/** Every option. */
export type Settings = { readonly [N in OptionName]: Setting<OptionValue<N>> };

/** The source of what nobody said. */
export const DEFAULT = 'default';

/** The option that names the configuration file: the one that cannot stand in it. */
export const CONFIG_OPTION = {
  flag: '--config <file>',
  env: 'LULL_CONFIG',
  description: `configuration file (TOML), or ${NO_FILE}`,
  shownDefault: '/etc/lull/lull.toml as root, else ~/.config/lull/lull.toml',
} as const;

/**
 * Puts the sources together.
 * @throws LullError validation: one line that names the option as its source writes it
 */
export function gatherSettings(values: OptionValues, surroundings: Surroundings): Settings {
  const fromFile = fileValues(values, surroundings);
  const settings = OPTION_ROWS.map(([name, row]) => [name, settingOf(row, said(name, row, { values, surroundings, fromFile }))]);
  return Object.fromEntries(settings) as Settings;
}

/** One option alone, for commands that need no other: what is wrong with the rest is not their business. */
export function gatherSetting<N extends OptionName>(name: N, surroundings: Surroundings): Setting<OptionValue<N>> {
  const row = OPTION_ROWS.find(([candidate]) => candidate === name)![1];
  const isDecided = row.shape !== 'map' && surroundings.env[row.env];
  const fromFile: FileValues = isDecided ? new Map() : fileValues({}, surroundings);
  return settingOf(row, said(name, row, { values: {}, surroundings, fromFile })) as Setting<OptionValue<N>>;
}

function fileValues(values: OptionValues, { env, uid }: Surroundings): FileValues {
  // An empty variable is as good as none.
  const named = typeof values.config === 'string' ? values.config : env[CONFIG_OPTION.env] || undefined;
  if (named === NO_FILE) return new Map();
  if (named === undefined) return readConfigFile(defaultConfigFile(env, uid), { isOptional: true, uid });
  return readConfigFile(resolve(named), { isOptional: false, uid });
}

interface Sources {
  readonly values: OptionValues;
  readonly surroundings: Surroundings;
  readonly fromFile: FileValues;
}

interface Said extends FileValue {
  /** Before what is wrong with it. */
  readonly label: string;
}

/** All that is said of an option, the foremost first; the default is the last. */
function said(name: OptionName, row: OptionRow, { values, surroundings, fromFile }: Sources): readonly Said[] {
  const plain = (raw: unknown, source: string): Said => ({ raw, source, sourceOf: () => source, label: source });
  const fromWords = (words: readonly string[], source: string): Said => plain(FROM_WORDS[row.shape](words), source);
  const sayings: Said[] = [];
  const onCommandLine = values[name];
  if (onCommandLine !== undefined) {
    sayings.push(fromWords(typeof onCommandLine === 'object' ? onCommandLine : [String(onCommandLine)], row.flag.split(' ')[0]!));
  }
  const variable = surroundings.env[row.env];
  if (variable !== undefined && variable !== '') sayings.push(fromWords([variable], row.env));
  const inFile = fromFile.get(name);
  if (inFile !== undefined) sayings.push({ ...inFile, label: `${inFile.source}: ${row.key}` });
  return [...sayings, plain(defaultOf(row, surroundings), DEFAULT)];
}

function settingOf(row: OptionRow, sayings: readonly Said[]): Setting {
  if (row.shape === 'map') return tableOf(row, sayings);
  const foremost = sayings[0]!;
  const { raw, source, label } = foremost;
  return { value: raw === undefined ? undefined : checked(row, foremost), raw, source, label, entrySources: NO_ENTRIES };
}

const NO_ENTRIES: ReadonlyMap<string, string> = new Map();

/** An entry is its foremost source's; each source is checked for itself, because only it can be named for what is wrong. */
function tableOf(row: OptionRow, sayings: readonly Said[]): Setting {
  const tables = sayings.map((one) => ({ value: checked(row, one) as object, raw: one.raw as object, sourceOf: one.sourceOf })).toReversed();
  const entrySources = new Map(tables.flatMap(({ raw, sourceOf }) => Object.keys(raw).map((entry) => [entry, sourceOf(entry)] as const)));
  const together = (part: 'value' | 'raw') => Object.fromEntries(tables.flatMap((table) => Object.entries(table[part])));
  return { value: together('value'), raw: together('raw'), source: sayings[0]!.source, label: sayings[0]!.label, entrySources };
}

function checked(row: OptionRow, { raw, source, label }: Said): unknown {
  const parsed = row.schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = wordIssue(parsed.error.issues[0]!);
  throw new LullError('validation', source === label ? `${label}: ${issue}` : `${label} ${issue}`, { cause: parsed.error });
}
