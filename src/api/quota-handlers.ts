/** Service Quotas: what is really enforced, in AWS's words. */
import { SERVICE_QUOTAS, type QuotaAnswer } from '../contract/servicequotas.ts';
import type { AppliedQuota } from '../control/quota-use-cases.ts';
import { LullError } from '../domain/errors.ts';
import type { Realm } from '../domain/ids.ts';
import { QUOTA_SERVICE_CODE } from '../domain/quotas.ts';
import { nextToken, pageOf, pageRequest } from './page-token.ts';
import { bind, type BoundAction, type BoundService, type ServiceErrorCodes } from './service-actions.ts';

/** "Errors" of the Service Quotas API reference. */
const ERROR_CODES: ServiceErrorCodes = {
  validation: 'IllegalArgumentException',
  'access-denied': 'AccessDeniedException',
  'not-found': 'NoSuchResourceException',
  conflict: 'InvalidResourceStateException',
  'quota-exceeded': 'QuotaExceededException',
  'insufficient-capacity': 'ServiceException',
  throttled: 'TooManyRequestsException',
  internal: 'ServiceException',
};

/** The most that ListServiceQuotas takes as MaxResults. */
const PAGE_SIZE = 100;

/** A default belongs to AWS, an applied quota to the account: only the second has one in its ARN. */
function render(quota: AppliedQuota, { region, account }: Pick<Realm, 'region' | 'account'>): QuotaAnswer {
  return {
    ServiceCode: QUOTA_SERVICE_CODE,
    ServiceName: 'AWS Lambda',
    QuotaArn: `arn:aws:servicequotas:${region}:${account}:${QUOTA_SERVICE_CODE}/${quota.code}`,
    QuotaCode: quota.code,
    QuotaName: quota.title,
    Value: quota.value,
    Unit: quota.unit === 'Count' ? 'None' : quota.unit,
    Adjustable: quota.adjustable,
    GlobalQuota: false,
    ...(quota.isRate ? { Period: { PeriodValue: 1, PeriodUnit: 'SECOND' as const } } : {}),
  };
}

function requireService(code: string): void {
  if (code !== QUOTA_SERVICE_CODE) throw new LullError('not-found', `Lull has no quotas of ${code}: its service code is ${QUOTA_SERVICE_CODE}.`);
}

interface ListInput {
  readonly ServiceCode: string;
  readonly NextToken: string | undefined;
  readonly MaxResults: number | undefined;
}

function listed(listing: string, input: ListInput, { quotas, realm }: { quotas: readonly AppliedQuota[]; realm: Realm }) {
  requireService(input.ServiceCode);
  const page = pageOf(quotas, pageRequest(listing, { maxResults: input.MaxResults ?? PAGE_SIZE, nextToken: input.NextToken }));
  const token = nextToken(listing, page.next);
  return { Quotas: page.items.map((quota) => render(quota, realm)), ...(token === null ? {} : { NextToken: token }) };
}

const awsRealm = ({ region }: Realm): Realm => ({ region, account: '' });

const ACTIONS = {
  ListServiceQuotas: bind(SERVICE_QUOTAS.actions.ListServiceQuotas, async (input, { control, realm }) =>
    listed('ListServiceQuotas', input, { quotas: control.quotas.applied.all(), realm }),
  ),
  GetServiceQuota: bind(SERVICE_QUOTAS.actions.GetServiceQuota, async ({ ServiceCode, QuotaCode }, { control, realm }) => {
    requireService(ServiceCode);
    return { Quota: render(control.quotas.applied.one(QuotaCode), realm) };
  }),
  ListAWSDefaultServiceQuotas: bind(SERVICE_QUOTAS.actions.ListAWSDefaultServiceQuotas, async (input, { control, realm }) =>
    listed('ListAWSDefaultServiceQuotas', input, { quotas: control.quotas.defaults.all(), realm: awsRealm(realm) }),
  ),
  GetAWSDefaultServiceQuota: bind(SERVICE_QUOTAS.actions.GetAWSDefaultServiceQuota, async ({ ServiceCode, QuotaCode }, { control, realm }) => {
    requireService(ServiceCode);
    return { Quota: render(control.quotas.defaults.one(QuotaCode), awsRealm(realm)) };
  }),
} satisfies Record<keyof typeof SERVICE_QUOTAS.actions, BoundAction>;

export const serviceQuotasService: BoundService<typeof SERVICE_QUOTAS> = {
  contract: SERVICE_QUOTAS,
  actions: new Map(Object.entries(ACTIONS)),
  errorCodes: ERROR_CODES,
};
