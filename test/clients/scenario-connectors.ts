/** Network connectors (Lambda Core): AWS publishes no JavaScript client for them. */
import type { Json } from './client.ts';
import { recorded, type Step } from './scenario-run.ts';

const core = { service: 'lambda-core' } as const;
const Identifier = '${connectorId}';
const timestamp: Json = { $is: 'timestamp' };

const MISSING = 'arn:aws:lambda:${region}:${account}:network-connector:nc-00000000-0000-4000-8000-000000000000';

const CONFIGURATION: Json = {
  VpcEgressConfiguration: { SubnetIds: ['subnet-0a1b2c'], SecurityGroupIds: ['sg-0a1b2c'], NetworkProtocol: 'IPv4', AssociatedComputeResourceTypes: ['MicroVm'] },
};
const CHANGED: Json = {
  VpcEgressConfiguration: { SubnetIds: ['subnet-0a1b2c', 'subnet-3d4e5f'], SecurityGroupIds: [], NetworkProtocol: 'DualStack', AssociatedComputeResourceTypes: ['MicroVm'] },
};
const CREATE = {
  Name: 'exit-${client}',
  Configuration: CONFIGURATION,
  OperatorRole: 'arn:aws:iam::${account}:role/build-${client}',
  ClientToken: 'connect-${client}',
  Tags: { team: 'red' },
} satisfies Record<string, Json>;
const { ClientToken: _token, Tags: _tags, ...SHOWN } = CREATE;

