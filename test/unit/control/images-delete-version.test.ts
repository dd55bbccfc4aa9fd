/** DeleteMicrovmImageVersion: contract reference, section 2.2. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BuildFailure } from '../../../src/domain/image.ts';
import { microvmRecord } from '../../fakes/records.ts';
import { configInput, createInput, imagesBed, type ImagesBed } from './images-bed.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';
const update = (bed: ImagesBed, clientToken: string | null = null) => bed.images.update({ imageIdentifier: ARN, config: configInput(), clientToken });

/** An image whose versions 1.0 and 2.0 are usable. */
async function twoVersions(): Promise<ImagesBed> {
  const bed = await imagesBed();
  await bed.made('app');
  await update(bed);
  (await bed.builder.next()).succeed();
  await bed.images.idle();
  return bed;
}

const versionsOf = async (bed: ImagesBed) => (await bed.images.versions(ARN, { limit: 9 })).items.map(({ version }) => version);

suite('deleting a version', () => {
  test('answers DELETING with the image UPDATING; then it is gone, and the image UPDATED', async () => {
    await using bed = await twoVersions();
    const { image, version } = await bed.images.deleteVersion(ARN, '2.0');
    assert.deepEqual([image.state, image.latestActiveVersion, version.version, version.state], ['UPDATING', '1.0', '2.0', 'DELETING']);
    await bed.images.idle();
    assert.equal((await bed.images.get(ARN)).state, 'UPDATED');
    assert.deepEqual(await versionsOf(bed), ['1.0']);
    const message = `MicroVMImage not found for MicroVMImage: ${ARN}, Version: 2.0`;
    await assert.rejects(bed.images.version(ARN, '2.0'), { kind: 'not-found', message });
    await assert.rejects(bed.images.deleteVersion(ARN, '2.0'), { kind: 'not-found', message });
    assert.deepEqual(bed.builder.removed, [version.snapshotId]);
    assert.equal((await update(bed)).version.version, '3.0', 'its number is not used again');
  });

  test('takes a failed version too', async () => {
    await using bed = await imagesBed();
    await bed.made('app');
    await update(bed);
    (await bed.builder.next()).fail(new BuildFailure('CONTAINER_BUILD_FAILED', 'container'));
    await bed.images.idle();
    assert.equal((await bed.images.get(ARN)).latestFailedVersion, '2.0');
    await bed.images.deleteVersion('app', '2.0');
    await bed.images.idle();
    const image = await bed.images.get(ARN);
    assert.deepEqual([image.state, image.latestActiveVersion, image.latestFailedVersion], ['UPDATED', '1.0', null]);
  });

  test('refusals: the last one, an unknown one, any while another is built', async () => {
    await using bed = await twoVersions();
    await assert.rejects(bed.images.deleteVersion(ARN, '9.0'), { kind: 'not-found' });
    await assert.rejects(bed.images.deleteVersion(`${ARN}x`, '1.0'), { kind: 'not-found' });
    await update(bed);
    const build = await bed.builder.next();
    await assert.rejects(bed.images.deleteVersion(ARN, '1.0'), { kind: 'conflict', message: 'MicroVM Image is already in state: UPDATING' });
    build.succeed();
    await bed.images.idle();
    for (const version of ['1.0', '2.0']) {
      await bed.images.deleteVersion(ARN, version);
      await bed.images.idle();
    }
    await assert.rejects(bed.images.deleteVersion(ARN, '3.0'), { kind: 'validation', message: 'This is the last version. Please delete the entire image' });
  });

  test('frees its client token, also that of the create', async () => {
    await using bed = await imagesBed();
    await bed.images.create(createInput('app', { clientToken: 'token' }));
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    await update(bed);
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    await bed.images.deleteVersion(ARN, '1.0');
    await bed.images.idle();
    assert.equal((await bed.images.create(createInput('other', { clientToken: 'token' }))).image.name, 'other');
    (await bed.builder.next()).succeed();
  });

  test('a store that cannot write for a while does not stop it', async () => {
    await using bed = await twoVersions();
    const retire = bed.store.images.retireVersion.bind(bed.store.images);
    let failures = 0;
    bed.store.images.retireVersion = async (...args) => {
      if ((failures += 1) < 3) throw new Error('database or disk is full');
      return retire(...args);
    };
    await bed.images.deleteVersion(ARN, '2.0');
    await bed.images.idle();
    assert.deepEqual([(await bed.images.get(ARN)).state, await versionsOf(bed), failures], ['UPDATED', ['1.0'], 3]);
    assert.deepEqual(bed.errors, []);
  });

  test('one that cannot be deleted is DELETE_FAILED with its image UPDATED, and can be deleted again', async () => {
    await using bed = await twoVersions();
    const retire = bed.store.images.retireVersion.bind(bed.store.images);
    bed.store.images.retireVersion = () => Promise.reject(new Error('database or disk is full'));
    await bed.images.deleteVersion(ARN, '2.0');
    await bed.images.idle();
    const { image, version } = await bed.images.version(ARN, '2.0');
    assert.deepEqual([image.state, image.latestActiveVersion, version.state], ['UPDATED', '1.0', 'DELETE_FAILED']);
    assert.ok(bed.builder.files.has(version.snapshotId));
    assert.deepEqual(bed.errors, ['image version could not be deleted']);
    await assert.rejects(bed.images.setVersionStatus(ARN, '2.0', 'INACTIVE').then(() => bed.images.setVersionStatus(ARN, '2.0', 'ACTIVE')), { kind: 'validation' });
    bed.store.images.retireVersion = retire;
    await bed.images.deleteVersion(ARN, '2.0');
    await bed.images.idle();
    assert.deepEqual([(await bed.images.get(ARN)).state, await versionsOf(bed)], ['UPDATED', ['1.0']]);
    assert.ok(!bed.builder.files.has(version.snapshotId));
  });

  test('while it goes, the image can be neither changed nor deleted, and no other version of it', async () => {
    await using bed = await twoVersions();
    await update(bed);
    const build = await bed.builder.next();
    build.ignoresAbort = true;
    await bed.images.deleteVersion(ARN, '3.0');
    const conflict = { kind: 'conflict', message: 'MicroVM Image is already in state: UPDATING' };
    for (const version of ['3.0', '1.0']) await assert.rejects(bed.images.deleteVersion(ARN, version), conflict);
    await assert.rejects(update(bed), conflict);
    await assert.rejects(bed.images.setVersionStatus(ARN, '1.0', 'INACTIVE'), conflict);
    await assert.rejects(bed.images.delete(ARN), { kind: 'validation', message: `Cannot delete MicroVM image in its current state: ${ARN}` });
    build.succeed();
    await bed.images.idle();
    assert.equal((await bed.images.get(ARN)).state, 'UPDATED');
    assert.deepEqual(await versionsOf(bed), ['2.0', '1.0'], 'what was built for it comes too late');
  });
});

