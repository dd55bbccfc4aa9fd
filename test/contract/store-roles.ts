/** The contract of `Store.roles`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../src/domain/ports.ts';
import type { Role } from '../../src/domain/role.ts';

const role = (roleName: string, path = '/team/'): Role => ({
  roleName,
  roleId: `AROA-${roleName}`,
  path,
  description: null,
  maxSessionSeconds: 3600,
  createdAtMs: 1,
  trustPolicy: '{}',
  inlinePolicies: { p: '{"Statement":[]}' },
  attachedPolicies: ['arn:aws:iam::aws:policy/ReadOnlyAccess'],
  tags: { team: 'ü' },
});

export function roleContract(open: () => Promise<Store>): void {
  test('a role comes back the same, by its name in any case; a taken name changes nothing', async () => {
    await using store = await open();
    assert.equal(await store.roles.insert(role('App')), 'created');
    assert.equal(await store.roles.insert({ ...role('aPP'), description: 'other' }), 'exists');
    assert.deepEqual(await store.roles.get('app'), role('App'));
    assert.equal(await store.roles.get('ap'), undefined);
  });

  test('replace writes all of it, and remove takes it away', async () => {
    await using store = await open();
    await store.roles.insert(role('app'));
    const changed = { ...role('app'), description: 'new', inlinePolicies: {}, attachedPolicies: [], tags: {} };
    await store.roles.replace(changed);
    assert.deepEqual(await store.roles.get('app'), changed);
    await store.roles.remove('app');
    assert.equal(await store.roles.get('app'), undefined);
    await store.roles.remove('app');
  });

  test('listings: by name, page by page, below a path', async () => {
    await using store = await open();
    for (const name of ['c', 'A', 'b']) await store.roles.insert(role(name));
    await store.roles.insert(role('aa', '/other/'));
    const filter = { pathPrefix: '/team/' };
    const first = await store.roles.list(filter, { limit: 2 });
    assert.deepEqual(first.items.map(({ roleName }) => roleName), ['A', 'b']);
    const second = await store.roles.list(filter, { limit: 2, after: first.next! });
    assert.deepEqual([second.items.map(({ roleName }) => roleName), second.next], [['c'], null]);
  });
}
