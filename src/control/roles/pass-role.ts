/** What AWS checks with `iam:PassRole` (contract reference, section 1.11): that a role which is named may be passed, so that it is there. */
import { accountArn, parseRoleArn, type Realm } from '../../domain/ids.ts';
import type { RoleRepository } from '../../domain/ports.ts';
import { passRoleDenied } from '../../domain/role.ts';

/**
 * Which roles are looked up: none; those of this account (a role of another one cannot be known here, and a team that comes
 * from AWS keeps its ARNs); or all, so that one of another account is refused.
 */
export const ROLE_CHECKS = ['off', 'own-account', 'strict'] as const;
export type RoleCheck = (typeof ROLE_CHECKS)[number];

/** @throws LullError access-denied where the role may not be named */
export type PassRole = (roleArn: string | null) => Promise<void>;

/** Makes the check; an absent role is nothing to check. */
export function createPassRole({ roles, realm, check }: { roles: Pick<RoleRepository, 'get'>; realm: Realm; check: RoleCheck }): PassRole {
  return async (arn) => {
    if (arn === null || check === 'off') return;
    if (accountOf(arn) !== realm.account && check !== 'strict') return;
    const role = parseRoleArn(arn);
    const found = role?.account === realm.account ? await roles.get(role.name) : undefined;
    if (found === undefined || found.path !== role?.path || found.roleName !== role.name) throw passRoleDenied(accountArn(realm), arn);
  };
}

/** Of what passes for a role's ARN on the wire, also where no role can have it. */
const accountOf = (arn: string) => arn.split(':')[4];
