/** The contract of `Store.connectors`, and of the tags of images. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import { connectorRecord, imageConfig, imageRecord, insertLaunchable, microvmRecord, versionRecord } from '../fakes/records.ts';

export function connectorContract(open: () => Promise<Store>): void {
  test('kept as they are, found by id before name, listed newest first by state and page', async () => {
    await using store = await open();
    const { connectors } = store;
    const a = connectorRecord('a');
    const confusing = connectorRecord('b', { name: a.connectorId });
    const pending = connectorRecord('c', { state: 'PENDING' });
    for (const one of [a, confusing, pending]) await connectors.insert(one);
    assert.deepEqual(await connectors.find('a'), a);
    assert.deepEqual(await connectors.find(a.connectorId), a);
    assert.equal(await connectors.find('none'), undefined);
    assert.deepEqual(await connectors.byClientToken('token-a'), a);
    assert.deepEqual((await connectors.list({ state: 'ACTIVE' }, { limit: 9 })).items, [confusing, a]);
    const first = await connectors.list({}, { limit: 2 });
    assert.deepEqual(first.items, [pending, confusing]);
    assert.deepEqual(await connectors.list({}, { limit: 2, after: first.next! }), { items: [a], next: null });
  });

  test('a name and a client token belong to one', async () => {
    await using store = await open();
    await store.connectors.insert(connectorRecord('a'));
    await assert.rejects(store.connectors.insert(connectorRecord('b', { name: 'a' })), { kind: 'conflict', message: /name 'a' already exists/ });
    await assert.rejects(store.connectors.insert(connectorRecord('b', { request: { clientToken: 'token-a', fingerprint: '' } })), { kind: 'conflict', message: /client token/ });
  });

  test('changed and removed while nothing uses it, and only then', async () => {
    await using store = await open();
    const { connectors, microvms, images } = store;
    const before = connectorRecord('a');
    const after = connectorRecord('a', { version: 2, lastUpdate: { reason: 'r', request: { clientToken: 't', fingerprint: 'f' } }, modifiedAtMs: 9 });
    const change = () => connectors.change(before.connectorId, () => after);
    await connectors.insert(before);
    const uses = { egressConnectors: [before.arn] };
    await insertLaunchable(store, 'app', { config: imageConfig(uses) });
    await microvms.insert(microvmRecord('one', uses));
    await assert.rejects(change(), { kind: 'conflict', message: /microvm-one/ });
    await assert.rejects(connectors.remove(before.connectorId), { kind: 'conflict', message: /microvm-one/ });
    assert.deepEqual(await connectors.change(before.connectorId, (unchanged) => unchanged), before);
    await microvms.apply('microvm-one', 'launchFailed');
    assert.deepEqual(await change(), after);
    assert.deepEqual(await connectors.find('a'), after);
    await assert.rejects(connectors.remove(before.connectorId), { kind: 'conflict', message: /version 1\.0 of the MicroVM image app/ });
    await images.remove('app');
    await connectors.remove(before.connectorId);
    assert.equal(await connectors.find('a'), undefined);
    await assert.rejects(connectors.remove(before.connectorId), { kind: 'not-found' });
    await assert.rejects(change(), { kind: 'not-found' });
  });

  test('nothing is written that uses one which is not there', async () => {
    await using store = await open();
    const uses = { egressConnectors: [connectorRecord('gone').arn] };
    const missing = { kind: 'not-found', message: `Network connector not found for: ${uses.egressConnectors[0]}` };
    await assert.rejects(store.microvms.insert(microvmRecord('one', uses)), missing);
    await assert.rejects(store.images.insert(imageRecord('app'), versionRecord('app', '1.0', { config: imageConfig(uses) })), missing);
    assert.equal(await store.images.get('app'), undefined);
    await store.images.insert(imageRecord('app', { state: 'CREATED' }), versionRecord('app'));
    await assert.rejects(store.images.addVersion(versionRecord('app', '2.0', { config: imageConfig(uses) }), 'UPDATING'), missing);
    assert.deepEqual([(await store.images.get('app'))?.state, await store.images.versionCount('app')], ['CREATED', 1]);
  });

  test('tags of connectors and images: changed in one step, untouched where the change is refused', async () => {
    await using store = await open();
    await store.connectors.insert(connectorRecord('a', { tags: { old: '1' } }));
    await store.images.insert(imageRecord('app', { tags: { old: '1' } }), versionRecord('app'));
    const refuse = () => {
      throw new Error('no');
    };
    const places = [
      { changed: store.connectors.changeTags.bind(store.connectors), name: connectorRecord('a').connectorId, kept: async () => (await store.connectors.find('a'))?.tags },
      { changed: store.images.changeTags.bind(store.images), name: 'app', kept: async () => (await store.images.get('app'))?.tags },
    ];
    for (const { changed, name, kept } of places) {
      assert.deepEqual(await changed(name, (tags) => ({ ...tags, new: '2' })), { old: '1', new: '2' });
      await assert.rejects(changed(name, refuse), /no/);
      assert.deepEqual(await kept(), { old: '1', new: '2' });
      assert.equal(await changed('none', refuse), undefined);
    }
  });
}
