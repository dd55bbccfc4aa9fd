/** IAM roles: kept and shown, and looked up where AWS asks for `iam:PassRole`. Their policies are not evaluated. */
import { LullError } from './errors.ts';

/** A role as the store keeps it. */
export interface Role {
  /** Unique whatever its case. */
  readonly roleName: string;
  /** `AROA` and 17 characters. */
  readonly roleId: string;
  /** Begins and ends with a slash. */
  readonly path: string;
  readonly description: string | null;
  readonly maxSessionSeconds: number;
  readonly createdAtMs: number;
  /** JSON as it was given. */
  readonly trustPolicy: string;
  /** Documents by name. */
  readonly inlinePolicies: Readonly<Record<string, string>>;
  readonly attachedPolicies: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
}

/** IAM and STS quotas: managed policies attached to one role. */
export const MAX_ATTACHED_POLICIES = 10;
/** All inline policies of one role together, without white space. */
export const MAX_INLINE_POLICY_CHARS = 10_240;

/** The refusals of IAM, in its words. */
export const roleNotFound = (name: string) => new LullError('not-found', `The role with name ${name} cannot be found.`);
export const roleTaken = (name: string) => new LullError('conflict', `Role with name ${name} already exists.`);
export const policyNotFound = (name: string) => new LullError('not-found', `The role policy with name ${name} cannot be found.`);
export const policyNotAttached = (arn: string) => new LullError('not-found', `Policy ${arn} was not found.`);
export const roleHasPolicies = () =>
  new LullError('conflict', 'Cannot delete entity, must delete policies first.', { awsCode: 'DeleteConflict' });
export const roleHasAttachments = () =>
  new LullError('conflict', 'Cannot delete entity, must detach all policies first.', { awsCode: 'DeleteConflict' });
export const malformedPolicy = (detail: string) => new LullError('validation', detail, { awsCode: 'MalformedPolicyDocument' });
export const tooManyAttachments = () => new LullError('quota-exceeded', `Cannot exceed quota for PoliciesPerRole: ${MAX_ATTACHED_POLICIES}`);
export const inlinePoliciesTooLarge = (name: string) =>
  new LullError('quota-exceeded', `Maximum policy size of ${MAX_INLINE_POLICY_CHARS} bytes exceeded for role ${name}`);

/**
 * Section 1.6, "execution role not assumable", and 1.11: AWS answers for a role that may not be passed, or is not there,
 * with the text of its IAM.
 */
export const passRoleDenied = (caller: string, roleArn: string) =>
  new LullError(
    'access-denied',
    `User: ${caller} is not authorized to perform: iam:PassRole on resource: ${roleArn} because no identity-based policy allows the iam:PassRole action`,
  );

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** @throws LullError MalformedPolicyDocument where it is no JSON object, or lacks statements (and, of a trust policy, principals) */
export function checkPolicy(document: string, kind: 'trust' | 'permissions'): void {
  let policy: unknown;
  try {
    policy = JSON.parse(document);
  } catch {
    throw malformedPolicy('This policy contains invalid Json');
  }
  const statement: unknown = typeof policy === 'object' && policy !== null ? Reflect.get(policy, 'Statement') : undefined;
  const statements: readonly unknown[] = Array.isArray(statement) ? statement : [statement];
  if (statements.length === 0 || !statements.every(isObject)) throw malformedPolicy('Syntax errors in policy.');
  for (const one of statements) {
    const effect: unknown = Reflect.get(one, 'Effect');
    if (effect !== 'Allow' && effect !== 'Deny') throw malformedPolicy('Syntax errors in policy.');
    if (!('Action' in one) && !('NotAction' in one)) throw malformedPolicy('Policy statement must contain actions.');
    const hasPrincipal = 'Principal' in one || 'NotPrincipal' in one;
    if (kind === 'trust' && !hasPrincipal) throw malformedPolicy('AssumeRole policy must contain principals.');
    if (kind === 'trust' && ('Resource' in one || 'NotResource' in one)) throw malformedPolicy('Has prohibited field Resource');
    if (kind === 'permissions' && hasPrincipal) throw malformedPolicy('Policy document should not specify a principal.');
    if (kind === 'permissions' && !('Resource' in one) && !('NotResource' in one)) throw malformedPolicy('Policy statement must contain resources.');
  }
}
