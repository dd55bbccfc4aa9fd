/** How a network connector is named in requests: contract reference, section 1.12. */
import type { Realm } from '../../domain/ids.ts';
import { connectorArn, customerConnectorOf, type NetworkConnector } from '../../domain/network-connector.ts';
import type { Store } from '../../domain/ports.ts';
import { connectorNotFound } from '../../domain/refusals.ts';

/** Where connectors are looked up. */
interface ConnectorPlaces {
  readonly store: { readonly connectors: Pick<Store['connectors'], 'find'> };
  readonly realm: Realm;
}

/**
 * Takes an ARN of this installation, whose last part is an id or a name, or an id or a name alone.
 * @throws LullError not-found
 */
export async function requireConnector({ store, realm }: ConnectorPlaces, identifier: string): Promise<NetworkConnector> {
  const id = customerConnectorOf(identifier) ?? identifier;
  const isOurs = id === identifier || identifier === connectorArn(realm, id);
  const connector = isOurs ? await store.connectors.find(id) : undefined;
  if (connector === undefined) throw connectorNotFound(identifier);
  return connector;
}
