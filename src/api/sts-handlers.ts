/** STS: who the caller is. */
import { STS } from '../contract/sts.ts';
import { bind, type BoundAction, type BoundService, type ServiceErrorCodes } from './service-actions.ts';

/** "Common errors" of the STS API reference. */
const ERROR_CODES: ServiceErrorCodes = {
  validation: 'ValidationError',
  'access-denied': 'AccessDenied',
  'not-found': 'ValidationError',
  conflict: 'ValidationError',
  'quota-exceeded': 'ThrottlingException',
  'insufficient-capacity': 'ServiceUnavailable',
  throttled: 'ThrottlingException',
  internal: 'InternalFailure',
};

const ACTIONS = {
  GetCallerIdentity: bind(STS.actions.GetCallerIdentity, async (_input, { control, caller }) => {
    const { arn, userId, account } = await control.roles.callerIdentity(caller.kind === 'role' ? caller.session : null);
    return { Arn: arn, UserId: userId, Account: account };
  }),
} satisfies Record<keyof typeof STS.actions, BoundAction>;

export const stsService: BoundService<typeof STS> = { contract: STS, actions: new Map(Object.entries(ACTIONS)), errorCodes: ERROR_CODES };
