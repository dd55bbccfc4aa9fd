/** The contract of `Store.images`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MICROVM_STATES } from '../../src/domain/microvm.ts';
import type { Store } from '../../src/domain/ports.ts';
import { imageConfig, imageRecord, LAUNCHABLE, microvmRecord, versionRecord } from '../fakes/records.ts';

export function imageContract(open: () => Promise<Store>): void {
  test('an image and its version come back the same', async () => {
    await using store = await open();
    const image = imageRecord('app', { tags: { team: 'a', '': 'ü' } });
    const version = versionRecord('app', '1.0', {
      config: imageConfig({
        description: 'd',
        logging: { cloudWatch: {} },
        cpuArchitectures: ['ARM_64'],
        additionalOsCapabilities: ['ALL'],
        hooks: { port: 9000, microvmHooks: { run: 'ENABLED', runTimeoutInSeconds: 3 }, microvmImageHooks: { ready: 'ENABLED' } },
        environmentVariables: { A: '1' },
      }),
      request: { clientToken: 'token', fingerprint: 'f' },
    });
    await store.images.insert(image, version);
    assert.deepEqual(await store.images.get('app'), image);
    assert.deepEqual(await store.images.version('app', '1.0'), version);
    assert.deepEqual(await store.images.versionByClientToken('token'), version);
  });

  test('what is not there is undefined', async () => {
    await using store = await open();
    assert.equal(await store.images.get('none'), undefined);
    assert.equal(await store.images.version('none', '1.0'), undefined);
    assert.equal(await store.images.versionByClientToken('none'), undefined);
    assert.equal(await store.images.versionOfSnapshot('none'), undefined);
    assert.equal(await store.images.newestActive('none'), undefined);
    assert.equal(await store.images.versionCount('none'), 0);
    assert.deepEqual(await store.images.versions('none', { limit: 5 }), { items: [], next: null });
    assert.deepEqual(await store.images.versionsInStates([]), []);
    assert.deepEqual(await store.images.inStates([]), []);
  });

  test('a taken name is refused in AWS’s words and leaves no version behind', async () => {
    await using store = await open();
    await store.images.insert(imageRecord('app'), versionRecord('app'));
    const again = store.images.insert(imageRecord('app', { id: 'other' }), versionRecord('app', '1.0', { snapshotId: 'other' }));
    await assert.rejects(again, { kind: 'validation', message: "A MicroVM image with the name 'app' already exists in this account" });
    assert.equal((await store.images.versions('app', { limit: 5 })).items.length, 1);
  });

  test('a taken client token is refused and inserts nothing', async () => {
    await using store = await open();
    const request = { clientToken: 'token', fingerprint: 'f' };
    await store.images.insert(imageRecord('app'), versionRecord('app', '1.0', { request }));
    const other = store.images.insert(imageRecord('other'), versionRecord('other', '1.0', { request }));
    await assert.rejects(other, { kind: 'conflict' });
    assert.equal(await store.images.get('other'), undefined);
    await assert.rejects(store.images.addVersion(versionRecord('app', '2.0', { request }), 'UPDATING'), { kind: 'conflict' });
    assert.equal((await store.images.get('app'))?.state, 'CREATING');
    assert.equal(await store.images.versionCount('app'), 1);
  });

  test('versions: added with the image’s state, counted, newest first', async () => {
    await using store = await open();
    await store.images.insert(imageRecord('app', { state: 'CREATED' }), versionRecord('app'));
    await store.images.insert(imageRecord('other'), versionRecord('other'));
    await store.images.addVersion(versionRecord('app', '2.0', { createdAtMs: 7 }), 'UPDATING');
    await store.images.addVersion(versionRecord('app', '3.0'), 'UPDATING');
    assert.equal((await store.images.get('app'))?.state, 'UPDATING');
    assert.equal(await store.images.versionCount('app'), 3);
    const first = await store.images.versions('app', { limit: 2 });
    assert.deepEqual(first.items.map(({ version }) => version), ['3.0', '2.0']);
    const second = await store.images.versions('app', { limit: 2, after: first.next! });
    assert.deepEqual(second.items.map(({ version }) => version), ['1.0']);
    assert.equal(second.next, null);
    await assert.rejects(store.images.addVersion(versionRecord('app', '3.0', { snapshotId: 's' }), 'UPDATING'), { kind: 'conflict' });
    await assert.rejects(store.images.addVersion(versionRecord('none'), 'UPDATING'), { kind: 'not-found' });
  });

  test('a change reaches image, version and build together, and what it leaves out stays', async () => {
    await using store = await open();
    const image = imageRecord('app');
    const version = versionRecord('app');
    await store.images.insert(image, version);
    const sizes = { memoryBytes: 1, codeBytes: 2, diskBytes: 3 };
    const changed = await store.images.update('app', '1.0', {
      from: ['PENDING'],
      atMs: 99,
      image: { state: 'CREATED' },
      version: { state: 'SUCCESSFUL', status: 'ACTIVE' },
      build: { state: 'SUCCESSFUL', sizes },
    });
    assert.equal(changed, true);
    assert.deepEqual(await store.images.get('app'), { ...image, state: 'CREATED', latestActiveVersion: '1.0', updatedAtMs: 99 });
    const after = await store.images.version('app', '1.0');
    assert.deepEqual(after, { ...version, state: 'SUCCESSFUL', status: 'ACTIVE', updatedAtMs: 99, build: { ...version.build, state: 'SUCCESSFUL', sizes } });
    await store.images.update('app', '1.0', { version: { status: 'INACTIVE' } });
    assert.deepEqual(await store.images.version('app', '1.0'), { ...after, status: 'INACTIVE' });
    await assert.rejects(store.images.update('app', '9.0', { image: { state: 'CREATE_FAILED' } }), { kind: 'not-found' });
    assert.equal((await store.images.get('app'))?.state, 'CREATED');
  });

  test('newestActive is the newest that is SUCCESSFUL and ACTIVE', async () => {
    await using store = await open();
    await store.images.insert(imageRecord('app'), versionRecord('app', '1.0', LAUNCHABLE));
    await store.images.addVersion(versionRecord('app', '2.0', LAUNCHABLE), 'UPDATED');
    await store.images.addVersion(versionRecord('app', '3.0', { ...LAUNCHABLE, status: 'INACTIVE' }), 'UPDATED');
    await store.images.addVersion(versionRecord('app', '4.0', { ...LAUNCHABLE, state: 'FAILED' }), 'UPDATE_FAILED');
    assert.equal((await store.images.newestActive('app'))?.version, '2.0');
    await store.images.update('app', '2.0', { version: { status: 'INACTIVE' } });
    assert.equal((await store.images.newestActive('app'))?.version, '1.0');
    await store.images.update('app', '1.0', { version: { status: 'INACTIVE' } });
    assert.equal(await store.images.newestActive('app'), undefined);
  });

  test('listings: newest first, and the name filter is a plain substring', async () => {
    await using store = await open();
    for (const name of ['a_1', 'ab1', 'A_2', 'zz']) await store.images.insert(imageRecord(name), versionRecord(name));
    const names = async (nameFilter?: string) => (await store.images.list({ nameFilter }, { limit: 10 })).items.map(({ name }) => name);
    assert.deepEqual(await names(), ['zz', 'A_2', 'ab1', 'a_1']);
    assert.deepEqual(await names('_'), ['A_2', 'a_1']);
    assert.deepEqual(await names('a'), ['ab1', 'a_1']);
    assert.deepEqual(await names('%'), []);
    const first = await store.images.list({}, { limit: 3 });
    assert.deepEqual((await store.images.list({}, { limit: 3, after: first.next! })).items.map(({ name }) => name), ['a_1']);
  });

  test('unfinished work is found over all images', async () => {
    await using store = await open();
    await store.images.insert(imageRecord('a'), versionRecord('a', '1.0', { state: 'IN_PROGRESS' }));
    await store.images.insert(imageRecord('b', { state: 'DELETING' }), versionRecord('b', '1.0', { state: 'FAILED' }));
    assert.deepEqual((await store.images.versionsInStates(['PENDING', 'IN_PROGRESS'])).map(({ imageName }) => imageName), ['a']);
    assert.deepEqual((await store.images.inStates(['DELETING'])).map(({ name }) => name), ['b']);
  });

  test('markDeleting: not while the first build runs, a version goes, or anything needs the snapshot; once more is no harm', async () => {
    await using store = await open();
    assert.equal(await store.images.markDeleting('none', 5), 'absent');
    await store.images.insert(imageRecord('first', { state: 'CREATING' }), versionRecord('first'));
    assert.equal(await store.images.markDeleting('first', 5), 'busy');
    await store.images.insert(imageRecord('draining', { state: 'UPDATING' }), versionRecord('draining', '1.0', { state: 'DELETING' }));
    assert.equal(await store.images.markDeleting('draining', 5), 'busy');
    await store.images.insert(imageRecord('updating', { state: 'UPDATING' }), versionRecord('updating', '1.0', { state: 'IN_PROGRESS' }));
    assert.equal(await store.images.markDeleting('updating', 5), 'deleting');
    await store.images.insert(imageRecord('app', { state: 'UPDATE_FAILED' }), versionRecord('app'));
    for (const state of MICROVM_STATES) {
      const image = imageRecord(`of-${state}`, { state: 'CREATED' });
      await store.images.insert(image, versionRecord(image.name, '1.0', LAUNCHABLE));
      await store.microvms.insert(microvmRecord(state, { state, imageName: image.name, imageArn: image.imageArn, snapshotId: `snapshot-${image.name}-1.0` }));
      assert.equal(await store.images.markDeleting(image.name, 5), state === 'TERMINATED' ? 'deleting' : 'in-use');
    }
    assert.equal(await store.images.markDeleting('app', 5), 'deleting');
    assert.equal(await store.images.markDeleting('app', 6), 'deleting');
    assert.equal((await store.images.get('app'))?.updatedAtMs, 5);
    assert.equal((await store.images.version('app', '1.0'))?.state, 'DELETING');
  });

  const threeVersions = async (store: Store): Promise<void> => {
    await store.images.insert(imageRecord('app', { state: 'CREATED', latestActiveVersion: '1.0' }), versionRecord('app', '1.0', LAUNCHABLE));
    await store.images.addVersion(versionRecord('app', '2.0', { state: 'FAILED', request: { clientToken: 'token', fingerprint: 'f' } }), 'UPDATE_FAILED');
    await store.images.addVersion(versionRecord('app', '3.0', LAUNCHABLE), 'UPDATED');
  };

  test('a version is marked and retired: the image is UPDATING, then UPDATED, and its latest versions follow', async () => {
    await using store = await open();
    await threeVersions(store);
    const latest = async () => {
      const { state, latestActiveVersion, latestFailedVersion } = (await store.images.get('app'))!;
      return [state, latestActiveVersion, latestFailedVersion];
    };
    assert.equal(await store.images.markVersionDeleting('app', '3.0', 7), 'deleting');
    assert.deepEqual(await latest(), ['UPDATING', '1.0', '2.0']);
    assert.deepEqual((await store.images.version('app', '3.0'))?.state, 'DELETING');
    assert.equal((await store.images.newestActive('app'))?.version, '1.0');
    assert.equal(await store.images.markVersionDeleting('app', '3.0', 8), 'busy');
    assert.equal(await store.images.markVersionDeleting('app', '2.0', 8), 'busy');
    await store.images.retireVersion('snapshot-app-3.0', 9);
    assert.deepEqual(await latest(), ['UPDATED', '1.0', '2.0']);
    assert.equal((await store.images.get('app'))?.updatedAtMs, 9);
    await store.images.markVersionDeleting('app', '2.0', 10);
    await store.images.retireVersion('snapshot-app-2.0', 11);
    assert.deepEqual(await latest(), ['UPDATED', '1.0', null]);
    assert.equal(await store.images.versionByClientToken('token'), undefined);
    assert.equal(await store.images.markVersionDeleting('app', '1.0', 12), 'last');
    assert.equal(await store.images.markVersionDeleting('app', '2.0', 12), 'absent');
    assert.equal(await store.images.markVersionDeleting('none', '1.0', 12), 'absent');
  });

  test('a version goes while its own build waits or runs, not while another is under way', async () => {
    await using store = await open();
    await threeVersions(store);
    for (const [number, state] of [['4.0', 'PENDING'], ['5.0', 'IN_PROGRESS']] as const) {
      await store.images.addVersion(versionRecord('app', number, { state }), 'UPDATING');
      assert.equal(await store.images.markVersionDeleting('app', '1.0', 7), 'busy');
      assert.equal(await store.images.markVersionDeleting('app', number, 7), 'deleting');
      const late = { from: ['PENDING', 'IN_PROGRESS'], version: { state: 'SUCCESSFUL' }, image: { state: 'UPDATED' } } as const;
      assert.equal(await store.images.update('app', number, late), false);
      assert.equal((await store.images.version('app', number))?.state, 'DELETING');
      await store.images.retireVersion(`snapshot-app-${number}`, 8);
    }
    assert.equal((await store.images.get('app'))?.state, 'UPDATED');
  });

  test('a version that is DELETED is found by its files alone, and is in use until the last microVM has ended', async () => {
    await using store = await open();
    await threeVersions(store);
    const snapshotId = 'snapshot-app-3.0';
    await store.microvms.insert(microvmRecord('a', { snapshotId, imageVersion: '3.0', state: 'SUSPENDED' }));
    assert.equal(await store.images.isUnused(snapshotId), false);
    await store.images.markVersionDeleting('app', '3.0', 7);
    await assert.rejects(store.microvms.insert(microvmRecord('b', { snapshotId, imageVersion: '3.0' })), { kind: 'not-found', message: /and version 3\.0$/ });
    await store.images.retireVersion(snapshotId, 8);
    await assert.rejects(store.microvms.insert(microvmRecord('b', { snapshotId, imageVersion: '3.0' })), { kind: 'not-found' });
    assert.equal(await store.images.version('app', '3.0'), undefined);
    assert.deepEqual((await store.images.versions('app', { limit: 5 })).items.map(({ version }) => version), ['2.0', '1.0']);
    assert.equal((await store.images.versionOfSnapshot(snapshotId))?.version, '3.0');
    assert.deepEqual((await store.images.versionsInStates(['DELETED'])).map(({ version }) => version), ['3.0']);
    assert.equal(await store.images.isUnused(snapshotId), false);
    await store.microvms.apply('microvm-a', 'terminate');
    assert.equal(await store.images.isUnused(snapshotId), false);
    await store.microvms.apply('microvm-a', 'terminated');
    assert.equal(await store.images.isUnused(snapshotId), true);
    await store.images.removeVersion('snapshot-app-1.0');
    await store.images.removeVersion(snapshotId);
    assert.equal(await store.images.versionOfSnapshot(snapshotId), undefined);
    assert.ok(await store.images.version('app', '1.0'));
    await store.images.addVersion(versionRecord('app', '4.0'), 'UPDATING');
    assert.equal(await store.images.versionCount('app'), 4);
  });

  test('remove takes the versions along and frees name and client token', async () => {
    await using store = await open();
    const request = { clientToken: 'token', fingerprint: 'f' };
    await store.images.insert(imageRecord('app'), versionRecord('app', '1.0', { request }));
    await store.images.remove('app');
    assert.equal(await store.images.get('app'), undefined);
    assert.equal(await store.images.version('app', '1.0'), undefined);
    await store.images.insert(imageRecord('app'), versionRecord('app', '1.0', { request }));
    await store.images.remove('none');
  });
}
