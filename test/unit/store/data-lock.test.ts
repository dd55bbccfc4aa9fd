import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { lockDataFolder } from '../../../src/store/data-lock.ts';

const root = mkdtempSync(join(tmpdir(), 'lull-lock-'));
after(() => rmSync(root, { recursive: true }));

test('another process that holds the folder is named; when it is killed, the folder is free at once', { timeout: 30_000 }, async () => {
  const folder = join(root, 'data');
  const holder = spawn(process.execPath, [join(import.meta.dirname, 'lock-holder.ts'), folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const message = `The data folder ${folder} is in use by another Lull server (pid ${holder.pid}). Stop it first, or give another folder with --data.`;
  // Twice: a refused attempt must not loosen the lock of the holder.
  for (let n = 0; n < 2; n += 1) assert.throws(() => lockDataFolder(folder), { kind: 'conflict', message });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  using _lock = lockDataFolder(folder);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.equal(statSync(join(folder, 'server.lock')).mode & 0o777, 0o600);
});

test('the same process is refused too, until it lets go; two folders are two locks', () => {
  const folder = join(root, 'same');
  const lock = lockDataFolder(folder);
  assert.throws(() => lockDataFolder(folder), { kind: 'conflict', message: new RegExp(`pid ${process.pid}`) });
  assert.throws(() => lockDataFolder(folder), { kind: 'conflict' });
  using _other = lockDataFolder(join(root, 'other'));
  lock[Symbol.dispose]();
  lock[Symbol.dispose]();
  using _again = lockDataFolder(folder);
});

test('a pid file that says nothing is no obstacle, and a folder that cannot be one is a clear error', () => {
  const folder = join(root, 'odd');
  using _lock = lockDataFolder(folder);
  writeFileSync(join(folder, 'server.pid'), 'nonsense');
  assert.throws(() => lockDataFolder(folder), { kind: 'conflict', message: /pid unknown/ });
  writeFileSync(join(root, 'file'), '');
  assert.throws(() => lockDataFolder(join(root, 'file')), { kind: 'internal', message: /cannot be locked/ });
});
