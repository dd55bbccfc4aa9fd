/** Handlers of the network connectors: contract reference, section 1.12. Timestamps are texts here, and nothing is null. */
import { MAX_CONNECTOR_PAGE } from '../contract/connectors.ts';
import type { OperationAnswer, OperationInput, OperationName } from '../contract/operations.ts';
import type { NetworkConnector, VpcEgressConfiguration } from '../domain/network-connector.ts';
import type { HandlersOf } from './handlers.ts';
import { nextToken, pageRequest } from './page-token.ts';

type ConnectorOperation = Extract<OperationName, `${string}NetworkConnector${string}`>;

const configurationOf = (wire: OperationInput<'CreateNetworkConnector'>['Configuration']): VpcEgressConfiguration => ({
  subnetIds: wire.SubnetIds,
  securityGroupIds: wire.SecurityGroupIds,
  networkProtocol: wire.NetworkProtocol,
});

const renderIdentity = ({ arn, name, connectorId }: NetworkConnector) => ({ Arn: arn, Name: name, Id: connectorId });

const renderSettings = ({ configuration, operatorRole, state }: NetworkConnector) => ({
  Configuration: {
    VpcEgressConfiguration: {
      SubnetIds: [...configuration.subnetIds],
      SecurityGroupIds: [...configuration.securityGroupIds],
      NetworkProtocol: configuration.networkProtocol,
      AssociatedComputeResourceTypes: ['MicroVm' as const],
    },
  },
  OperatorRole: operatorRole,
  State: state,
});

const renderConnector = (connector: NetworkConnector): OperationAnswer<'CreateNetworkConnector'> => ({
  ...renderIdentity(connector),
  ...renderSettings(connector),
});

const renderUpdated = (connector: NetworkConnector): OperationAnswer<'UpdateNetworkConnector'> => ({
  ...renderConnector(connector),
  ...(connector.lastUpdate === null
    ? {}
    : { LastUpdateStatus: 'Successful' as const, LastUpdateStatusReason: connector.lastUpdate.reason }),
  LastModified: new Date(connector.modifiedAtMs).toISOString(),
});

export const connectorHandlers: HandlersOf<ConnectorOperation> = {
  async CreateNetworkConnector(input, { control }) {
    const connector = await control.connectors.create({
      name: input.Name,
      configuration: configurationOf(input.Configuration),
      operatorRole: input.OperatorRole,
      tags: input.Tags ?? {},
      clientToken: input.ClientToken,
    });
    return renderConnector(connector);
  },

  async GetNetworkConnector({ Identifier }, { control }) {
    const connector = await control.connectors.get(Identifier);
    return { ...renderUpdated(connector), Version: connector.version, StateReason: connector.stateReason };
  },

  async ListNetworkConnectors({ State, Marker, MaxItems }, { control }) {
    const listing = 'ListNetworkConnectors';
    const maxResults = Math.min(MaxItems ?? MAX_CONNECTOR_PAGE, MAX_CONNECTOR_PAGE);
    const page = await control.connectors.list({ state: State }, pageRequest(listing, { maxResults, nextToken: Marker }));
    const NetworkConnectors = page.items.map((connector) => ({
      ...renderIdentity(connector),
      Type: 'VPC_EGRESS' as const,
      State: connector.state,
      LastModified: new Date(connector.modifiedAtMs).toISOString(),
    }));
    const NextMarker = nextToken(listing, page.next);
    return NextMarker === null ? { NetworkConnectors } : { NetworkConnectors, NextMarker };
  },

  async UpdateNetworkConnector(input, { control }) {
    const connector = await control.connectors.update({
      identifier: input.Identifier,
      configuration: input.Configuration === null ? null : configurationOf(input.Configuration),
      operatorRole: input.OperatorRole,
      clientToken: input.ClientToken,
    });
    return renderUpdated(connector);
  },

  async DeleteNetworkConnector({ Identifier }, { control }) {
    return renderConnector(await control.connectors.delete(Identifier));
  },
};
