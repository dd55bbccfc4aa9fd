import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BUILD_FAILURES, BuildFailure } from '../../../src/domain/image.ts';
import { imageRecord, microvmRecord, versionRecord } from '../../fakes/records.ts';
import { configInput, createInput, imagesBed, type ImagesBed } from './images-bed.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';
const update = (bed: ImagesBed, fields = {}) => bed.images.update({ imageIdentifier: ARN, config: configInput(), clientToken: null, ...fields });

async function updated(bed: ImagesBed): Promise<void> {
  await update(bed);
  (await bed.builder.next()).succeed();
  await bed.images.idle();
}

suite('updating an image', () => {
  test('adds a version that replaces everything, and the old one serves until it is there', async () => {
    await using bed = await imagesBed();
    await bed.images.create(createInput('app', { config: configInput({ description: 'old', environmentVariables: { A: '1' } }) }));
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    const { image, version } = await update(bed, { config: configInput({ minimumMemoryMib: 256 }) });
    assert.deepEqual([image.state, image.latestActiveVersion, version.version], ['UPDATING', '1.0', '2.0']);
    assert.deepEqual([version.config.description, version.config.environmentVariables, version.config.minimumMemoryMib], [null, null, 256]);
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    const after = await bed.images.get('app');
    assert.deepEqual([after.state, after.latestActiveVersion], ['UPDATED', '2.0']);
    const { items } = await bed.images.versions(ARN, { limit: 5 });
    assert.deepEqual(items.map((item) => [item.version, item.status]), [['2.0', 'ACTIVE'], ['1.0', 'ACTIVE']]);
  });

  test('a failed one leaves the previous version usable, and its number is not used again', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    await update(bed);
    (await bed.builder.next()).fail(new BuildFailure('CONTAINER_BUILD_FAILED', 'build'));
    await bed.images.idle();
    const image = await bed.images.get('app');
    assert.deepEqual([image.state, image.latestActiveVersion, image.latestFailedVersion], ['UPDATE_FAILED', '1.0', '2.0']);
    assert.equal((await bed.store.images.newestActive('app'))?.version, '1.0');
    assert.equal((await update(bed)).version.version, '3.0');
  });

  test('is refused while a build runs, for an unknown image, and for one of another account or region', async () => {
    await using bed = await imagesBed();
    await assert.rejects(update(bed), { kind: 'not-found', message: `MicroVMImage not found for MicroVMImageID: ${ARN}` });
    await bed.images.create(createInput('app'));
    await assert.rejects(update(bed), { kind: 'conflict', message: 'MicroVM Image is already in state: CREATING' });
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    await update(bed);
    await assert.rejects(update(bed), { kind: 'conflict', message: 'MicroVM Image is already in state: UPDATING' });
    for (const other of [ARN.replace('000000000000', '111111111111'), ARN.replace('us-east-1', 'eu-west-1')]) {
      await assert.rejects(update(bed, { imageIdentifier: other }), { kind: 'not-found' });
    }
    await assert.rejects(update(bed, { imageIdentifier: 'a b' }), { kind: 'validation', message: 'Invalid ARN format: a b' });
  });

  test('a client token: repeated while it builds is answered, not refused', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    const first = await update(bed, { clientToken: 'u' });
    const again = await update(bed, { clientToken: 'u' });
    assert.equal(again.version.version, first.version.version);
    await assert.rejects(update(bed, { clientToken: 'u', config: configInput({ description: 'x' }) }), { kind: 'conflict' });
    await assert.rejects(bed.images.create(createInput('app', { clientToken: 'u' })), { kind: 'conflict' });
  });
});

