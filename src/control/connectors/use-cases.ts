/** The five operations of network connectors: contract reference, section 1.12. */
import { isDeepStrictEqual } from 'node:util';
import type { Realm } from '../../domain/ids.ts';
import { CONNECTOR_REASONS, connectorArn, connectorId, type NetworkConnector } from '../../domain/network-connector.ts';
import type { Clock, Random, Store } from '../../domain/ports.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import type { ConnectorUseCases, CreateConnectorInput, UpdateConnectorInput } from '../control-plane.ts';
import { markOf, requireSameRequest } from '../client-request.ts';
import { changedTags } from '../tags.ts';
import { requireConnector } from './connector-lookup.ts';

export interface ConnectorPorts {
  readonly store: Pick<Store, 'connectors'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly realm: Realm;
}

/** Puts the use-cases together. Changes follow each other; what they must not contradict is checked in the store's transactions. */
export function createConnectorUseCases(ports: ConnectorPorts): ConnectorUseCases {
  const { connectors } = ports.store;
  const changes = new KeyedQueue();
  return {
    create: (input) => changes.run('connectors', () => create(ports, input)),
    get: (identifier) => requireConnector(ports, identifier),
    list: (filter, page) => connectors.list(filter, page),
    update: (input) => changes.run('connectors', () => update(ports, input)),
    delete: (identifier) =>
      changes.run('connectors', async () => {
        const connector = await requireConnector(ports, identifier);
        await connectors.remove(connector.connectorId);
        return { ...connector, state: 'DELETING' };
      }),
  };
}

async function create(ports: ConnectorPorts, input: CreateConnectorInput): Promise<NetworkConnector> {
  const { store, clock, random, realm } = ports;
  const request = markOf('CreateNetworkConnector', input);
  const earlier = await store.connectors.byClientToken(input.clientToken);
  if (earlier !== undefined) {
    requireSameRequest(request, earlier.request.fingerprint);
    return earlier;
  }
  const id = connectorId(random.uuid());
  const connector: NetworkConnector = {
    connectorId: id,
    arn: connectorArn(realm, id),
    name: input.name,
    state: 'ACTIVE',
    stateReason: CONNECTOR_REASONS.created,
    configuration: input.configuration,
    operatorRole: input.operatorRole,
    version: 1,
    lastUpdate: null,
    modifiedAtMs: clock.nowMs(),
    tags: changedTags({}, { add: input.tags }),
    request,
  };
  await store.connectors.insert(connector);
  return connector;
}

async function update(ports: ConnectorPorts, input: UpdateConnectorInput): Promise<NetworkConnector> {
  const { store, clock } = ports;
  const { connectorId: id } = await requireConnector(ports, input.identifier);
  const request = markOf('UpdateNetworkConnector', input);
  return store.connectors.change(id, (before) => {
    if (before.lastUpdate?.request.clientToken === input.clientToken) {
      requireSameRequest(request, before.lastUpdate.request.fingerprint);
      return before;
    }
    const configuration = input.configuration ?? before.configuration;
    const operatorRole = input.operatorRole ?? before.operatorRole;
    const isUnchanged = operatorRole === before.operatorRole && isDeepStrictEqual(configuration, before.configuration);
    return {
      ...before,
      configuration,
      operatorRole,
      version: isUnchanged ? before.version : before.version + 1,
      lastUpdate: { reason: isUnchanged ? CONNECTOR_REASONS.unchanged : CONNECTOR_REASONS.updated, request },
      modifiedAtMs: clock.nowMs(),
    };
  });
}
