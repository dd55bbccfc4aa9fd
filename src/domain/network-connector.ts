/** Network connectors that a customer makes: contract reference, section 1.12. */
import { managedConnectorOf, type Realm } from './ids.ts';
import type { ClientRequest } from './image.ts';

/** Section 1.12. Nothing has to be set up here, so one is ACTIVE as soon as it is made, and gone as soon as it is deleted. */
export const CONNECTOR_STATES = ['PENDING', 'ACTIVE', 'INACTIVE', 'FAILED', 'DELETING', 'DELETE_FAILED'] as const;
export type ConnectorState = (typeof CONNECTOR_STATES)[number];

/** Where traffic of microVMs is to leave: the one kind of connector there is. */
export interface VpcEgressConfiguration {
  readonly subnetIds: readonly string[];
  readonly securityGroupIds: readonly string[];
  readonly networkProtocol: 'IPv4' | 'DualStack';
}

/** Section 1.12. */
export const CONNECTOR_REASONS = {
  created: 'Initial creation',
  unchanged: 'No configuration changes detected',
  /** Ours. */
  updated: 'Configuration updated',
} as const;

/** One connector as the store keeps it. Times are milliseconds since the epoch. */
export interface NetworkConnector {
  /** `nc-<uuid>`. */
  readonly connectorId: string;
  readonly arn: string;
  readonly name: string;
  readonly state: ConnectorState;
  readonly stateReason: string;
  readonly configuration: VpcEgressConfiguration;
  readonly operatorRole: string;
  /** Counts up with every change. */
  readonly version: number;
  /** How the last update went; null before the first. */
  readonly lastUpdate: { readonly reason: string; readonly request: ClientRequest } | null;
  readonly modifiedAtMs: number;
  readonly tags: Readonly<Record<string, string>>;
  /** The call that made it. */
  readonly request: ClientRequest;
}

/** A connector's id from a fresh uuid. */
export const connectorId = (uuid: string) => `nc-${uuid}`;

/** Section 2.1. */
export const connectorArn = (realm: Realm, id: string) => `arn:aws:lambda:${realm.region}:${realm.account}:network-connector:${id}`;

const CONNECTOR_ARN = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:network-connector:([a-zA-Z0-9_-]{1,64})$/;

/** Id or name in the ARN of a customer's connector; undefined where it is the ARN of something else, or of a managed one. */
export const customerConnectorOf = (arn: string): string | undefined => CONNECTOR_ARN.exec(arn)?.[1];

/** What a microVM's own connections reach: the world outside, or nothing (section 5.8). */
export type Egress = 'internet' | 'none';

/** How a microVM's card is connected to the world outside. */
export type GuestNetwork =
  | { readonly kind: 'none' }
  /**
   * A tap that is made with the VMM, as root, and gone with it: the host routes the guest's address to it. The guest asks for `gateway`,
   * which nobody has.
   */
  | { readonly kind: 'routed'; readonly device: string; readonly guestAddress: string; readonly gateway: string };

/** A customer's own connector leads nowhere yet. */
export const egressOf = (connectors: readonly string[]): Egress => (connectors.some((arn) => managedConnectorOf(arn) === 'INTERNET_EGRESS') ? 'internet' : 'none');