suite('the status of a version', () => {
  test('off and on again; the image names the newest that is on', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    await updated(bed);
    const set = async (version: string, status: 'ACTIVE' | 'INACTIVE') => (await bed.images.setVersionStatus(ARN, version, status)).image.latestActiveVersion;
    assert.equal(await set('2.0', 'INACTIVE'), '1.0');
    assert.equal((await bed.images.get('app')).latestActiveVersion, '1.0');
    assert.equal(await set('1.0', 'INACTIVE'), null);
    assert.equal(await bed.store.images.newestActive('app'), undefined);
    assert.equal(await set('1.0', 'ACTIVE'), '1.0');
    assert.equal(await set('2.0', 'ACTIVE'), '2.0');
    assert.equal(await set('2.0', 'ACTIVE'), '2.0');
  });

  test('refusals', async () => {
    await using bed = await imagesBed();
    await assert.rejects(bed.images.setVersionStatus(ARN, '1.0', 'ACTIVE'), { kind: 'not-found' });
    await bed.images.create(createInput('app'));
    await assert.rejects(bed.images.setVersionStatus(ARN, '1.0', 'ACTIVE'), { kind: 'conflict' });
    (await bed.builder.next()).fail(new BuildFailure('CONTAINER_BUILD_FAILED', 'build'));
    await bed.images.idle();
    await assert.rejects(bed.images.setVersionStatus(ARN, '1.0', 'ACTIVE'), { kind: 'validation' });
    const message = `MicroVMImage not found for MicroVMImage: ${ARN}, Version: 9.0`;
    await assert.rejects(bed.images.setVersionStatus(ARN, '9.0', 'ACTIVE'), { kind: 'not-found', message });
    await assert.rejects(bed.images.version(ARN, '9.0'), { kind: 'not-found', message });
  });
});

suite('deleting an image', () => {
  test('answers DELETING, then rows and files are gone and the name is free', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    await updated(bed);
    assert.equal((await bed.images.delete(ARN)).state, 'DELETING');
    await bed.images.idle();
    await assert.rejects(bed.images.get(ARN), { kind: 'not-found' });
    assert.equal(bed.builder.files.size, 0);
    assert.equal(bed.builder.removed.length, 2);
    assert.equal((await bed.images.create(createInput('app'))).version.version, '1.0');
  });

  test('is refused while its first build runs, while a microVM of it sleeps, and for an unknown one', async () => {
    await using bed = await imagesBed();
    await assert.rejects(bed.images.delete(ARN), { kind: 'not-found' });
    await bed.images.create(createInput('app'));
    await assert.rejects(bed.images.delete(ARN), { kind: 'validation', message: `Cannot delete MicroVM image in its current state: ${ARN}` });
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    const { snapshotId } = (await bed.images.version(ARN, '1.0')).version;
    await bed.store.microvms.insert(microvmRecord('a', { state: 'SUSPENDED', snapshotId }));
    await assert.rejects(bed.images.delete(ARN), { kind: 'validation', message: 'Cannot delete microvm image with running microvms.' });
    await bed.store.microvms.apply('microvm-a', 'terminate');
    await bed.store.microvms.apply('microvm-a', 'terminated');
    await bed.images.delete(ARN);
    await bed.images.idle();
    await assert.rejects(bed.images.delete(ARN), { kind: 'not-found', message: `MicroVMImage not found for MicroVMImageID: ${ARN}` });
  });

  test('ends the build of a new version', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    await update(bed);
    const build = await bed.builder.next();
    await bed.images.delete(ARN);
    await bed.images.idle();
    assert.ok(build.signal.aborted);
    assert.equal(bed.builder.files.size, 0);
    await assert.rejects(bed.images.get(ARN), { kind: 'not-found' });
  });

  test('files that cannot be removed make it DELETE_FAILED, from where it can be deleted again', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    bed.builder.removeError = new Error('busy');
    await bed.images.delete(ARN);
    await bed.images.idle();
    assert.equal((await bed.images.get(ARN)).state, 'DELETE_FAILED');
    assert.equal(await bed.store.images.newestActive('app'), undefined);
    await assert.rejects(update(bed), { kind: 'conflict' });
    bed.builder.removeError = undefined;
    await bed.images.delete(ARN);
    await bed.images.idle();
    await assert.rejects(bed.images.get(ARN), { kind: 'not-found' });
  });
});

