/** Where the command line says why a microVM ended, against a listening server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { microvmNotFound } from '../../../src/domain/refusals.ts';
import { microvmRecord } from '../../fakes/records.ts';
import { startCommandBed } from './installation-bed.ts';

const EXITED = 'Container Stopped with Exit Code: 3';

/** One microVM runs, one has ended, one is forgotten between the listing and the question. */
async function startBed() {
  const bed = await startCommandBed();
  const microvms = [
    microvmRecord('live', { state: 'RUNNING' }),
    microvmRecord('dead', { state: 'TERMINATED', stateReason: EXITED }),
    microvmRecord('lost', { state: 'TERMINATED', stateReason: EXITED }),
  ];
  bed.api.control.instead.set('microvms.list', async () => ({ items: microvms, next: null }));
  bed.api.control.instead.set('microvms.get', async (id: string) => {
    const found = microvms.find(({ microvmId }) => microvmId === id && id !== 'microvm-lost');
    if (found === undefined) throw microvmNotFound(id);
    return found;
  });
  return bed;
}

test('ps --all says why those that ended did; ps alone asks for no reasons', async () => {
  await using bed = await startBed();
  const { status, stdout } = await bed.lull('ps', '--all');
  const lines = stdout.trimEnd().split('\n').map((line) => line.split(/ {2,}/));
  assert.equal(status, 0);
  assert.deepEqual(lines.map((cells) => [cells[0], cells.at(-1)]), [
    ['MICROVM', 'REASON'],
    ['microvm-live', '-'],
    ['microvm-dead', EXITED],
    ['microvm-lost', '-'],
  ]);
  const all = JSON.parse((await bed.lull('ps', '--all', '--json')).stdout);
  assert.deepEqual(all.map((one: { stateReason: string | null }) => one.stateReason), [null, EXITED, null]);

  bed.api.control.calls.length = 0;
  assert.match((await bed.lull('ps')).stdout, /^MICROVM +STATE +IMAGE +STARTED \(UTC\)\nmicrovm-live .*\n$/);
  assert.deepEqual(bed.api.control.calls.map(({ useCase }) => useCase), ['microvms.list']);
});

test('logs of a microVM that has ended end with the reason, on standard error, also where they are followed', async () => {
  await using bed = await startBed();
  assert.deepEqual(await bed.lull('logs', 'microvm-dead'), { status: 0, stdout: 'hello\n', said: [`microvm-dead has ended: ${EXITED}`] });
  const asked = () => bed.api.control.calls.findLast(({ useCase }) => useCase === 'microvms.logs')?.args[1] as { follow: boolean };
  await bed.lull('logs', '--follow', 'microvm-dead');
  assert.equal(asked().follow, false, 'no more comes of it');
  await bed.lull('logs', '--follow', 'microvm-live');
  assert.equal(asked().follow, true);
  assert.deepEqual(await bed.lull('logs', 'microvm-live'), { status: 0, stdout: 'hello\n', said: [] });
});

test('curl to a microVM that has ended says so and why', async () => {
  await using bed = await startBed();
  assert.deepEqual(await bed.lull('curl', 'microvm-dead', '/'), { status: 1, stdout: '', said: [`microvm-dead has ended: ${EXITED}`] });
});
