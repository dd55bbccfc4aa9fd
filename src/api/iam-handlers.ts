/** IAM: roles and their policies. */
import { IAM, type RoleAnswer } from '../contract/iam.ts';
import { roleArn, type Realm } from '../domain/ids.ts';
import type { Role } from '../domain/role.ts';
import { nextToken, pageOf, pageRequest } from './page-token.ts';
import { bind, type BoundAction, type BoundService, type ServiceErrorCodes } from './service-actions.ts';

/** "Errors" of the IAM API reference. */
const ERROR_CODES: ServiceErrorCodes = {
  validation: 'ValidationError',
  'access-denied': 'AccessDenied',
  'not-found': 'NoSuchEntity',
  conflict: 'EntityAlreadyExists',
  'quota-exceeded': 'LimitExceeded',
  'insufficient-capacity': 'ServiceUnavailable',
  throttled: 'Throttling',
  internal: 'ServiceFailure',
};

/** IAM API reference, ListRoles: "defaults to 100". */
const PAGE_SIZE = 100;
const DEFAULT_SESSION_SECONDS = 3600;

interface PageInput {
  readonly marker: string | undefined;
  readonly maxItems: number | undefined;
}

const pageIn = (listing: string, { marker, maxItems }: PageInput) => pageRequest(listing, { maxResults: maxItems ?? PAGE_SIZE, nextToken: marker });

function truncation(listing: string, next: string | null) {
  const marker = nextToken(listing, next);
  return marker === null ? { IsTruncated: false } : { IsTruncated: true, Marker: marker };
}

/** A page of something that a role holds. */
function held<T>(listing: string, items: readonly T[], input: PageInput) {
  const page = pageOf(items, pageIn(listing, input));
  return { items: [...page.items], truncation: truncation(listing, page.next) };
}

const seconds = (atMs: number) => new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z');
const tagList = (tags: Readonly<Record<string, string>>) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** A listing shows a role without its tags. */
function renderRole(role: Role, realm: Realm): RoleAnswer {
  return {
    Path: role.path,
    RoleName: role.roleName,
    RoleId: role.roleId,
    Arn: roleArn(realm, role.path, role.roleName),
    CreateDate: seconds(role.createdAtMs),
    AssumeRolePolicyDocument: encodeURIComponent(role.trustPolicy),
    Description: role.description ?? undefined,
    MaxSessionDuration: role.maxSessionSeconds,
  };
}

function renderWhole(role: Role, realm: Realm): RoleAnswer {
  const tags = tagList(role.tags);
  return { ...renderRole(role, realm), ...(tags.length === 0 ? {} : { Tags: tags }) };
}

const { actions } = IAM;

const ROLES = {
  CreateRole: bind(actions.CreateRole, async (input, { control, realm }) => {
    const role = await control.roles.create({
      roleName: input.roleName,
      path: input.path ?? '/',
      description: input.description,
      maxSessionSeconds: input.maxSessionDuration ?? DEFAULT_SESSION_SECONDS,
      trustPolicy: input.assumeRolePolicyDocument,
      tags: Object.fromEntries((input.tags ?? []).map(({ key, value }) => [key, value])),
    });
    return { Role: renderWhole(role, realm) };
  }),
  GetRole: bind(actions.GetRole, async ({ roleName }, { control, realm }) => ({ Role: renderWhole(await control.roles.get(roleName), realm) })),
  ListRoles: bind(actions.ListRoles, async ({ pathPrefix = '/', ...input }, { control, realm }) => {
    const listing = `roles ${pathPrefix}`;
    const { items, next } = await control.roles.list({ pathPrefix }, pageIn(listing, input));
    return { Roles: items.map((role) => renderRole(role, realm)), ...truncation(listing, next) };
  }),
  DeleteRole: bind(actions.DeleteRole, ({ roleName }, { control }) => control.roles.delete(roleName).then(() => undefined)),
  UpdateAssumeRolePolicy: bind(actions.UpdateAssumeRolePolicy, ({ roleName, policyDocument }, { control }) =>
    control.roles.setTrustPolicy(roleName, policyDocument).then(() => undefined),
  ),
  ListRoleTags: bind(actions.ListRoleTags, async ({ roleName, ...input }, { control }) => {
    const { items, truncation: end } = held(`tags ${roleName}`, tagList((await control.roles.get(roleName)).tags), input);
    return { Tags: items, ...end };
  }),
};

const POLICIES = {
  PutRolePolicy: bind(actions.PutRolePolicy, ({ roleName, policyName, policyDocument }, { control }) =>
    control.roles.putPolicy(roleName, { name: policyName, document: policyDocument }).then(() => undefined),
  ),
  GetRolePolicy: bind(actions.GetRolePolicy, async ({ roleName, policyName }, { control }) => {
    const document = await control.roles.policy(roleName, policyName);
    return { RoleName: roleName, PolicyName: policyName, PolicyDocument: encodeURIComponent(document) };
  }),
  DeleteRolePolicy: bind(actions.DeleteRolePolicy, ({ roleName, policyName }, { control }) =>
    control.roles.deletePolicy(roleName, policyName).then(() => undefined),
  ),
  ListRolePolicies: bind(actions.ListRolePolicies, async ({ roleName, ...input }, { control }) => {
    const names = Object.keys((await control.roles.get(roleName)).inlinePolicies).toSorted();
    const { items, truncation: end } = held(`policies ${roleName}`, names, input);
    return { PolicyNames: items, ...end };
  }),
  AttachRolePolicy: bind(actions.AttachRolePolicy, ({ roleName, policyArn }, { control }) =>
    control.roles.attach(roleName, policyArn).then(() => undefined),
  ),
  DetachRolePolicy: bind(actions.DetachRolePolicy, ({ roleName, policyArn }, { control }) =>
    control.roles.detach(roleName, policyArn).then(() => undefined),
  ),
  ListAttachedRolePolicies: bind(actions.ListAttachedRolePolicies, async ({ roleName, ...input }, { control }) => {
    const { items, truncation: end } = held(`attached ${roleName}`, (await control.roles.get(roleName)).attachedPolicies, input);
    return { AttachedPolicies: items.map((arn) => ({ PolicyName: arn.slice(arn.lastIndexOf('/') + 1), PolicyArn: arn })), ...end };
  }),
};

const ACTIONS = { ...ROLES, ...POLICIES } satisfies Record<keyof typeof IAM.actions, BoundAction>;

export const iamService: BoundService<typeof IAM> = { contract: IAM, actions: new Map(Object.entries(ACTIONS)), errorCodes: ERROR_CODES };
