/** What a server tells the command line through its data folder. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Realm } from '../domain/ids.ts';
import type { AccessKeyRepository, Clock, Random } from '../domain/ports.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';

const credentialsSchema = z.object({
  region: z.string(),
  account: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
});

/** AWS's form: 20 characters of the base-32 alphabet, AKIA first. */
const KEY_ID_BYTES = 16;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const SECRET_BYTES = 30;

/** Makes the first access key where there is none, and keeps it for `lull env` in `credentials.json` (0600). */
export async function ensureCredentials(parts: {
  dataFolder: string;
  keys: AccessKeyRepository;
  realm: Realm;
  clock: Clock;
  random: Random;
}): Promise<void> {
  const { dataFolder, keys, realm, clock, random } = parts;
  const path = join(dataFolder, 'credentials.json');
  const kept = credentialsSchema.safeParse(await readFile(path, 'utf8').then(JSON.parse).catch(() => undefined));
  if (kept.success && (await keys.get(kept.data.accessKeyId))?.secretAccessKey === kept.data.secretAccessKey) return;
  const accessKeyId = `AKIA${[...random.bytes(KEY_ID_BYTES)].map((byte) => BASE32[byte % BASE32.length]).join('')}`;
  const secretAccessKey = random.bytes(SECRET_BYTES).toString('base64');
  await keys.insert({ accessKeyId, secretAccessKey, createdAtMs: clock.nowMs(), description: 'made at the first start', session: null });
  await writeFileAtomic(path, `${JSON.stringify({ ...realm, accessKeyId, secretAccessKey }, null, 2)}\n`);
}

/** Where a server is, or was last, found: `server.json`. It stays, so that `lull env` says the same while the server is down. */
export async function announceServer(
  dataFolder: string,
  server: { pid: number; apiUrl: string; endpointPort: number; domain: string; version: string },
): Promise<void> {
  await writeFileAtomic(join(dataFolder, 'server.json'), `${JSON.stringify(server, null, 2)}\n`);
}
