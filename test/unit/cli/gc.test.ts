/** `lull gc` and `lull status` against a listening server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCommandBed, type CommandBed } from './installation-bed.ts';

describe('lull gc', () => {
  let command: CommandBed;
  before(async () => {
    command = await startCommandBed();
  });
  after(() => command[Symbol.asyncDispose]());
  const asked = () => command.api.control.calls.filter(({ useCase }) => useCase === 'garbage.collect').map(({ args }) => args[0]);

  test('names each thing with its size, and with --dry-run removes nothing', async () => {
    const stdout = 'KIND    NAME               SIZE\nobject  objects/orphan  4.0 KiB\n';
    assert.deepEqual(await command.lull('gc', '--dry-run'), { status: 0, stdout, said: ['4.0 KiB would be removed'] });
    assert.deepEqual(await command.lull('gc'), { status: 0, stdout, said: ['4.0 KiB were removed'] });
    assert.deepEqual(asked(), [{ dryRun: true }, { dryRun: false }]);
  });

  test('speaks JSON to programs', async () => {
    const { stdout } = await command.lull('gc', '--dry-run', '--json');
    const garbage = [{ kind: 'object', name: 'objects/orphan', sizeBytes: 4096 }];
    assert.deepEqual(JSON.parse(stdout), { dryRun: true, sizeBytes: 4096, garbage });
  });

  test('says when there is nothing', async () => {
    command.api.control.instead.set('garbage.collect', async () => []);
    assert.deepEqual(await command.lull('gc'), { status: 0, stdout: '', said: ['nothing to remove'] });
    command.api.control.instead.delete('garbage.collect');
  });

  test('status says how disks stand, what is promised of them, and who stands still', async () => {
    const { status, stdout } = await command.lull('status');
    assert.equal(status, 0);
    assert.match(stdout, /^disk of data +500 B of 1000 B free, 50 B of it promised to what is under way$/m);
    assert.match(stdout, /^disk of the platform +500 B of 1000 B free/m);
    assert.match(stdout, /^standing still +2 microVMs, until their disk has room or works again$/m);
    assert.equal(JSON.parse((await command.lull('status', '--json')).stdout).stoppedByDisk, 2);
  });
});