suite('deleting a version that is built', () => {
  test('one that waits never begins, and nobody waits for its log any more', async () => {
    await using bed = await imagesBed({ buildsAtOnce: 1 });
    await bed.made('app');
    await bed.images.create(createInput('other'));
    await update(bed);
    const running = await bed.builder.next();
    const log = Array.fromAsync(await bed.images.buildEvents(ARN, '2.0', { follow: true, signal: new AbortController().signal }));
    await bed.images.deleteVersion(ARN, '2.0');
    assert.deepEqual(await log, []);
    running.succeed();
    await bed.images.idle();
    assert.equal(bed.builder.begun, 0);
    assert.deepEqual([(await bed.images.get(ARN)).state, await versionsOf(bed)], ['UPDATED', ['1.0']]);
  });

  test('one that runs is aborted, and its place comes free', async () => {
    await using bed = await imagesBed({ buildsAtOnce: 1, buildsWaiting: 1 });
    await bed.made('app');
    await update(bed);
    const build = await bed.builder.next();
    await bed.images.create(createInput('next'));
    await bed.images.deleteVersion(ARN, '2.0');
    const next = await bed.builder.next();
    assert.ok(build.signal.aborted);
    assert.equal(next.request.imageName, 'next');
    next.succeed();
    await bed.images.idle();
    const image = await bed.images.get(ARN);
    assert.deepEqual([image.state, image.latestActiveVersion, image.latestFailedVersion], ['UPDATED', '1.0', null]);
    assert.deepEqual(bed.errors, []);
  });
});

suite('the files of a deleted version', () => {
  const end = async (bed: ImagesBed, id: string, snapshotId: string) => {
    await bed.store.microvms.apply(id, 'terminate');
    await bed.store.microvms.apply(id, 'terminated');
    bed.images.microvmEnded(snapshotId);
    await bed.images.idle();
  };
  const asleep = async (bed: ImagesBed) => {
    const { snapshotId } = (await bed.images.version(ARN, '2.0')).version;
    for (const name of ['a', 'b']) await bed.store.microvms.insert(microvmRecord(name, { state: 'SUSPENDED', snapshotId, imageVersion: '2.0' }));
    await bed.images.deleteVersion(ARN, '2.0');
    await bed.images.idle();
    return snapshotId;
  };

  test('stay until the last microVM that rests on them has ended', async () => {
    await using bed = await twoVersions();
    const snapshotId = await asleep(bed);
    assert.deepEqual([(await bed.images.get(ARN)).state, await versionsOf(bed)], ['UPDATED', ['1.0']]);
    assert.ok(bed.builder.files.has(snapshotId));
    await end(bed, 'microvm-a', snapshotId);
    assert.ok(bed.builder.files.has(snapshotId));
    await end(bed, 'microvm-b', snapshotId);
    assert.ok(!bed.builder.files.has(snapshotId));
    assert.equal(await bed.store.images.versionOfSnapshot(snapshotId), undefined);
  });

  test('go at the next start where a server ended in between, or could not remove them', async () => {
    await using bed = await twoVersions();
    const snapshotId = await asleep(bed);
    await bed.images[Symbol.asyncDispose]();
    for (const id of ['microvm-a', 'microvm-b']) await end(bed, id, snapshotId);
    assert.ok(bed.builder.files.has(snapshotId), 'a server that stops removes nothing any more');
    const restarted = bed.restart();
    bed.builder.removeError = new Error('busy');
    await restarted.recover();
    await restarted.idle();
    assert.ok(bed.builder.files.has(snapshotId));
    bed.builder.removeError = undefined;
    await restarted.recover();
    await restarted.idle();
    assert.ok(!bed.builder.files.has(snapshotId));
  });

  test('a deletion that a crash cut off is finished at the next start', async () => {
    await using bed = await twoVersions();
    const { snapshotId } = (await bed.images.version(ARN, '2.0')).version;
    await bed.store.images.markVersionDeleting('app', '2.0', 1);
    await bed.images.recover();
    await bed.images.idle();
    assert.deepEqual([(await bed.images.get(ARN)).state, await versionsOf(bed)], ['UPDATED', ['1.0']]);
    assert.ok(!bed.builder.files.has(snapshotId));
  });
});
