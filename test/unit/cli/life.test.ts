/** `lull rm` of several, against a listening server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageInUse, microvmNotFound } from '../../../src/domain/refusals.ts';
import { startCommandBed } from './installation-bed.ts';

test('rm goes on after a refusal, reports each and ends with 1', async () => {
  await using bed = await startCommandBed();
  bed.api.control.instead.set('microvms.terminate', (id: string) => (id === 'microvm-nope' ? Promise.reject(microvmNotFound(id)) : Promise.resolve()));
  const { status, stdout, said } = await bed.lull('rm', 'microvm-one', 'microvm-nope', 'microvm-two', 'microvm-nope');
  assert.match(stdout, /^microvm-one is gone \(.*\)\nmicrovm-two is gone \(.*\)\n$/);
  assert.deepEqual([status, said], [1, Array(2).fill('microvm-nope: MicroVM not found: microvm-nope')]);

  const asJson = await bed.lull('rm', '--json', 'microvm-nope', 'microvm-two');
  assert.deepEqual([asJson.status, JSON.parse(asJson.stdout).map((one: { id: string }) => one.id)], [1, ['microvm-two']]);
});

test('rm of an image that microVMs rest on names the commands that mend it', async () => {
  await using bed = await startCommandBed();
  bed.api.control.instead.set('images.delete', () => Promise.reject(imageInUse()));
  assert.deepEqual(await bed.lull('rm', 'app'), {
    status: 1,
    stdout: '',
    said: ['app: Cannot delete microvm image with running microvms. `lull ps` shows them, `lull rm MICROVM` ends one.'],
  });
});
