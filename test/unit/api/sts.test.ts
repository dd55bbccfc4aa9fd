import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { IAMClient, ListRolesCommand } from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { presign } from '../../../src/lib/sigv4.ts';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const BODY = 'Action=GetCallerIdentity&Version=2011-06-15';
const FORM = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };

describe('STS and the query protocol', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());
  const post = (body: string, service = 'sts') => bed.call('POST', '/', { service, body, headers: FORM });

  test('GetCallerIdentity: a key of the installation speaks for the account', async () => {
    const { Arn, UserId, Account, $metadata } = await bed.sts.send(new GetCallerIdentityCommand({}));
    assert.deepEqual([Arn, UserId, Account], ['arn:aws:iam::000000000000:root', '000000000000', '000000000000']);
    assert.match($metadata.requestId ?? '', /^[0-9a-f-]{36}$/);
  });

  test('GetCallerIdentity by query, as others use it to ask who somebody is', async () => {
    const url = new URL(`${bed.origin}/?${BODY}`);
    const answer = await fetch(presign({ method: 'GET', url, headers: {} }, 60, bed.context('sts')));
    assert.equal(answer.status, 200);
    const xml = await answer.text();
    assert.match(xml, /^<GetCallerIdentityResponse xmlns="https:\/\/sts\.amazonaws\.com\/doc\/2011-06-15\/"><GetCallerIdentityResult><Arn>/);
    assert.match(xml, new RegExp(`<ResponseMetadata><RequestId>${answer.headers.get('x-amzn-requestid')}</RequestId></ResponseMetadata>`));
  });

  test('GetCallerIdentity: a temporary key speaks for its role, which reaches nothing else here', async () => {
    const session = { roleArn: 'arn:aws:iam::000000000000:role/run', sessionName: 'Lambda-microvmsExecutor-1', sessionToken: 'token', expiresAtMs: Date.now() + 60_000, microvmId: 'microvm-1' };
    const key = { accessKeyId: 'ASIALULLTEST00000000', secretAccessKey: 'temporary', createdAtMs: 0, description: null };
    await bed.store.accessKeys.insert({ ...key, session });
    const sdk = { endpoint: bed.origin, region: 'us-east-1', maxAttempts: 1, credentials: { ...key, sessionToken: 'token' } };
    const { Arn, UserId, Account } = await new STSClient(sdk).send(new GetCallerIdentityCommand({}));
    const arn = 'arn:aws:sts::000000000000:assumed-role/run/Lambda-microvmsExecutor-1';
    assert.deepEqual([Arn, Account], [arn, '000000000000']);
    assert.match(UserId ?? '', /^AROA[A-Z2-7]{17}:Lambda-microvmsExecutor-1$/);
    await assert.rejects(new IAMClient(sdk).send(new ListRolesCommand({})), { name: 'AccessDenied', message: new RegExp(`^User: ${arn} is not authorized`) });
  });

  test('refused in the words of the protocol', async () => {
    const cases: [body: string, status: number, code: string, message: RegExp][] = [
      ['', 400, 'MissingAction', /missing an action/],
      ['Action=GetFederationToken&Version=2011-06-15', 400, 'InvalidAction', /^Could not find operation GetFederationToken for version 2011-06-15$/],
      ['Action=GetCallerIdentity&Version=2010-05-08', 400, 'InvalidAction', /^Could not find operation GetCallerIdentity for version 2010-05-08$/],
      ['Action=GetCallerIdentity&Action.x=1&Version=2011-06-15', 400, 'MalformedQueryString', /./],
      ['Action=<&amp;&Version=1', 400, 'InvalidAction', /operation &lt; for/],
    ];
    for (const [body, status, code, message] of cases) {
      const answer = await post(body);
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [status, code], body);
      const [, shown = ''] = /<ErrorResponse [^>]*><Error><Type>Sender<\/Type><Code>[A-Za-z]+<\/Code><Message>([^<]*)<\/Message><\/Error><RequestId>[0-9a-f-]{36}<\/RequestId><\/ErrorResponse>/.exec(answer.text) ?? [];
      assert.match(shown, message, answer.text);
    }
  });

  test('what is not signed, or not so, gets in nowhere', async () => {
    const bare = await fetch(bed.origin, { method: 'POST', body: BODY, headers: FORM });
    assert.deepEqual([bare.status, bare.headers.get('x-amzn-errortype')], [403, 'MissingAuthenticationToken']);
    const wrong = new STSClient({ endpoint: bed.origin, region: 'us-east-1', maxAttempts: 1, credentials: { ...CREDENTIALS, secretAccessKey: 'guess' } });
    await assert.rejects(wrong.send(new GetCallerIdentityCommand({})), { name: 'SignatureDoesNotMatch' });
    const unknown = new STSClient({ endpoint: bed.origin, region: 'us-east-1', maxAttempts: 1, credentials: { ...CREDENTIALS, accessKeyId: 'AKIANOBODY0000000000' } });
    await assert.rejects(unknown.send(new GetCallerIdentityCommand({})), { name: 'InvalidClientTokenId', message: 'The security token included in the request is invalid.' });
    const elsewhere = new STSClient({ endpoint: bed.origin, region: 'eu-west-1', maxAttempts: 1, credentials: { ...CREDENTIALS } });
    await assert.rejects(elsewhere.send(new GetCallerIdentityCommand({})), { name: 'SignatureDoesNotMatch', message: 'Credential should be scoped to a valid region.' });
  });

  test('a service that is not here is told which are', async () => {
    const answer = await post('Action=DescribeInstances&Version=2016-11-15', 'ec2');
    assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [404, 'UnknownOperationException']);
    assert.match(answer.text, /Lull does not serve ec2: its services are lambda, s3, sts, iam, logs/);
    const credential = 'Credential=AKIALULLTEST00000000/20261127/us-east-1/ec2/aws4_request';
    const head = `POST / HTTP/1.1\r\nhost: x\r\nauthorization: AWS4-HMAC-SHA256 ${credential}\r\ncontent-type: application/json\r\n`;
    const unread = await bed.raw(`${head}content-length: 1073741824\r\n\r\n{`);
    assert.match(unread, /^HTTP\/1\.1 404 /, 'its body is not waited for');
  });
});
