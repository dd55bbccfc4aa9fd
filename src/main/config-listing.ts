/** What `lull config` shows: every setting as it would be in force, with where it came from. */
import { stringify } from 'smol-toml';
import { DEFAULT_REALM } from '../domain/ids.ts';
import { QUOTAS, quotasOf, ADJUSTABLE_QUOTAS } from '../domain/quotas.ts';
import { OPTION_ROWS, type Surroundings } from './option-table.ts';
import { serverOptions } from './options.ts';
import { askedRealm, realmOf, rememberedRealm } from './server-files.ts';
import { DEFAULT, gatherSettings, type OptionValues, type Settings } from './settings.ts';
import { defaultMemoryQuotaMib } from './system-ports.ts';

/** One line of the listing. */
export interface EffectiveSetting {
  /** As in the configuration file: `api.listen`. */
  readonly key: string;
  /** As in the configuration file; undefined where it is not set and has no default. */
  readonly value: unknown;
  readonly source: string;
  /** Of each entry, where the value is a table that has any. */
  readonly entrySources?: Readonly<Record<string, string>>;
}

/**
 * Every setting, checked as a server's start would check it.
 * @throws LullError validation: one line that names the option; conflict where the data folder was made for another realm
 */
export async function effectiveSettings(values: OptionValues, surroundings: Surroundings): Promise<readonly EffectiveSetting[]> {
  const settings = gatherSettings(values, surroundings);
  serverOptions(settings);
  await realmOf(settings.data.value, askedRealm(settings));
  const kept = await rememberedRealm(settings.data.value);
  return OPTION_ROWS.flatMap(([name, { key }]): EffectiveSetting[] => {
    if (name === 'quota') return quotaSettings(settings);
    if (name === 'region' || name === 'account') return [{ key, ...realmSetting(settings, name, kept) }];
    const { raw, source, entrySources } = settings[name];
    return [{ key, value: raw, source, ...(entrySources.size > 0 && { entrySources: Object.fromEntries(entrySources) }) }];
  });
}

function realmSetting(settings: Settings, name: 'region' | 'account', kept: Awaited<ReturnType<typeof rememberedRealm>>): Omit<EffectiveSetting, 'key'> {
  const { raw, source } = settings[name];
  if (raw !== undefined) return { value: raw, source };
  return kept === undefined ? { value: DEFAULT_REALM[name], source: DEFAULT } : { value: kept.realm[name], source: kept.path };
}

/** Each quota for itself, because those that nobody gives are in force too. */
function quotaSettings({ quota, limits }: Settings): EffectiveSetting[] {
  const inForce = quotasOf({ limits: limits.value, given: quota.value }, defaultMemoryQuotaMib());
  return ADJUSTABLE_QUOTAS.map((name) => {
    const isAws = 'rate' in QUOTAS[name] && limits.value === 'aws';
    return { key: `quotas.${name}`, value: inForce[name] ?? undefined, source: quota.entrySources.get(name) ?? (isAws ? limits.source : DEFAULT) };
  });
}

/** As a configuration file that says the same; the sources are its comments. */
export function asToml(settings: readonly EffectiveSetting[]): string {
  const isMap = ({ value }: EffectiveSetting) => typeof value === 'object' && value !== null && !Array.isArray(value);
  const tableOf = ({ key }: EffectiveSetting) => key.slice(0, Math.max(0, key.lastIndexOf('.')));
  const plain = settings.filter((setting) => !isMap(setting));
  const tables = Map.groupBy(plain, tableOf);
  const parts = [...tables].map(([table, rows]) => [...(table === '' ? [] : [`[${table}]`]), ...rows.map(line)].join('\n'));
  const maps = settings.filter(isMap).map(mapTable);
  return `${[...parts, ...maps].join('\n\n')}\n`;
}

function mapTable({ key, value, source, entrySources = {} }: EffectiveSetting): string {
  const entries = Object.entries(value as Readonly<Record<string, unknown>>);
  if (entries.length === 0) return `[${key}] # ${source}`;
  return [`[${key}]`, ...entries.map(([name, entry]) => assignment(name, entry, entrySources[name] ?? source))].join('\n');
}

function line({ key, value, source }: EffectiveSetting): string {
  const name = key.slice(key.lastIndexOf('.') + 1);
  return value === undefined ? `# ${name} is not set` : assignment(name, value, source);
}

const assignment = (name: string, value: unknown, source: string) => `${stringify({ [name]: value }).trimEnd()} # ${source}`;

