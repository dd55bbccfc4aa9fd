import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-lambda-microvms';
import { OPERATIONS } from '../../../src/contract/operations.ts';
import { LullError } from '../../../src/domain/errors.ts';
import * as refusals from '../../../src/domain/refusals.ts';
import { microvmRecord } from '../../fakes/records.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const IMAGE_ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';

describe('MicroVM operations through the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());
  beforeEach(() => {
    bed.control.calls.length = 0;
    bed.control.instead.clear();
  });

  test('RunMicrovm passes every member on and answers the record', async () => {
    const answer = await bed.lambda.send(
      new sdk.RunMicrovmCommand({
        imageIdentifier: IMAGE_ARN,
        imageVersion: '1.0',
        executionRoleArn: 'arn:aws:iam::000000000000:role/run',
        idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true },
        maximumDurationInSeconds: 300,
        runHookPayload: 'hello',
        ingressNetworkConnectors: ['a'],
        egressNetworkConnectors: [],
        logging: { disabled: {} },
        clientToken: 'token',
      }),
    );
    assert.deepEqual(bed.control.calls, [
      {
        useCase: 'microvms.run',
        args: [
          {
            imageIdentifier: IMAGE_ARN,
            imageVersion: '1.0',
            executionRoleArn: 'arn:aws:iam::000000000000:role/run',
            idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true },
            maximumDurationSeconds: 300,
            runHookPayload: 'hello',
            ingressConnectors: ['a'],
            egressConnectors: null,
            logging: { disabled: {} },
            clientToken: 'token',
          },
        ],
      },
    ]);
    const record = microvmRecord('one');
    assert.equal(answer.state, 'PENDING');
    assert.equal(answer.endpoint, 'endpoint-one.microvm.localhost:8443');
    assert.equal(answer.startedAt?.getTime(), record.startedAtMs);
    assert.deepEqual(answer.egressNetworkConnectors, [...record.egressConnectors]);
    assert.ok(answer.$metadata.requestId);
  });

  test('RunMicrovm fills in the defaults, and accepts null for what is left out', async () => {
    const body = JSON.stringify({ imageIdentifier: 'app', idlePolicy: null, logging: null, clientToken: null });
    const answer = await bed.call('POST', '/2025-09-09/microvms', { body, headers: { 'content-type': 'application/json' } });
    assert.equal(answer.status, 200);
    const [input] = bed.control.calls[0]!.args as [Record<string, unknown>];
    assert.equal(input['maximumDurationSeconds'], 28_800);
    assert.equal(input['idlePolicy'], null);
    assert.equal(input['ingressConnectors'], null);
  });

  test('the wire has explicit nulls, unmodelled members and numbers as timestamps (1.3, 1.10)', async () => {
    const answer = await bed.call('GET', '/2025-09-09/microvms/microvm-one');
    const body: Record<string, unknown> = JSON.parse(answer.text);
    assert.equal(answer.status, 200);
    assert.equal(body['startedAt'], 1_785_391_234.567);
    for (const member of ['terminatedAt', 'stateReason', 'terminationReasonCode', 'executionRoleArn', 'idlePolicy']) {
      assert.equal(body[member], null, member);
    }
    assert.ok(OPERATIONS.GetMicrovm.answer.safeParse(body).success);
  });

  test('ListMicrovms: filters, pages, five members, a waking microVM is SUSPENDED', async () => {
    bed.control.instead.set('microvms.list', async () => ({ items: [microvmRecord('one', { state: 'WAKING' })], next: 'position/1' }));
    const first = await bed.lambda.send(new sdk.ListMicrovmsCommand({ imageIdentifier: 'app', imageVersion: '1.0', maxResults: 1 }));
    assert.deepEqual(Object.keys(first.items![0]!).toSorted(), ['imageArn', 'imageVersion', 'microvmId', 'startedAt', 'state']);
    assert.equal(first.items![0]!.state, 'SUSPENDED');
    await bed.lambda.send(new sdk.ListMicrovmsCommand({ nextToken: first.nextToken, maxResults: 2 }));
    assert.deepEqual(bed.control.calls.map((call) => call.args), [
      [{ imageArn: IMAGE_ARN, imageVersion: '1.0' }, { limit: 1 }],
      [{ imageArn: undefined, imageVersion: undefined }, { limit: 2, after: 'position/1' }],
    ]);
  });

  test('a nextToken of another listing, a broken one, and an unencoded = are refused', async () => {
    bed.control.instead.set('microvms.list', async () => ({ items: [], next: 'x' }));
    const { nextToken } = await bed.lambda.send(new sdk.ListMicrovmsCommand({}));
    await assert.rejects(bed.lambda.send(new sdk.ListMicrovmImagesCommand({ nextToken })), { name: 'ValidationException' });
    await assert.rejects(bed.lambda.send(new sdk.ListMicrovmsCommand({ nextToken: '%%%' })), { name: 'ValidationException' });
    const answer = await bed.call('GET', '/2025-09-09/microvms?nextToken=abc==');
    assert.deepEqual([answer.status, JSON.parse(answer.text)], [400, { message: null }]);
  });

  test('suspend, resume and terminate take the label, raw or encoded, and answer {}', async () => {
    await bed.lambda.send(new sdk.SuspendMicrovmCommand({ microvmIdentifier: 'microvm-one' }));
    await bed.lambda.send(new sdk.ResumeMicrovmCommand({ microvmIdentifier: 'microvm-one' }));
    await bed.lambda.send(new sdk.TerminateMicrovmCommand({ microvmIdentifier: 'microvm-one' }));
    const answer = await bed.call('POST', '/2025-09-09/microvms/a%2Fb%3Ac/suspend');
    assert.equal(answer.text, '{}');
    assert.deepEqual(
      bed.control.calls.map(({ useCase, args }) => [useCase, ...args]),
      [
        ['microvms.suspend', 'microvm-one'],
        ['microvms.resume', 'microvm-one'],
        ['microvms.terminate', 'microvm-one'],
        ['microvms.suspend', 'a/b:c'],
      ],
    );
  });

  test('CreateMicrovmAuthToken: the three forms of ports', async () => {
    const answer = await bed.lambda.send(
      new sdk.CreateMicrovmAuthTokenCommand({
        microvmIdentifier: 'microvm-one',
        expirationInMinutes: 5,
        allowedPorts: [{ port: 8080 }, { range: { startPort: 1, endPort: 2 } }, { allPorts: {} }],
      }),
    );
    assert.deepEqual(answer.authToken, { 'X-aws-proxy-auth': 'a.b.c.d.e' });
    const ports = [{ from: 8080, to: 8080 }, { from: 1, to: 2 }, { from: 1, to: 65_535 }];
    assert.deepEqual(bed.control.calls[0]!.args, [{ microvmId: 'microvm-one', expirationMinutes: 5, ports }]);
  });

  const errors: [string, Error, number, string, Record<string, unknown>][] = [
    ['not found', refusals.microvmNotFound('microvm-x'), 404, 'ResourceNotFoundException', { resourceId: null, resourceType: null }],
    ['validation', refusals.microvmTerminated('microvm-x'), 400, 'ValidationException', {}],
    ['conflict', refusals.clientTokenReused('t'), 409, 'ConflictException', { resourceId: null, resourceType: null }],
    ['quota', refusals.memoryQuotaReached(), 402, 'ServiceQuotaExceededException', { serviceCode: 'lambda', quotaCode: 'L-CD1C0CC4', resourceId: null, resourceType: null }],
    ['capacity', refusals.hostFull('the host is full'), 500, 'InsufficientCapacityException', {}],
    ['access', new LullError('access-denied', 'no'), 403, 'AccessDeniedException', {}],
    ['throttled', new LullError('throttled', 'slow down'), 429, 'ThrottlingException', { serviceCode: null, quotaCode: null }],
    ['internal', new LullError('internal', 'the disk is gone'), 500, 'InternalServerException', {}],
  ];
  for (const [title, error, status, name, members] of errors) {
    test(`error: ${title} is ${status} ${name}`, async () => {
      bed.control.instead.set('microvms.get', async () => {
        throw error;
      });
      const thrown = await bed.lambda.send(new sdk.GetMicrovmCommand({ microvmIdentifier: 'microvm-x' })).catch((reason: unknown) => reason);
      assert.ok(thrown instanceof sdk.LambdaMicrovmsServiceException);
      assert.deepEqual([thrown.name, thrown.$metadata.httpStatusCode, thrown.message], [name, status, error.message]);
      const answer = await bed.call('GET', '/2025-09-09/microvms/microvm-x');
      assert.deepEqual(JSON.parse(answer.text), { message: error.message, ...members });
      assert.equal(answer.headers.get('x-amzn-errortype'), name);
      assert.ok(answer.headers.get('x-amzn-requestid'));
      assert.equal(answer.headers.get('retry-after'), status === 429 ? '1' : null);
    });
  }

  test('a defect shows nothing of itself, and the log has it under the request id', async () => {
    bed.control.instead.set('microvms.get', () => {
      throw new TypeError('secret detail');
    });
    const answer = await bed.call('GET', '/2025-09-09/microvms/microvm-x');
    assert.equal(answer.status, 500);
    assert.ok(!answer.text.includes('secret'));
    const id = answer.headers.get('x-amzn-requestid');
    assert.ok(bed.logLines.some((line) => line['requestId'] === id && JSON.stringify(line['err']).includes('secret detail')));
  });
});
