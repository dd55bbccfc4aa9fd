/** IAM's roles and who a caller is to STS. Stored and shown; policies are not evaluated. */
import { newRoleId } from '../../domain/access-key.ts';
import { accountArn, assumedRoleArn, parseRoleArn, type Realm } from '../../domain/ids.ts';
import type { Clock, Page, PageRequest, Random, RoleRepository, RoleSession } from '../../domain/ports.ts';
import {
  MAX_ATTACHED_POLICIES,
  MAX_INLINE_POLICY_CHARS,
  checkPolicy,
  inlinePoliciesTooLarge,
  policyNotAttached,
  policyNotFound,
  roleHasAttachments,
  roleHasPolicies,
  roleNotFound,
  roleTaken,
  tooManyAttachments,
  type Role,
} from '../../domain/role.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';

/** A role to be made. */
export type NewRole = Pick<Role, 'roleName' | 'path' | 'description' | 'maxSessionSeconds' | 'trustPolicy' | 'tags'>;

/** STS's GetCallerIdentity. */
export interface CallerIdentity {
  readonly arn: string;
  readonly userId: string;
  readonly account: string;
}

/** Role operations. Errors: `src/domain/role.ts`. */
export interface RoleUseCases {
  create(role: NewRole): Promise<Role>;
  get(roleName: string): Promise<Role>;
  /** In order of their names. */
  list(filter: { pathPrefix: string }, page: PageRequest): Promise<Page<Role>>;
  /** Refused while policies are attached or inline. */
  delete(roleName: string): Promise<void>;
  setTrustPolicy(roleName: string, document: string): Promise<void>;
  putPolicy(roleName: string, policy: { name: string; document: string }): Promise<void>;
  policy(roleName: string, policyName: string): Promise<string>;
  deletePolicy(roleName: string, policyName: string): Promise<void>;
  attach(roleName: string, policyArn: string): Promise<void>;
  detach(roleName: string, policyArn: string): Promise<void>;
  /** Of a key of the installation, or of a temporary one with its session. */
  callerIdentity(session: RoleSession | null): Promise<CallerIdentity>;
}

export interface RoleParts {
  readonly roles: RoleRepository;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
  readonly realm: Realm;
}

/** Puts the use-cases together. */
export function createRoleUseCases({ roles, clock, random, realm }: RoleParts): RoleUseCases {
  /** What a role holds is read, then written: one change at a time. */
  const changes = new KeyedQueue();
  const required = async (roleName: string): Promise<Role> => {
    const role = await roles.get(roleName);
    if (role === undefined) throw roleNotFound(roleName);
    return role;
  };
  const change = (roleName: string, make: (role: Role) => Role): Promise<void> =>
    changes.run(roleName.toLowerCase(), async () => roles.replace(make(await required(roleName))));
  return {
    create: (given) =>
      changes.run(given.roleName.toLowerCase(), async () => {
        checkPolicy(given.trustPolicy, 'trust');
        const role: Role = { ...given, roleId: newRoleId(random), createdAtMs: clock.nowMs(), inlinePolicies: {}, attachedPolicies: [] };
        if ((await roles.insert(role)) === 'exists') throw roleTaken(given.roleName);
        return role;
      }),
    get: required,
    list: (filter, page) => roles.list(filter, page),
    delete: (roleName) =>
      changes.run(roleName.toLowerCase(), async () => {
        const role = await required(roleName);
        if (role.attachedPolicies.length > 0) throw roleHasAttachments();
        if (Object.keys(role.inlinePolicies).length > 0) throw roleHasPolicies();
        await roles.remove(roleName);
      }),
    setTrustPolicy: async (roleName, document) => {
      checkPolicy(document, 'trust');
      await change(roleName, (role) => ({ ...role, trustPolicy: document }));
    },
    putPolicy: async (roleName, { name, document }) => {
      checkPolicy(document, 'permissions');
      await change(roleName, (role) => withPolicy(role, name, document));
    },
    policy: async (roleName, policyName) => {
      const { inlinePolicies } = await required(roleName);
      return policyIn(inlinePolicies, policyName);
    },
    deletePolicy: (roleName, policyName) =>
      change(roleName, (role) => {
        policyIn(role.inlinePolicies, policyName);
        const { [policyName]: _removed, ...inlinePolicies } = role.inlinePolicies;
        return { ...role, inlinePolicies };
      }),
    attach: (roleName, policyArn) =>
      change(roleName, (role) => {
        if (role.attachedPolicies.includes(policyArn)) return role;
        if (role.attachedPolicies.length >= MAX_ATTACHED_POLICIES) throw tooManyAttachments();
        return { ...role, attachedPolicies: [...role.attachedPolicies, policyArn] };
      }),
    detach: (roleName, policyArn) =>
      change(roleName, (role) => {
        if (!role.attachedPolicies.includes(policyArn)) throw policyNotAttached(policyArn);
        return { ...role, attachedPolicies: role.attachedPolicies.filter((arn) => arn !== policyArn) };
      }),
    callerIdentity: async (session) => {
      const { account } = realm;
      if (session === null) return { arn: accountArn(realm), userId: account, account };
      const role = parseRoleArn(session.roleArn);
      const known = role?.account === account ? await roles.get(role.name) : undefined;
      const userId = `${known?.roleId ?? 'AROA'}:${session.sessionName}`;
      return { arn: assumedRoleArn(session), userId, account: role?.account ?? account };
    },
  };
}

function policyIn(policies: Readonly<Record<string, string>>, name: string): string {
  const document = Object.hasOwn(policies, name) ? policies[name] : undefined;
  if (document === undefined) throw policyNotFound(name);
  return document;
}

function withPolicy(role: Role, name: string, document: string): Role {
  const inlinePolicies = { ...role.inlinePolicies, [name]: document };
  const chars = Object.values(inlinePolicies).reduce((sum, one) => sum + one.replaceAll(/\s/g, '').length, 0);
  if (chars > MAX_INLINE_POLICY_CHARS) throw inlinePoliciesTooLarge(role.roleName);
  return { ...role, inlinePolicies };
}
