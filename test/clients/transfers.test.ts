/** AWS's transfer commands and boto3's transfer manager against the object store, in parts wherever they can. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { CREDENTIALS, startApi } from '../unit/api/bed.ts';
import type { ApiBed } from '../unit/api/bed.ts';
import { PYTHON, noAwsCli2, noPythonClients } from './installed.ts';

const MIB = 1024 * 1024;
const TRANSFERS = join(import.meta.dirname, 'programs/transfers_boto3.py');
/** Each starts a Python. */
const COMMAND_LIMIT_MS = 60_000;

/** The configuration of a client that is told to presign with Signature V4. */
const V4_CONFIG = 'config-v4';

/** Names that a shell, a URL or XML would trip over. */
const NAMES = ['plain.txt', 'a b+c%20d', 'deep/er/ü 🦆.txt', "quo'te&<x>.txt"];

interface Ground {
  readonly bed: ApiBed;
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
}

async function prepare(): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), 'lull-transfers-'));
  const config = join(folder, 'config');
  await writeFile(config, '[default]\ns3 =\n  multipart_threshold = 5MB\n  multipart_chunksize = 5MB\n');
  await writeFile(join(folder, V4_CONFIG), '[default]\ns3 =\n  signature_version = s3v4\n');
  for (const [n, name] of NAMES.entries()) {
    await mkdir(dirname(join(folder, 'tree', name)), { recursive: true });
    await writeFile(join(folder, 'tree', name), `${n}: ${name}`);
  }
  await writeFile(join(folder, 'big'), randomBytes(17 * MIB + 3));
  // After the files: the clock of a bed stands still, and `sync` compares times.
  const bed = await startApi();
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    LANG: 'C.UTF-8',
    AWS_CONFIG_FILE: config,
    AWS_ENDPOINT_URL: bed.origin,
    AWS_REGION: 'us-east-1',
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
  };
  return { bed, folder, env };
}

async function release({ bed, folder }: Ground): Promise<void> {
  await bed[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
}

/** Runs a program to its end. @returns what it printed */
const run = async ([program = '', ...args]: readonly string[], { env, folder }: Ground) =>
  (await promisify(execFile)(program, args, { env, cwd: folder, timeout: COMMAND_LIMIT_MS, maxBuffer: 16 * MIB })).stdout;

const contents = async (folder: string): Promise<Map<string, string>> => {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(await Promise.all(names.toSorted().map(async (name) => [name.slice(folder.length + 1), await readFile(name, 'utf8')] as const)));
};

/** What only a link of this version of the signature has. */
const V2 = /[?&]AWSAccessKeyId=/;
const V4 = /[?&]X-Amz-Credential=/;

const CLIS: readonly { name: string; argv: readonly string[]; presignsWith: RegExp; skip: string | false }[] = [
  { name: 'version 1', argv: [PYTHON, '-m', 'awscli'], presignsWith: V2, skip: noPythonClients },
  { name: 'version 2', argv: ['aws'], presignsWith: V4, skip: await noAwsCli2() },
];

for (const { name, argv, presignsWith, skip } of CLIS) {
  describe(`the AWS CLI, ${name}`, { skip }, () => {
    let ground: Ground;
    const aws = (...args: readonly string[]) => run([...argv, 's3', ...args], ground);
    const path = (file: string) => join(ground.folder, file);
    before(async () => {
      ground = await prepare();
    });
    after(() => release(ground));

    it('makes a bucket, moves a big file in parts, there, about and back, and shows it', async () => {
      assert.match(await aws('mb', 's3://cli'), /make_bucket: cli/);
      await aws('cp', 'big', 's3://cli/in parts', '--only-show-errors', '--content-type', 'a/b');
      assert.match(await aws('ls', 's3://cli/'), / 17825795 in parts\n/);
      await aws('cp', 's3://cli/in parts', 's3://cli/copied/in parts', '--only-show-errors');
      await aws('cp', 's3://cli/copied/in parts', 'back', '--only-show-errors');
      assert.ok((await readFile(path('back'))).equals(await readFile(path('big'))));
      assert.match(await aws('ls', 's3://cli'), / PRE copied\/\n/);
      assert.equal((await ground.bed.blobFiles()).length, 2, 'no part is left');
      await aws('mv', 's3://cli/copied/in parts', 's3://cli/moved', '--only-show-errors');
      assert.doesNotMatch(await aws('ls', 's3://cli'), /copied/);
    });

    it('presigns, as it does unless told and with Signature V4', async () => {
      const told = { ...ground, env: { ...ground.env, AWS_CONFIG_FILE: path(V4_CONFIG) } };
      for (const [place, version] of [[ground, presignsWith], [told, V4]] as const) {
        const link = (await run([...argv, 's3', 'presign', 's3://cli/in parts'], place)).trim();
        assert.match(link, version);
        const answer = await fetch(link);
        assert.deepEqual([answer.status, answer.headers.get('content-type'), (await answer.arrayBuffer()).byteLength], [200, 'a/b', 17 * MIB + 3]);
      }
    });

    it('keeps a folder and a bucket the same, both ways', async () => {
      await aws('mb', 's3://cli-tree');
      const up = await aws('sync', 'tree', 's3://cli-tree/t', '--no-progress');
      assert.equal(up.match(/^upload: /gm)?.length, NAMES.length);
      assert.equal(await aws('sync', 'tree', 's3://cli-tree/t', '--no-progress'), '', 'nothing is to be done twice');
      await aws('sync', 's3://cli-tree/t', 'down', '--only-show-errors');
      assert.deepEqual(await contents(path('down')), await contents(path('tree')));
      await rm(path('down/plain.txt'));
      assert.match(await aws('sync', 'down', 's3://cli-tree/t', '--delete', '--no-progress'), /^delete: s3:\/\/cli-tree\/t\/plain\.txt$/m);
      assert.equal((await aws('ls', '--recursive', 's3://cli-tree')).trim().split('\n').length, NAMES.length - 1);
    });

    it('removes objects and buckets', async () => {
      await assert.rejects(aws('rb', 's3://cli-tree'), /BucketNotEmpty/);
      await aws('rm', '--recursive', '--only-show-errors', 's3://cli-tree/t/deep');
      await aws('rb', '--force', 's3://cli-tree');
      await aws('rb', '--force', 's3://cli');
      assert.equal(await aws('ls'), '');
      assert.deepEqual(await ground.bed.blobFiles(), []);
    });
  });
}

describe('boto3', { skip: noPythonClients }, () => {
  let ground: Ground;
  before(async () => {
    ground = await prepare();
  });
  after(() => release(ground));

  for (const style of ['path', 'virtual']) {
    it(`upload_file, download_file, copy, every checksum and links of both signatures, in ${style} style`, async () => {
      assert.equal(await run([PYTHON, TRANSFERS, style, join(ground.folder, 'big')], ground), 'done\n');
      assert.deepEqual(await ground.bed.blobFiles(), []);
    });
  }
});