export const CONNECTORS: readonly Step[] = [
  {
    id: 'make a connector',
    ...core,
    operation: 'CreateNetworkConnector',
    input: CREATE,
    expect: { ...SHOWN, Id: { $matches: '^nc-[0-9a-f-]{36}$' }, Arn: { $is: 'string' }, State: { $in: ['PENDING', 'ACTIVE'] } },
    save: { connectorId: 'Id', connectorArn: 'Arn' },
  },
  { id: 'make it again with its token', ...core, operation: 'CreateNetworkConnector', input: CREATE, expect: { Id: '${connectorId}' } },
  {
    id: 'make another of its name',
    ...core,
    operation: 'CreateNetworkConnector',
    input: { ...CREATE, ClientToken: 'again-${client}' },
    error: { type: 'ResourceConflictException', status: 409, message: { $matches: 'exit-${client}' } },
  },
  {
    id: 'make one without a role',
    ...core,
    operation: 'CreateNetworkConnector',
    input: { Name: 'never', Configuration: CONFIGURATION },
    error: { type: 'InvalidParameterValueException', status: 400, message: 'OperatorRole is a required field' },
  },
  {
    id: 'the connector is there',
    ...core,
    operation: 'GetNetworkConnector',
    input: { Identifier },
    expect: { ...SHOWN, Id: '${connectorId}', Arn: '${connectorArn}', State: 'ACTIVE', StateReason: 'Initial creation', LastModified: timestamp },
    repeat: true,
  },
  {
    id: 'connectors',
    ...core,
    operation: 'ListNetworkConnectors',
    input: { State: 'ACTIVE', MaxItems: 50 },
    expect: { NetworkConnectors: { $has: { Id: '${connectorId}', Arn: '${connectorArn}', Name: 'exit-${client}', Type: 'VPC_EGRESS', State: 'ACTIVE', LastModified: timestamp } } },
  },
  {
    id: 'make a second connector',
    ...core,
    operation: 'CreateNetworkConnector',
    input: { ...CREATE, Name: 'spare-${client}', ClientToken: 'spare-${client}' },
    save: { spareConnectorId: 'Id' },
  },
  {
    id: 'connectors, page by page',
    ...core,
    operation: 'ListNetworkConnectors',
    input: { MaxItems: 1 },
    expect: { NetworkConnectors: { $size: 1 }, NextMarker: { $is: 'string' } },
    save: { nextConnectors: 'NextMarker' },
  },
  { id: 'the next page of connectors', ...core, operation: 'ListNetworkConnectors', input: { MaxItems: 1, Marker: '${nextConnectors}' }, expect: { NetworkConnectors: { $size: 1 } } },
  {
    id: 'an update that changes nothing',
    ...core,
    operation: 'UpdateNetworkConnector',
    input: { Identifier, OperatorRole: CREATE.OperatorRole, Configuration: CONFIGURATION },
    expect: { Id: '${connectorId}', State: 'ACTIVE', LastUpdateStatus: 'Successful', LastUpdateStatusReason: 'No configuration changes detected' },
  },
  {
    id: 'change the connector',
    ...core,
    operation: 'UpdateNetworkConnector',
    input: { Identifier, Configuration: CHANGED, OperatorRole: CREATE.OperatorRole, ClientToken: 'change-${client}' },
    expect: { Id: '${connectorId}', Arn: '${connectorArn}', Name: 'exit-${client}', Configuration: CHANGED, LastUpdateStatus: 'Successful', LastModified: timestamp },
  },
  {
    id: 'the changed connector',
    ...core,
    operation: 'GetNetworkConnector',
    input: { Identifier: '${connectorArn}' },
    expect: { Configuration: CHANGED, LastUpdateStatus: 'Successful', LastUpdateStatusReason: { $is: 'string' } },
  },
  ...['GetNetworkConnector', 'UpdateNetworkConnector', 'DeleteNetworkConnector'].map(
    (operation): Step => ({ id: `${operation} of none`, ...core, operation, input: { Identifier: MISSING }, error: recorded('connector not found', { arn: MISSING }) }),
  ),
  ...['GetNetworkConnector', 'UpdateNetworkConnector', 'DeleteNetworkConnector'].map(
    (operation): Step => ({
      id: `${operation} of an identifier that is too long`,
      ...core,
      operation,
      input: { Identifier: 'n'.repeat(141) },
      error: { type: 'InvalidParameterValueException', status: 400, message: { $matches: 'length less than or equal to 140$' } },
    }),
  ),
  {
    id: 'connectors, too many at once',
    ...core,
    operation: 'ListNetworkConnectors',
    input: { MaxItems: 101 },
    error: { type: 'InvalidParameterValueException', status: 400, message: { $matches: 'value less than or equal to 100$' } },
  },
  {
    id: 'run through the connector',
    service: 'lambda-microvms',
    operation: 'RunMicrovm',
    input: { imageIdentifier: '${imageArn}', imageVersion: '1.0', egressNetworkConnectors: ['${connectorArn}'] },
    expect: { egressNetworkConnectors: ['${connectorArn}'] },
    save: { connectedId: 'microvmId' },
    only: ['boto3', 'cli', 'cli2'],
  },
  ...['UpdateNetworkConnector', 'DeleteNetworkConnector'].map(
    (operation): Step => ({
      id: `${operation} while it is in use`,
      ...core,
      operation,
      input: { Identifier, ...(operation === 'UpdateNetworkConnector' ? { Configuration: CONFIGURATION } : {}) },
      error: { type: 'ResourceConflictException', status: 409, message: { $matches: 'in use' } },
    }),
  ),
  { id: 'end what uses it', service: 'lambda-microvms', operation: 'TerminateMicrovm', input: { microvmIdentifier: '${connectedId}' }, only: ['boto3', 'cli', 'cli2'] },
  {
    id: 'what used it has ended',
    service: 'lambda-microvms',
    operation: 'GetMicrovm',
    input: { microvmIdentifier: '${connectedId}' },
    expect: { state: 'TERMINATED' },
    repeat: true,
    only: ['boto3', 'cli', 'cli2'],
  },
  { id: 'delete the connector', ...core, operation: 'DeleteNetworkConnector', input: { Identifier }, expect: { Id: '${connectorId}', Arn: '${connectorArn}', Name: 'exit-${client}', State: 'DELETING' } },
  { id: 'delete the second connector', ...core, operation: 'DeleteNetworkConnector', input: { Identifier: '${spareConnectorId}' } },
  { id: 'the connector has gone', ...core, operation: 'GetNetworkConnector', input: { Identifier: '${connectorArn}' }, error: recorded('connector not found', { arn: '${connectorArn}' }), repeat: true },
];
