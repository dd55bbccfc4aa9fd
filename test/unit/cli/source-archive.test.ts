/** What `lull build` uploads. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openPromise } from 'yauzl';
import { packSource } from '../../../src/cli/source-archive.ts';

const folder = await mkdtemp(join(tmpdir(), 'lull-test-'));
after(() => rm(folder, { recursive: true, force: true }));

async function source(name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, 'app'), { recursive: true });
  await writeFile(join(path, 'Dockerfile'), 'FROM lull/base\n');
  await writeFile(join(path, 'app/run.sh'), '#!/bin/sh\n');
  await chmod(join(path, 'app/run.sh'), 0o755);
  return path;
}

test('all files are in it with their modes, and the same files give the same archive', async () => {
  const path = await source('plain');
  await symlink('app/run.sh', join(path, 'start'));
  await using first = await packSource(path);
  await using second = await packSource(path);
  assert.equal(first.sha256, second.sha256);
  const entries = new Map<string, number>();
  const zip = await openPromise(first.path);
  for await (const entry of zip.eachEntry()) entries.set(entry.fileName, entry.externalFileAttributes >>> 16);
  assert.deepEqual([...entries.keys()].sort(), ['Dockerfile', 'app/run.sh', 'start']);
  assert.equal(entries.get('app/run.sh')! & 0o777, 0o755);
});

test('a folder without a Dockerfile is refused', async () => {
  await assert.rejects(packSource(folder), /has no Dockerfile/);
  await assert.rejects(packSource(join(folder, 'nowhere')), /There is no folder/);
});

test('links that lead out, nowhere or round are refused', async () => {
  const outwards = await source('outwards');
  await symlink('/etc/passwd', join(outwards, 'passwd'));
  await assert.rejects(packSource(outwards), /leads out of/);
  const nowhere = await source('nowhere-link');
  await symlink('missing', join(nowhere, 'link'));
  await assert.rejects(packSource(nowhere), /leads nowhere/);
  const round = await source('round');
  await symlink('..', join(round, 'app/up'));
  await assert.rejects(packSource(round), /a link to a folder that holds it/);
});
