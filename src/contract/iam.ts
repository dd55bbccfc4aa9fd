/** AWS Identity and Access Management, API version 2010-05-08: roles and their policies. */
import { z } from 'zod';
import { boundedList, nullable, optional, patterned, queryInteger, text } from './constraints.ts';
import { action, nothing, type QueryServiceContract } from './service.ts';

const NAME = '[\\w+=,.@-]+';
const roleName = patterned(NAME).min(1).max(64);
const policyName = patterned(NAME).min(1).max(128);
const policyDocument = patterned('[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+').min(1).max(131_072);
const policyArn = patterned('arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[!-~]+').min(20).max(2048);
const path = patterned('(/)|(/[!-~]+/)').min(1).max(512);
const description = patterned('[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u00A1-\\u00FF]*').max(1000);
const tag = z.object({ key: text(1, 128), value: text(0, 256) });
const page = { marker: optional(text(1, 4096)), maxItems: optional(queryInteger(1, 1000)) };

const pageAnswer = { IsTruncated: z.boolean(), Marker: z.string().optional() };

/** Times are ISO 8601 without fraction, as IAM writes them. */
const roleAnswer = z.object({
  Path: z.string(),
  RoleName: z.string(),
  RoleId: z.string(),
  Arn: z.string(),
  CreateDate: z.string(),
  /** Percent-encoded, as all documents in IAM's answers. */
  AssumeRolePolicyDocument: z.string(),
  Description: z.string().optional(),
  MaxSessionDuration: z.int(),
  Tags: z.array(z.object({ Key: z.string(), Value: z.string() })).optional(),
});
export type RoleAnswer = z.output<typeof roleAnswer>;

export const IAM = {
  signingName: 'iam',
  version: '2010-05-08',
  namespace: 'https://iam.amazonaws.com/doc/2010-05-08/',
  actions: {
    CreateRole: action(
      z.object({
        roleName,
        path: optional(path),
        assumeRolePolicyDocument: policyDocument,
        description: nullable(description),
        maxSessionDuration: optional(queryInteger(3600, 43_200)),
        tags: optional(boundedList(tag, { max: 50 })),
      }),
      z.object({ Role: roleAnswer }),
    ),
    GetRole: action(z.object({ roleName }), z.object({ Role: roleAnswer })),
    ListRoles: action(
      z.object({ pathPrefix: optional(patterned('/[!-~]*').min(1).max(512)), ...page }),
      z.object({ Roles: z.array(roleAnswer), ...pageAnswer }),
    ),
    DeleteRole: action(z.object({ roleName }), nothing),
    UpdateAssumeRolePolicy: action(z.object({ roleName, policyDocument }), nothing),
    PutRolePolicy: action(z.object({ roleName, policyName, policyDocument }), nothing),
    GetRolePolicy: action(
      z.object({ roleName, policyName }),
      z.object({ RoleName: z.string(), PolicyName: z.string(), PolicyDocument: z.string() }),
    ),
    DeleteRolePolicy: action(z.object({ roleName, policyName }), nothing),
    ListRolePolicies: action(z.object({ roleName, ...page }), z.object({ PolicyNames: z.array(z.string()), ...pageAnswer })),
    AttachRolePolicy: action(z.object({ roleName, policyArn }), nothing),
    DetachRolePolicy: action(z.object({ roleName, policyArn }), nothing),
    ListAttachedRolePolicies: action(
      z.object({ roleName, pathPrefix: optional(z.string()), ...page }),
      z.object({ AttachedPolicies: z.array(z.object({ PolicyName: z.string(), PolicyArn: z.string() })), ...pageAnswer }),
    ),
    ListRoleTags: action(
      z.object({ roleName, ...page }),
      z.object({ Tags: z.array(z.object({ Key: z.string(), Value: z.string() })), ...pageAnswer }),
    ),
  },
} as const satisfies QueryServiceContract;
