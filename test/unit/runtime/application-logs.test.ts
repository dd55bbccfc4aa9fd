/** Who has a log: its writer and its readers, and nobody for ever. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ApplicationLogs } from '../../../src/runtime/application-logs.ts';
import { DataLayout } from '../../../src/runtime/data-layout.ts';

const ID = 'microvm-1';
const signal = AbortSignal.timeout(30_000);

describe('the logs of all microVMs', () => {
  let folder: string;
  let logs: ApplicationLogs;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lull-logs-'));
    logs = new ApplicationLogs(new DataLayout(folder, folder), { nowMs: Date.now });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('one that was only read is not held', async () => {
    await logs.hold(ID).append(Buffer.from('last words\n'));
    logs.letGo(ID);
    assert.equal(logs.heldCount, 0);
    assert.equal(Buffer.concat(await Array.fromAsync(logs.read(ID, { follow: false, signal }))).toString(), 'last words\n');
    assert.equal(logs.heldCount, 0);
  });

  test('one that ends is held until its last reader has left', async () => {
    await logs.hold(ID).append(Buffer.from('one\n'));
    const readers = [1, 2].map(() => logs.read(ID, { follow: true, signal }));
    for (const reader of readers) assert.equal((await reader.next()).value?.toString(), 'one\n');
    logs.letGo(ID);
    await readers[0]!.return(undefined);
    assert.equal(logs.heldCount, 1);
    await readers[1]!.return(undefined);
    assert.equal(logs.heldCount, 0);
  });

  test('a reader who comes before the writer sees what is written', async () => {
    const reader = logs.read(ID, { follow: true, signal });
    const next = reader.next();
    await logs.hold(ID).append(Buffer.from('awake\n'));
    assert.equal((await next).value?.toString(), 'awake\n');
    await reader.return(undefined);
    assert.equal(logs.heldCount, 1, 'its writer has it');
  });
});