suite('quotas of images', () => {
  test('images: one more than the quota is refused and leaves nothing; a deleted one makes room', async () => {
    await using bed = await imagesBed({ images: 2 });
    await bed.made('app');
    await bed.made('other');
    const refusal = { kind: 'quota-exceeded', quotaCode: 'LULL-IMAGES', message: 'The maximum number of MicroVM images (2) has been reached for this account.' };
    await assert.rejects(bed.images.create(createInput('third')), refusal);
    await assert.rejects(bed.images.create(createInput('app')), { kind: 'validation' });
    await assert.rejects(bed.images.get('third'), { kind: 'not-found' });
    await bed.images.delete('other');
    await bed.images.idle();
    await bed.made('third');
  });

  test('images: of many calls at once no more are accepted than there is room for', async () => {
    await using bed = await imagesBed({ images: 3, buildsWaiting: 20 });
    const results = await Promise.allSettled(Array.from({ length: 9 }, (_, n) => bed.images.create(createInput(`a${n}`))));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 3);
  });

  test('versions: one more than the quota is refused, and the image is as it was', async () => {
    await using bed = await imagesBed({ versionsPerImage: 1 });
    await bed.made('app');
    const refusal = { kind: 'quota-exceeded', quotaCode: 'LULL-IMAGE-VERSIONS', message: `The maximum number of versions (1) has been reached for the MicroVM image ${ARN}.` };
    const { config } = createInput('app');
    await assert.rejects(bed.images.update({ imageIdentifier: ARN, config, clientToken: null }), refusal);
    assert.equal((await bed.images.get('app')).state, 'CREATED');
    assert.equal((await bed.images.versions('app', { limit: 5 })).items.length, 1);
  });

  test('versions: one that is deleted makes room, also while a microVM rests on its files', async () => {
    await using bed = await imagesBed({ versionsPerImage: 2 });
    await bed.made('app');
    await updated(bed);
    const { snapshotId } = (await bed.images.version(ARN, '1.0')).version;
    await bed.store.microvms.insert(microvmRecord('a', { state: 'SUSPENDED', snapshotId }));
    await bed.images.deleteVersion(ARN, '1.0');
    await bed.images.idle();
    assert.ok(await bed.store.images.versionOfSnapshot(snapshotId));
    await updated(bed);
    await assert.rejects(update(bed), { kind: 'quota-exceeded' });
  });
});

suite('the end of a server', () => {
  test('an orderly one fails the running build and leaves the waiting one for the next start', async () => {
    await using bed = await imagesBed({ buildsAtOnce: 1, buildsWaiting: 1 });
    await bed.images.create(createInput('app'));
    await bed.images.create(createInput('next'));
    const running = await bed.builder.next();
    await bed.images[Symbol.asyncDispose]();
    assert.ok(running.signal.aborted);
    const { version } = await bed.images.version('app', '1.0');
    assert.equal(version.state, 'FAILED');
    assert.ok(version.build.stateReason?.startsWith(BUILD_FAILURES.INTERNAL_PLATFORM_ERROR));
    await assert.rejects(bed.images.create(createInput('late')), { kind: 'internal' });
    const restarted = bed.restart();
    await restarted.recover();
    const build = await bed.builder.next();
    assert.equal(build.request.imageName, 'next');
    build.succeed();
    await restarted.idle();
    assert.equal((await restarted.get('next')).state, 'CREATED');
  });

  test('a crash: builds under way are FAILED and their files gone, deletions are finished', async () => {
    await using bed = await imagesBed();
    const usable = versionRecord('app', '1.0', { state: 'SUCCESSFUL', status: 'ACTIVE' });
    await bed.store.images.insert(imageRecord('app', { state: 'CREATED', latestActiveVersion: '1.0' }), usable);
    await bed.store.images.addVersion(versionRecord('app', '2.0', { state: 'IN_PROGRESS' }), 'UPDATING');
    await bed.store.images.insert(imageRecord('first'), versionRecord('first', '1.0', { state: 'IN_PROGRESS' }));
    await bed.store.images.insert(imageRecord('old', { state: 'CREATED' }), versionRecord('old'));
    await bed.store.images.markDeleting('old', 1);
    for (const id of ['app-1.0', 'app-2.0', 'first-1.0', 'old-1.0']) bed.builder.files.add(`snapshot-${id}`);
    await bed.images.recover();
    await bed.images.idle();
    assert.deepEqual([...bed.builder.files], ['snapshot-app-1.0']);
    const app = await bed.images.version('app', '2.0');
    assert.deepEqual([app.image.state, app.image.latestActiveVersion, app.image.latestFailedVersion], ['UPDATE_FAILED', '1.0', '2.0']);
    assert.deepEqual([app.version.state, app.version.build.state], ['FAILED', 'FAILED']);
    assert.ok(app.version.build.stateReason?.startsWith(BUILD_FAILURES.INTERNAL_PLATFORM_ERROR));
    assert.equal((await bed.images.get('first')).state, 'CREATE_FAILED');
    await assert.rejects(bed.images.get('old'), { kind: 'not-found' });
  });
});
