/** `lull images rebuild`, against a listening server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LullError } from '../../../src/domain/errors.ts';
import { imageRecord, versionRecord } from '../../fakes/records.ts';
import { startCommandBed } from './installation-bed.ts';

test('rebuild follows the new version to its end, and `images` still lists', async () => {
  await using bed = await startCommandBed();
  bed.api.control.instead.set('images.version', async () => ({ image: imageRecord('app'), version: versionRecord('app', '2.0', { state: 'SUCCESSFUL' }) }));
  const { status, stdout, said } = await bed.lull('images', 'rebuild', 'app:1.0');
  assert.match(stdout, /^app:2\.0 is ready \(.*\)\n$/);
  assert.deepEqual([status, said], [0, []]);
  const rebuilt = bed.api.control.calls.find(({ useCase }) => useCase === 'images.rebuild');
  assert.deepEqual(rebuilt?.args, [{ imageIdentifier: 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app', imageVersion: '1.0' }]);
  const asJson = await bed.lull('images', 'rebuild', 'app', '--json');
  assert.deepEqual([asJson.status, JSON.parse(asJson.stdout).imageVersion], [0, '2.0']);
  assert.match((await bed.lull('images')).stdout, /^IMAGE +STATE/);
});

test('rebuild says what is refused', async () => {
  await using bed = await startCommandBed();
  bed.api.control.instead.set('images.rebuild', () => Promise.reject(new LullError('validation', 'The code was not kept.')));
  assert.deepEqual(await bed.lull('images', 'rebuild', 'app'), { status: 1, stdout: '', said: ['The code was not kept.'] });
});
