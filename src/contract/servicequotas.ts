/** Service Quotas, API version 2019-06-24: reading the quotas that are enforced. Contract reference, section 7.2, for what they are. */
import { z } from 'zod';
import { optional, patterned, text } from './constraints.ts';
import { action, type JsonServiceContract } from './service.ts';

const serviceCode = patterned('[a-zA-Z][a-zA-Z0-9-]{1,63}');
const quotaCode = patterned('[a-zA-Z][a-zA-Z0-9-]{1,128}');

const one = z.object({ ServiceCode: serviceCode, QuotaCode: quotaCode });
const list = z.object({
  ServiceCode: serviceCode,
  NextToken: optional(text(0, 2048)),
  MaxResults: optional(z.int().min(1).max(100)),
});

const quota = z.object({
  ServiceCode: z.string(),
  ServiceName: z.string(),
  QuotaArn: z.string(),
  QuotaCode: z.string(),
  QuotaName: z.string(),
  Value: z.number(),
  Unit: z.string(),
  Adjustable: z.boolean(),
  GlobalQuota: z.boolean(),
  Period: z.object({ PeriodValue: z.number(), PeriodUnit: z.literal('SECOND') }).optional(),
});
/** A quota on the wire. */
export type QuotaAnswer = z.output<typeof quota>;

const oneAnswer = z.object({ Quota: quota });
const listAnswer = z.object({ Quotas: z.array(quota), NextToken: z.string().optional() });

export const SERVICE_QUOTAS = {
  signingName: 'servicequotas',
  targetPrefix: 'ServiceQuotasV20190624',
  actions: {
    ListServiceQuotas: action(list, listAnswer),
    GetServiceQuota: action(one, oneAnswer),
    ListAWSDefaultServiceQuotas: action(list, listAnswer),
    GetAWSDefaultServiceQuota: action(one, oneAnswer),
  },
} as const satisfies JsonServiceContract;
