import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createConnectorUseCases } from '../../../src/control/connectors/use-cases.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import type { ConnectorRepository } from '../../../src/domain/ports.ts';
import { openStore } from '../../../src/store/store.ts';
import { connectorRecord } from '../../fakes/records.ts';

test('an update keeps the tags that come while it is under way', async () => {
  await using store = await openStore({ path: ':memory:' });
  const { connectors } = store;
  const { connectorId } = connectorRecord('a');
  await connectors.insert(connectorRecord('a', { tags: { early: '1' } }));
  const tagged: ConnectorRepository = {
    insert: (connector) => connectors.insert(connector),
    byClientToken: (token) => connectors.byClientToken(token),
    list: (filter, page) => connectors.list(filter, page),
    change: (id, change) => connectors.change(id, change),
    remove: (id) => connectors.remove(id),
    changeTags: (id, change) => connectors.changeTags(id, change),
    find: async (name) => {
      const found = await connectors.find(name);
      await connectors.changeTags(connectorId, (tags) => ({ ...tags, late: '2' }));
      return found;
    },
  };
  const useCases = createConnectorUseCases({ store: { connectors: tagged }, clock: { nowMs: () => 9 }, random: { uuid: () => 'none' }, realm: DEFAULT_REALM });
  const updated = await useCases.update({ identifier: connectorId, configuration: null, operatorRole: 'arn:aws:iam::000000000000:role/other', clientToken: 't' });
  assert.deepEqual([updated.version, updated.tags], [2, { early: '1', late: '2' }]);
  assert.deepEqual(await connectors.find('a'), updated);
});
