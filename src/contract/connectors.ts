/** Inputs and answers of the network connectors (Lambda Core): contract reference, section 1.12. Absent means absent here, never null. */
import { z } from 'zod';
import { boundedList, exactlyOneOf, nullable, optional, patterned, queryInteger, requiredField, text } from './constraints.ts';
import { tagMap } from './microvms.ts';

/** Section 1.12: the most that a page holds, whatever is asked for. */
export const MAX_CONNECTOR_PAGE = 50;

const connectorState = z.enum(['PENDING', 'ACTIVE', 'INACTIVE', 'FAILED', 'DELETING', 'DELETE_FAILED']);
const networkProtocol = z.enum(['IPv4', 'DualStack']);
/** An ARN, an id or a name. */
const Identifier = text(1, 140);
const OperatorRole = patterned('arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+').max(10_000);
const ClientToken = requiredField('ClientToken', text(1, 64));

const vpcEgress = z.object({
  SubnetIds: requiredField('SubnetIds', boundedList(patterned('subnet-[0-9a-z]*').max(1024), { min: 1, max: 16 })),
  SecurityGroupIds: boundedList(patterned('sg-[0-9a-zA-Z]*').max(1024), { max: 5 }).nullish().transform((ids) => ids ?? []),
  NetworkProtocol: requiredField('NetworkProtocol', networkProtocol),
  AssociatedComputeResourceTypes: requiredField('AssociatedComputeResourceTypes', boundedList(z.enum(['MicroVm']), { min: 1, max: 1 })),
});

/** A union with one member so far. */
const Configuration = exactlyOneOf({ VpcEgressConfiguration: optional(vpcEgress) }).transform((union, context) => {
  if (union.VpcEgressConfiguration !== undefined) return union.VpcEgressConfiguration;
  context.addIssue({ code: 'custom', message: 'not be null' });
  return z.NEVER;
});

export const createConnectorInput = z.object({
  Name: patterned('[a-zA-Z0-9_-]+').min(1).max(64),
  Configuration,
  OperatorRole: requiredField('OperatorRole', OperatorRole),
  ClientToken,
  Tags: nullable(tagMap),
});

export const updateConnectorInput = z.object({
  Identifier,
  Configuration: nullable(Configuration),
  OperatorRole: nullable(OperatorRole),
  ClientToken,
});

export const connectorLabel = z.object({ Identifier });

export const listConnectorsInput = z.object({
  State: optional(connectorState),
  Marker: optional(z.string()),
  MaxItems: optional(queryInteger(1, 100)),
});

/** `2026-07-30T06:00:34.567Z`: section 1.1. */
const timestamp = z.string();

const identity = { Arn: z.string(), Name: z.string(), Id: z.string() };
const settings = {
  Configuration: z.object({
    VpcEgressConfiguration: z.object({
      SubnetIds: z.array(z.string()),
      SecurityGroupIds: z.array(z.string()),
      NetworkProtocol: networkProtocol,
      AssociatedComputeResourceTypes: z.array(z.literal('MicroVm')),
    }),
  }),
  OperatorRole: z.string(),
  State: connectorState,
};
/** Absent before the first update. */
const lastUpdate = {
  LastUpdateStatus: z.literal('Successful').optional(),
  LastUpdateStatusReason: z.string().optional(),
};

/** Of a creation and of a deletion. */
export const connectorAnswer = z.object({ ...identity, ...settings });
export const updateConnectorAnswer = z.object({ ...identity, ...settings, ...lastUpdate, LastModified: timestamp });
export const getConnectorAnswer = z.object({
  ...identity,
  Version: z.int(),
  ...settings,
  StateReason: z.string(),
  ...lastUpdate,
  LastModified: timestamp,
});
export const listConnectorsAnswer = z.object({
  NetworkConnectors: z.array(z.object({ ...identity, Type: z.literal('VPC_EGRESS'), State: connectorState, LastModified: timestamp })),
  NextMarker: z.string().optional(),
});
