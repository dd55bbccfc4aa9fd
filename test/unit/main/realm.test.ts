/** The region and account of a data folder: chosen once, then part of every ARN in it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isLullError } from '../../../src/domain/errors.ts';
import { Files } from '../../../src/lib/files.ts';
import { ensureCredentials, realmOf } from '../../../src/main/server-files.ts';
import { systemClock, systemRandom } from '../../../src/main/system-ports.ts';
import { openStore } from '../../../src/store/store.ts';

const folder = mkdtempSync(join(tmpdir(), 'lull-realm-'));
after(() => rmSync(folder, { recursive: true }));

const byFlag = (value: string) => ({ value, source: '--flag' });
const NOTHING = { region: undefined, account: undefined };

test('a new data folder takes what is asked for, else the default; it keeps it, and refuses another', async () => {
  await using store = await openStore({ path: ':memory:' });
  assert.deepEqual(await realmOf(folder, NOTHING), { region: 'us-east-1', account: '000000000000' });
  const realm = await realmOf(folder, { region: byFlag('eu-west-1'), account: undefined });
  assert.deepEqual(realm, { region: 'eu-west-1', account: '000000000000' });
  await ensureCredentials({ files: new Files(), dataFolder: folder, keys: store.accessKeys, realm, clock: systemClock, random: systemRandom });
  const credentials = join(folder, 'credentials.json');
  assert.equal((JSON.parse(readFileSync(credentials, 'utf8')) as { region: string }).region, 'eu-west-1');
  assert.equal(statSync(credentials).mode & 0o777, 0o600);

  assert.deepEqual(await realmOf(folder, NOTHING), realm);
  assert.deepEqual(await realmOf(folder, { region: byFlag('eu-west-1'), account: byFlag('000000000000') }), realm);
  for (const other of [{ region: byFlag('us-east-1'), account: undefined }, { region: undefined, account: byFlag('111111111111') }]) {
    await assert.rejects(
      realmOf(folder, other),
      (error) => isLullError(error, 'conflict') && error.message.startsWith(`${folder} was made for region eu-west-1 and account 000000000000,`),
    );
  }
});
