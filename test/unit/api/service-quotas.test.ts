/** Service Quotas by AWS's own client: the limits that are really enforced. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  GetAWSDefaultServiceQuotaCommand,
  GetServiceQuotaCommand,
  ListAWSDefaultServiceQuotasCommand,
  ListServiceQuotasCommand,
  RequestServiceQuotaIncreaseCommand,
  ServiceQuotasClient,
  paginateListServiceQuotas,
  type ListServiceQuotasCommandInput,
} from '@aws-sdk/client-service-quotas';
import { ListMicrovmsCommand } from '@aws-sdk/client-lambda-microvms';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const LAMBDA = { ServiceCode: 'lambda' };

describe('Service Quotas', () => {
  let bed: ApiBed;
  let quotas: ServiceQuotasClient;
  before(async () => {
    bed = await startApi({}, { choice: { given: { images: 7, 'get-rate': 20 } } });
    quotas = new ServiceQuotasClient({ endpoint: bed.origin, region: 'us-east-1', credentials: { ...CREDENTIALS }, maxAttempts: 1 });
  });
  after(async () => {
    quotas.destroy();
    await bed[Symbol.asyncDispose]();
  });

  test('GetServiceQuota: AWS’s code for memory, and what an operator set', async () => {
    const memory = await quotas.send(new GetServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'L-CD1C0CC4' }));
    assert.deepEqual(memory.Quota, {
      ServiceCode: 'lambda',
      ServiceName: 'AWS Lambda',
      QuotaArn: 'arn:aws:servicequotas:us-east-1:000000000000:lambda/L-CD1C0CC4',
      QuotaCode: 'L-CD1C0CC4',
      QuotaName: 'Allocated memory of all MicroVMs that have not ended, in MiB',
      Value: 8000,
      Unit: 'Megabytes',
      Adjustable: true,
      GlobalQuota: false,
    });
    const images = await quotas.send(new GetServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'LULL-IMAGES' }));
    assert.deepEqual([images.Quota?.Value, images.Quota?.Unit], [7, 'None']);
    const duration = await quotas.send(new GetServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'L-B430C318' }));
    assert.deepEqual([duration.Quota?.Value, duration.Quota?.Unit, duration.Quota?.Adjustable], [28_800, 'Seconds', false]);
  });

  test('a rate is there where it is enforced only, by the second', async () => {
    const { Quota } = await quotas.send(new GetServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'LULL-RATE-GETMICROVM' }));
    assert.deepEqual([Quota?.Value, Quota?.Period], [20, { PeriodValue: 1, PeriodUnit: 'SECOND' }]);
    await assert.rejects(quotas.send(new GetServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'LULL-RATE-RUNMICROVM' })), { name: 'NoSuchResourceException' });
  });

  test('ListServiceQuotas: everything that is enforced, page by page', async () => {
    const whole = await quotas.send(new ListServiceQuotasCommand(LAMBDA));
    assert.equal(whole.NextToken, undefined);
    const codes = whole.Quotas!.map(({ QuotaCode }) => QuotaCode);
    assert.deepEqual(codes.filter((code) => code?.startsWith('LULL-RATE-')), ['LULL-RATE-GETMICROVM']);
    const paged: unknown[] = [];
    for await (const page of paginateListServiceQuotas({ client: quotas, pageSize: 3 }, { ...LAMBDA })) {
      assert.ok(page.Quotas!.length <= 3);
      paged.push(...page.Quotas!.map(({ QuotaCode }) => QuotaCode));
    }
    assert.deepEqual(paged, codes);
  });

  test('defaults: what nobody has set, and AWS’s account in the ARN', async () => {
    const { Quota } = await quotas.send(new GetAWSDefaultServiceQuotaCommand({ ...LAMBDA, QuotaCode: 'LULL-IMAGES' }));
    assert.deepEqual([Quota?.Value, Quota?.QuotaArn], [100, 'arn:aws:servicequotas:us-east-1::lambda/LULL-IMAGES']);
    const { Quotas } = await quotas.send(new ListAWSDefaultServiceQuotasCommand(LAMBDA));
    assert.deepEqual(Quotas!.filter(({ Period }) => Period !== undefined), []);
  });

  test('refusals are those of Service Quotas', async () => {
    const get = (ServiceCode: string, QuotaCode: string) => quotas.send(new GetServiceQuotaCommand({ ServiceCode, QuotaCode }));
    const list = (input: Partial<ListServiceQuotasCommandInput>) => quotas.send(new ListServiceQuotasCommand({ ...LAMBDA, ...input }));
    await assert.rejects(get('lambda', 'L-00000000'), { name: 'NoSuchResourceException' });
    await assert.rejects(get('ec2', 'L-CD1C0CC4'), { name: 'NoSuchResourceException' });
    await assert.rejects(list({ ServiceCode: 'ec2' }), { name: 'NoSuchResourceException' });
    for (const input of [{ MaxResults: 1000 }, { NextToken: 'nonsense' }, { ServiceCode: '1' }]) {
      await assert.rejects(list(input), { name: 'IllegalArgumentException' });
    }
    await assert.rejects(quotas.send(new RequestServiceQuotaIncreaseCommand({ ...LAMBDA, QuotaCode: 'LULL-IMAGES', DesiredValue: 9 })), { name: 'UnknownOperationException' });
  });

  test('what it tells is what is refused: GetMicrovm, 21 times within a second', async () => {
    const get = () => bed.call('GET', '/2025-09-09/microvms/microvm-one');
    for (let n = 0; n < 20; n += 1) assert.equal((await get()).status, 200);
    const refused = await get();
    assert.equal(refused.status, 429);
    assert.equal((JSON.parse(refused.text) as { quotaCode: string }).quotaCode, 'LULL-RATE-GETMICROVM');
    await bed.lambda.send(new ListMicrovmsCommand({}));
  });
});
