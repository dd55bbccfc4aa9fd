/** `lull verify`, against a listening server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCommandBed } from './installation-bed.ts';

test('verify tells each file as it comes, names what is not whole with its mend, and ends with 1', async () => {
  await using bed = await startCommandBed();
  const { status, stdout, said } = await bed.lull('verify');
  assert.deepEqual(said, ['app:1.0 memory (4.0 KiB): whole', 'microvm-one device-state (17 B): is missing']);
  assert.deepEqual([status, stdout], [1, 'microvm-one: device-state is missing; put the file back from a backup, or `lull rm` it\n']);
  const { args } = bed.api.control.calls.at(-1)!;
  assert.deepEqual(args[0], { images: [], microvms: [] });
});

test('verify asks for what is named, and ends with 0 where all is whole', async () => {
  await using bed = await startCommandBed();
  bed.api.control.instead.set('integrity.verify', async () => (async function* () {
    yield { subject: 'app:2.0', file: 'memory', sizeBytes: 4096, fault: null };
  })());
  const { status, stdout } = await bed.lull('verify', 'app:2.0', 'other', 'microvm-one');
  assert.deepEqual([status, stdout], [0, '1 files of 1 images and microVMs are whole\n']);
  const arn = (name: string) => `arn:aws:lambda:us-east-1:000000000000:microvm-image:${name}`;
  assert.deepEqual(bed.api.control.calls.at(-1)!.args[0], {
    images: [{ imageIdentifier: arn('app'), imageVersion: '2.0' }, { imageIdentifier: arn('other'), imageVersion: null }],
    microvms: ['microvm-one'],
  });
  const asJson = await bed.lull('verify', '--json', 'app:2.0');
  assert.deepEqual(JSON.parse(asJson.stdout), { files: [{ subject: 'app:2.0', file: 'memory', sizeBytes: 4096, fault: null }], faults: 0 });
});
