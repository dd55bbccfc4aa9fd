/** Which network connectors a microVM or an image may name: contract reference, sections 5.7 and 1.6. */
import { managedConnectorArn, managedConnectorOf, type ManagedConnector, type Realm } from '../../domain/ids.ts';
import { customerConnectorOf } from '../../domain/network-connector.ts';
import { connectorMalformed, connectorUnknown } from '../../domain/refusals.ts';

type Direction = 'ingress' | 'egress';

/** What each direction is made of, its default first. ALL_INGRESS passes beside others: AWS refuses that later, for shell tokens. */
const MANAGED: { readonly [D in Direction]: readonly [ManagedConnector, ...ManagedConnector[]] } = {
  ingress: ['HTTP_INGRESS', 'ALL_INGRESS', 'SHELL_INGRESS', 'NO_INGRESS'],
  egress: ['INTERNET_EGRESS'],
};

const CONNECTOR_ARN = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:([0-9]{12}|aws):network-connector:\S+$/;

/** The connector of a direction for which nothing is said. */
export const defaultConnectors = (realm: Realm, direction: Direction): readonly string[] => [managedConnectorArn(realm, MANAGED[direction][0])];

/**
 * Checks the connectors that a caller names; an empty list means the same as none (section 1.3). Whether one that a customer
 * made exists, the store looks up as it writes the record.
 * @returns null where there are none
 * @throws LullError validation in AWS's words
 */
export function checkedConnectors(arns: readonly string[] | null, direction: Direction): readonly string[] | null {
  if (arns === null || arns.length === 0) return null;
  for (const arn of arns) {
    if (!CONNECTOR_ARN.test(arn)) throw connectorMalformed();
    const managed = managedConnectorOf(arn);
    const isKnown = managed === undefined ? direction === 'egress' && customerConnectorOf(arn) !== undefined : MANAGED[direction].includes(managed);
    if (!isKnown) throw connectorUnknown(arn);
  }
  return arns;
}
