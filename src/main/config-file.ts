/** The configuration file: TOML, because people write it by hand and want comments in it. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { parse, TomlError, type TomlTable, type TomlValue } from 'smol-toml';
import { LullError } from '../domain/errors.ts';
import { OPTION_ROWS, type OptionName } from './option-table.ts';

/** A value of the file and where it stands: `FILE:LINE`. */
export interface FileValue {
  readonly raw: unknown;
  readonly source: string;
  /** Where an entry of it stands, of one that is a table. */
  readonly sourceOf: (entry: string) => string;
}

/** Settings by option; options that the file leaves out are not there. */
export type FileValues = ReadonlyMap<OptionName, FileValue>;

/** Instead of a path: no file is read, not even the default one. */
export const NO_FILE = 'none';

/**
 * Reads the file.
 * @param options.isOptional a file that is not there says nothing (the default one)
 * @throws LullError validation: one line that names the file, and key and line where there are any
 */
export function readConfigFile(path: string, options: { isOptional: boolean; uid: number }): FileValues {
  const text = readOwnFile(path, options);
  if (text === undefined) return new Map();
  const values = new Map<OptionName, FileValue>();
  collect(tableOf(text, path), { text, path, values }, '');
  return values;
}

const WRITABLE_BY_OTHERS = 0o022;

function readOwnFile(path: string, { isOptional, uid }: { isOptional: boolean; uid: number }): string | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const { uid: owner, mode } = fstatSync(descriptor);
    // Whoever can write to it chooses the folders, programs' inputs and networks of a process that is root.
    if (uid === 0 && (owner !== 0 || (mode & WRITABLE_BY_OTHERS) !== 0)) {
      throw new LullError('validation', `${path}: others than root can write to it, and would decide what root runs: chown root and chmod go-w it.`);
    }
    return readFileSync(descriptor, 'utf8');
  } catch (cause) {
    if (cause instanceof LullError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (isOptional && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined;
    throw new LullError('validation', `${path}: the configuration file cannot be read: ${message}`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function tableOf(text: string, path: string): TomlTable {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // The first line says what is wrong; those after it draw the place.
    const what = cause.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    throw new LullError('validation', `${path}:${cause.line}: ${what}`, { cause });
  }
}

interface Reading {
  readonly text: string;
  readonly path: string;
  readonly values: Map<OptionName, FileValue>;
}

/** Takes every entry of a table to its option. @param prefix the table's own key with a dot, or nothing */
function collect(table: TomlTable, reading: Reading, prefix: string): void {
  for (const [name, raw] of Object.entries(table)) {
    const key = `${prefix}${name}`;
    const option = OPTION_ROWS.find(([, row]) => row.key === key)?.[0];
    if (option !== undefined) {
      const sourceOf = (entry: string) => placeOf([`${key}.${entry}`, key], reading);
      reading.values.set(option, { raw, source: placeOf([key], reading), sourceOf });
    } else if (OPTION_ROWS.some(([, row]) => row.key.startsWith(`${key}.`))) {
      if (!isTable(raw)) throw new LullError('validation', `${placeOf([key], reading)}: ${key} must be a table.`);
      collect(raw, reading, `${key}.`);
    } else {
      throw new LullError('validation', `${placeOf([key], reading)}: there is no setting ${key} (\`lull config\` shows all).`);
    }
  }
}

const isTable = (value: TomlValue): value is TomlTable => typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);

/** `FILE:LINE` of the first of the keys that has a line of its own: an entry of an inline table has none. */
function placeOf(keys: readonly string[], { text, path }: Pick<Reading, 'text' | 'path'>): string {
  const line = keys.map((key) => lineOf(key, text)).find((found) => found !== undefined);
  return line === undefined ? path : `${path}:${line}`;
}

/** The parser keeps no lines of values, so that of the first header or assignment that leads to the key is looked for. */
function lineOf(key: string, text: string): number | undefined {
  let header = '';
  let within: number | undefined;
  for (const [at, line] of text.split('\n').entries()) {
    const opened = /^\s*\[([^[\]]+)\]/.exec(line)?.[1];
    const assigned = opened === undefined ? /^\s*((?:[\w-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=/.exec(line)?.[1] : undefined;
    if (opened !== undefined) header = plainKey(opened);
    else if (assigned === undefined) continue;
    const found = assigned === undefined ? header : [header, plainKey(assigned)].filter((part) => part !== '').join('.');
    if (found === key) return at + 1;
    if (found.startsWith(`${key}.`)) within ??= at + 1;
  }
  return within;
}

const plainKey = (key: string) => key.replaceAll(/["'\s]/g, '');
