/** A version holds the code that it was made from, and can be made again from it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configInput, createInput, imagesBed, type ImagesBed } from './images-bed.ts';

/** The blobs of images, which are no object's. */
async function held({ store }: ImagesBed): Promise<readonly string[]> {
  const object = await store.objects.get('artifacts', 'app.zip');
  return (await store.objects.blobIds()).filter((blobId) => blobId !== object?.blobId);
}

test('a version is made again from its own code and configuration, whatever has become of the object', async () => {
  await using bed = await imagesBed();
  await bed.images.create(createInput('app', { config: configInput({ environmentVariables: { A: 'first' } }) }));
  const first = await bed.builder.next();
  assert.equal(first.artifact, 'zip');
  first.succeed();
  await bed.images.idle();
  await bed.upload('app.zip', 'another zip');
  await bed.images.update({ imageIdentifier: 'app', config: configInput(), clientToken: null });
  (await bed.builder.next()).succeed();
  await bed.images.idle();
  for (const blob of await bed.store.objects.delete('artifacts', ['app.zip'])) await bed.blobs.remove(blob);

  const { version } = await bed.images.rebuild({ imageIdentifier: 'app', imageVersion: '1.0' });
  const again = await bed.builder.next();
  assert.deepEqual([again.artifact, again.request.config.environmentVariables], ['zip', { A: 'first' }]);
  assert.deepEqual([version.version, (await bed.images.get('app')).state], ['3.0', 'UPDATING']);
  again.succeed();
  await bed.images.idle();
  assert.equal((await bed.images.get('app')).latestActiveVersion, '3.0');

  await bed.images.rebuild({ imageIdentifier: 'app', imageVersion: null });
  const newest = await bed.builder.next();
  assert.equal(newest.artifact, 'zip');
  newest.succeed();
  await bed.images.idle();
});

test('the code goes with its version: with a deleted one, and with the image', async () => {
  await using bed = await imagesBed();
  await bed.made('app');
  const [first] = await held(bed);
  await bed.images.rebuild({ imageIdentifier: 'app', imageVersion: null });
  (await bed.builder.next()).succeed();
  await bed.images.idle();
  assert.equal((await held(bed)).length, 2);
  await bed.images.deleteVersion('app', '1.0');
  await bed.images.idle();
  const [second] = await held(bed);
  assert.ok(second !== undefined && second !== first);
  await assert.rejects(bed.blobs.read(first!).toArray(), { code: 'ENOENT' });
  await bed.images.delete('app');
  await bed.images.idle();
  assert.deepEqual(await held(bed), []);
  await assert.rejects(bed.blobs.read(second).toArray(), { code: 'ENOENT' });
});

test('what cannot be made again is refused, and leaves nothing', async () => {
  await using bed = await imagesBed();
  await assert.rejects(bed.images.rebuild({ imageIdentifier: 'app', imageVersion: null }), { kind: 'not-found' });
  await bed.images.create(createInput('app', { config: configInput({ codeArtifactUri: 's3://artifacts/none.zip' }) }));
  await bed.images.idle();
  await assert.rejects(bed.images.rebuild({ imageIdentifier: 'app', imageVersion: '1.0' }), {
    kind: 'validation',
    message: 'The code of version 1.0 of the image app was not kept: build a new one from its folder (`lull build`, or UpdateMicrovmImage).',
  });
  await assert.rejects(bed.images.rebuild({ imageIdentifier: 'app', imageVersion: '7.0' }), { kind: 'not-found' });
  await bed.images.update({ imageIdentifier: 'app', config: configInput(), clientToken: null });
  const building = await bed.builder.next();
  const before = await held(bed);
  await assert.rejects(bed.images.rebuild({ imageIdentifier: 'app', imageVersion: '2.0' }), { kind: 'conflict' });
  assert.deepEqual(await held(bed), before);
  building.succeed();
  await bed.images.idle();
});
