/** `lull keys` against a listening server. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import type { Machine, Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { CREDENTIALS, startApi } from '../api/bed.ts';
import type { ApiBed } from '../api/bed.ts';

const NO_MACHINE = { version: '1.2.3', self: ['lull'], serverOptions: [] } as unknown as Machine;

describe('lull keys', () => {
  let bed: ApiBed;
  let folder: string;
  before(async () => {
    bed = await startApi();
    folder = await mkdtemp(join(tmpdir(), 'lull-keys-'));
    await writeFile(join(folder, 'credentials.json'), JSON.stringify({ region: 'us-east-1', account: '000000000000', ...CREDENTIALS }));
    await writeFile(join(folder, 'server.json'), JSON.stringify({ pid: 1, apiUrl: bed.origin, endpointPort: 1, domain: 'd', version: '1' }));
  });
  after(async () => {
    await bed[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function lull(...argv: readonly string[]) {
    let stdout = '';
    const said: string[] = [];
    const terminal: Terminal = {
      env: {},
      uid: 1000,
      dataFolder: () => folder,
      out: (text) => void (stdout += text.toString()),
      say: (line) => void said.push(line),
      signal: new AbortController().signal,
    };
    const status = await runCommandLine(['keys', ...argv, '--data', folder], { terminal, machine: NO_MACHINE });
    return { status, stdout, said: said.join('\n') };
  }

  /** What S3 says to whoever signs with a key. */
  async function knock(credentials: { accessKeyId: string; secretAccessKey: string }): Promise<string> {
    const s3 = new S3Client({ endpoint: bed.origin, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1 });
    const answer = await s3.send(new ListBucketsCommand({})).then(
      () => 'welcome',
      (error: Error) => error.name,
    );
    s3.destroy();
    return answer;
  }

  test('a key signs from when it is created until it is revoked; its secret is shown once', async () => {
    const made = await lull('create', '--description', 'for the build server', '--json');
    const key = JSON.parse(made.stdout);
    assert.match(key.accessKeyId, /^AKIA[A-Z2-7]{16}$/);
    assert.match(key.secretAccessKey, /^[A-Za-z0-9+/]{40}$/);
    assert.deepEqual([made.status, made.said, key.description], [0, 'The secret is not shown again.', 'for the build server']);
    assert.equal(await knock(key), 'welcome');
    assert.equal(await knock(CREDENTIALS), 'welcome', 'several keys are good at the same time');

    const listed = await lull('list');
    assert.match(listed.stdout, new RegExp(`^ACCESS KEY +CREATED \\(UTC\\) +KEPT IN +DESCRIPTION\n${key.accessKeyId} +20[-0-9]+ [:0-9]+ +- +for the build server\n${CREDENTIALS.accessKeyId} .*credentials\\.json +-\n$`));
    const { accessKeyId, createdAtMs } = key;
    assert.deepEqual(JSON.parse((await lull('list', '--json')).stdout)[0], { accessKeyId, createdAtMs, description: 'for the build server', isOwn: false });
    assert.ok(!JSON.stringify(bed.logLines).includes(key.secretAccessKey), 'the log does not have it');

    assert.deepEqual(await lull('revoke', accessKeyId), { status: 0, stdout: `${accessKeyId} is revoked\n`, said: '' });
    assert.equal(await knock(key), 'InvalidAccessKeyId');
    assert.deepEqual(await lull('revoke', accessKeyId), { status: 1, stdout: '', said: `No access key has the id ${accessKeyId}. \`lull keys list\` shows them.` });
  });

  test('without --json the two halves stand in lines of their own', async () => {
    assert.match((await lull('create')).stdout, /^access key {2}AKIA\w{16}\nsecret {6}\S{40}\n$/);
  });

  test('the key of credentials.json cannot be revoked: the commands use it', async () => {
    const { status, stdout, said } = await lull('revoke', CREDENTIALS.accessKeyId);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(said, /^AKIALULLTEST00000000 is the key in credentials\.json, .*Put another key of `lull keys create` there/);
    assert.equal(await knock(CREDENTIALS), 'welcome');
  });
});
