/** The services that real tools ask before and beside MicroVMs: who one is, and the roles. */
import type { Json } from './client.ts';
import { MEMORY_QUOTA_MIB } from './scenario-microvms.ts';
import type { Step } from './scenario-run.ts';

const iam = { service: 'iam' } as const;

/** Section 1.11 of the contract reference: who assumes the roles of MicroVMs. */
const TRUST = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: ['sts:AssumeRole', 'sts:TagSession'] }] });
const POLICY = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }] });

const role = (name: string): Json => ({ Role: { RoleName: name, Arn: `arn:aws:iam::\${account}:role/${name}`, Path: '/', RoleId: { $matches: '^AROA' }, CreateDate: { $is: 'timestamp' } } });
const RoleName = 'spare-${client}';

export const IDENTITY: readonly Step[] = [
  { id: 'who one is', service: 'sts', operation: 'GetCallerIdentity', input: {}, expect: { Account: '${account}', Arn: 'arn:aws:iam::${account}:root', UserId: { $is: 'string' } } },
  ...['build-${client}', 'execution-${client}', RoleName].map((name) => ({
    id: `make the role ${name}`,
    ...iam,
    operation: 'CreateRole',
    input: { RoleName: name, AssumeRolePolicyDocument: TRUST },
    expect: role(name),
  })),
  { id: 'the role is there', ...iam, operation: 'GetRole', input: { RoleName }, expect: role(RoleName) },
  { id: 'the role is listed', ...iam, operation: 'ListRoles', input: {}, expect: { Roles: { $has: { RoleName } } } },
  { id: 'give it a policy', ...iam, operation: 'PutRolePolicy', input: { RoleName, PolicyName: 'read', PolicyDocument: POLICY } },
  { id: 'its policy', ...iam, operation: 'GetRolePolicy', input: { RoleName, PolicyName: 'read' }, expect: { RoleName, PolicyName: 'read' } },
  { id: 'its policies', ...iam, operation: 'ListRolePolicies', input: { RoleName }, expect: { PolicyNames: ['read'] } },
  { id: 'attach a policy', ...iam, operation: 'AttachRolePolicy', input: { RoleName, PolicyArn: 'arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess' } },
  { id: 'attached policies', ...iam, operation: 'ListAttachedRolePolicies', input: { RoleName }, expect: { AttachedPolicies: [{ PolicyName: 'AmazonS3ReadOnlyAccess' }] } },
  { id: 'delete a role with policies', ...iam, operation: 'DeleteRole', input: { RoleName }, error: { type: 'DeleteConflict', status: 409, message: { $is: 'string' } } },
  { id: 'detach the policy', ...iam, operation: 'DetachRolePolicy', input: { RoleName, PolicyArn: 'arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess' } },
  { id: 'take its policy', ...iam, operation: 'DeleteRolePolicy', input: { RoleName, PolicyName: 'read' } },
  { id: 'delete the role', ...iam, operation: 'DeleteRole', input: { RoleName } },
  { id: 'the role has gone', ...iam, operation: 'GetRole', input: { RoleName }, error: { type: 'NoSuchEntity', status: 404, message: { $matches: 'spare-${client}' } } },
];

const logs = { service: 'logs' } as const;
const logGroupName = '/scenario/${client}';

/** What the image's build and the microVM printed, under the names that were given for it. */
export const LOGS: readonly Step[] = [
  { id: 'log groups', ...logs, operation: 'DescribeLogGroups', input: { logGroupNamePrefix: logGroupName }, expect: { logGroups: { $has: { logGroupName, arn: { $is: 'string' } } } }, repeat: true },
  { id: 'streams of the group', ...logs, operation: 'DescribeLogStreams', input: { logGroupName }, expect: { logStreams: { $has: { logStreamName: 'build' } } }, repeat: true },
  {
    id: 'what the build printed',
    ...logs,
    operation: 'GetLogEvents',
    input: { logGroupName, logStreamName: 'build', startFromHead: true, limit: 100 },
    expect: { events: { $each: { message: { $is: 'string' }, timestamp: { $is: 'size' } } }, nextForwardToken: { $is: 'string' } },
    repeat: true,
  },
  { id: 'events of the group', ...logs, operation: 'FilterLogEvents', input: { logGroupName, limit: 5 }, expect: { events: { $each: { logStreamName: { $is: 'string' }, message: { $is: 'string' } } } } },
  {
    id: 'a group that is not there',
    ...logs,
    operation: 'DescribeLogStreams',
    input: { logGroupName: '/scenario/nobody' },
    error: { type: 'ResourceNotFoundException', status: 400, message: { $is: 'string' } },
  },
];

const quotas = { service: 'service-quotas' } as const;
/** Section 7.2 of the contract reference: the sum of allocated memory. */
const MEMORY = { ServiceCode: 'lambda', QuotaCode: 'L-CD1C0CC4' };

/** The limits that are enforced. */
export const QUOTAS: readonly Step[] = [
  { id: 'a quota', ...quotas, operation: 'GetServiceQuota', input: MEMORY, expect: { Quota: { ...MEMORY, Value: MEMORY_QUOTA_MIB, Adjustable: true } } },
  { id: 'its default', ...quotas, operation: 'GetAWSDefaultServiceQuota', input: MEMORY, expect: { Quota: MEMORY } },
  { id: 'every quota', ...quotas, operation: 'ListServiceQuotas', input: { ServiceCode: 'lambda', MaxResults: 100 }, expect: { Quotas: { $has: MEMORY } } },
  {
    id: 'a quota that is not there',
    ...quotas,
    operation: 'GetServiceQuota',
    input: { ServiceCode: 'lambda', QuotaCode: 'L-00000000' },
    error: { type: 'NoSuchResourceException', status: 400, message: { $is: 'string' } },
  },
];
