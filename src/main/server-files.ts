/** What a server tells the command line through its data folder. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { newKeyPair } from '../domain/access-key.ts';
import { LullError } from '../domain/errors.ts';
import { DEFAULT_REALM, type Realm } from '../domain/ids.ts';
import type { AccessKeyRepository, Clock, Random } from '../domain/ports.ts';
import type { Files } from '../lib/files.ts';
import type { Settings } from './settings.ts';

const credentialsSchema = z.object({
  region: z.string(),
  account: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
});

/** The realm that a data folder was made with, and the file that says so; undefined where no server ever ran on it. */
export async function rememberedRealm(dataFolder: string): Promise<{ realm: Realm; path: string } | undefined> {
  const path = join(dataFolder, 'credentials.json');
  const kept = await readCredentials(path);
  return kept === undefined ? undefined : { realm: { region: kept.region, account: kept.account }, path };
}

/** Region and account as given, and who gave each. */
export interface AskedRealm {
  readonly region: Asked | undefined;
  readonly account: Asked | undefined;
}

interface Asked {
  readonly value: string;
  /** `--region`, `LULL_REGION`, `FILE:LINE`. */
  readonly source: string;
}

/** What the settings ask for. */
export function askedRealm({ region, account }: Pick<Settings, 'region' | 'account'>): AskedRealm {
  const asked = ({ value, source }: Settings['region']) => (value === undefined ? undefined : { value, source });
  return { region: asked(region), account: asked(account) };
}

/**
 * The realm of a data folder: what it was made with, else what is asked for, else {@link DEFAULT_REALM}.
 * @throws LullError conflict where it was made with another than is asked for: its ARNs are stored
 */
export async function realmOf(dataFolder: string, asked: AskedRealm): Promise<Realm> {
  const kept = (await rememberedRealm(dataFolder))?.realm;
  if (kept === undefined) return { region: asked.region?.value ?? DEFAULT_REALM.region, account: asked.account?.value ?? DEFAULT_REALM.account };
  const other = (['region', 'account'] as const).flatMap((name) => {
    const said = asked[name];
    return said === undefined || said.value === kept[name] ? [] : [`${said.source} says ${name} ${said.value}`];
  });
  if (other.length === 0) return kept;
  throw new LullError(
    'conflict',
    `${dataFolder} was made for region ${kept.region} and account ${kept.account}, which are part of every ARN in it, but ${other.join(' and ')}: ` +
      `take that out, or give another folder with --data.`,
  );
}

const readCredentials = async (path: string) =>
  credentialsSchema.safeParse(await readFile(path, 'utf8').then(JSON.parse).catch(() => undefined)).data;

/**
 * Makes the first access key where there is none, and keeps it for `lull env` in `credentials.json` (0600).
 * @returns its id
 */
export async function ensureCredentials(parts: {
  files: Files;
  dataFolder: string;
  keys: AccessKeyRepository;
  realm: Realm;
  clock: Clock;
  random: Random;
}): Promise<string> {
  const { files, dataFolder, keys, realm, clock, random } = parts;
  const path = join(dataFolder, 'credentials.json');
  const kept = await readCredentials(path);
  if (kept !== undefined && (await keys.get(kept.accessKeyId))?.secretAccessKey === kept.secretAccessKey) return kept.accessKeyId;
  const pair = newKeyPair(random, 'AKIA');
  await keys.insert({ ...pair, createdAtMs: clock.nowMs(), description: 'made at the first start', session: null });
  await files.writeAtomic(path, `${JSON.stringify({ ...realm, ...pair }, null, 2)}\n`);
  return pair.accessKeyId;
}

/** Where a server is, or was last, found: `server.json`. It stays, so that `lull env` says the same while the server is down. */
export async function announceServer(
  files: Files,
  dataFolder: string,
  server: { pid: number; apiUrl: string; endpointPort: number; domain: string; version: string },
): Promise<void> {
  await files.writeAtomic(join(dataFolder, 'server.json'), `${JSON.stringify(server, null, 2)}\n`);
}
