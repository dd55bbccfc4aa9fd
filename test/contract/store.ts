/** What every {@link Store} must do, whatever it is made of. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import { connectorContract } from './store-connectors.ts';
import { imageContract } from './store-images.ts';
import { logContract } from './store-logs.ts';
import { microvmContract } from './store-microvms.ts';
import { objectContract } from './store-objects.ts';
import { roleContract } from './store-roles.ts';
import { uploadContract } from './store-uploads.ts';

/**
 * Runs the contract.
 * @param open makes an empty store; the test disposes of it
 */
export function storeContract(name: string, open: () => Promise<Store>): void {
  suite(`store over ${name}`, () => {
    suite('microvms', () => microvmContract(open));
    suite('images', () => imageContract(open));
    suite('connectors and tags', () => connectorContract(open));
    suite('objects', () => objectContract(open));
    suite('uploads', () => uploadContract(open));
    suite('logs', () => logContract(open));
    suite('roles', () => roleContract(open));

    test('access keys: kept, listed newest first, never replaced', async () => {
      await using store = await open();
      const first = { accessKeyId: 'AKIA1', secretAccessKey: 'secret', createdAtMs: 1, description: null, session: null };
      const second = { accessKeyId: 'AKIA2', secretAccessKey: 'other', createdAtMs: 1, description: null, session: null };
      await store.accessKeys.insert(first);
      await store.accessKeys.insert(second);
      assert.deepEqual(await store.accessKeys.get('AKIA1'), first);
      assert.equal(await store.accessKeys.get('AKIA3'), undefined);
      assert.deepEqual(await store.accessKeys.list(), [second, first]);
      const session = { roleArn: 'arn:aws:iam::000000000000:role/r', sessionName: 's', sessionToken: 't', expiresAtMs: 100, microvmId: 'microvm-1' };
      const temporary = { ...first, accessKeyId: 'ASIA1', session };
      const lasting = { ...first, accessKeyId: 'ASIA2', session: { ...session, expiresAtMs: 101, microvmId: 'microvm-2' } };
      await store.accessKeys.insert(temporary);
      await store.accessKeys.insert(lasting);
      assert.deepEqual(await store.accessKeys.get('ASIA1'), temporary);
      const newer = { ...temporary, accessKeyId: 'ASIA3' };
      await store.accessKeys.insert(newer);
      assert.deepEqual(await store.accessKeys.newestOf('microvm-1'), newer);
      assert.equal(await store.accessKeys.newestOf('microvm-3'), undefined);
      assert.deepEqual(await store.accessKeys.list(), [second, first], 'temporary keys are not listed');
      assert.equal(await store.accessKeys.revoke('ASIA1'), false, 'nor revoked as if they were the installation\'s');
      await store.accessKeys.removeExpired(100);
      assert.equal(await store.accessKeys.get('ASIA1'), undefined);
      assert.deepEqual(await store.accessKeys.get('ASIA2'), lasting);
      await store.accessKeys.revokeOf('microvm-2');
      assert.equal(await store.accessKeys.get('ASIA2'), undefined);
      assert.equal(await store.accessKeys.revoke('AKIA2'), true);
      assert.deepEqual(await store.accessKeys.list(), [first]);
      await assert.rejects(store.accessKeys.insert({ ...second, accessKeyId: 'AKIA1' }), { kind: 'conflict' });
      assert.deepEqual(await store.accessKeys.get('AKIA1'), first);
    });

    test('token keys: their bytes come back, newest first', async () => {
      await using store = await open();
      const keys = [1, 2].map((fill) => ({ kid: `key-${fill}`, key: Buffer.alloc(32, fill), createdAtMs: fill }));
      for (const key of keys) await store.tokenKeys.insert(key);
      assert.deepEqual(await store.tokenKeys.list(), keys.toReversed());
      await assert.rejects(store.tokenKeys.insert(keys[0]!), { kind: 'conflict' });
      await assert.rejects(store.tokenKeys.insert({ kid: 'short', key: Buffer.alloc(16), createdAtMs: 3 }));
    });

    test('a closed store says so', async () => {
      const store = await open();
      await store[Symbol.asyncDispose]();
      await assert.rejects(store.microvms.get('microvm-a'), /closed|destroyed/);
    });
  });
}
