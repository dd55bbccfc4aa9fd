/** `lull keys` against a listening server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import { CREDENTIALS } from '../api/bed.ts';
import type { ApiBed } from '../api/bed.ts';
import { startCommandBed } from './installation-bed.ts';
import type { CommandBed } from './installation-bed.ts';

describe('lull keys', () => {
  let command: CommandBed;
  let bed: ApiBed;
  before(async () => {
    command = await startCommandBed();
    bed = command.api;
  });
  after(() => command[Symbol.asyncDispose]());

  async function lull(...argv: readonly string[]) {
    const { said, ...rest } = await command.lull('keys', ...argv);
    return { ...rest, said: said.join('\n') };
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
