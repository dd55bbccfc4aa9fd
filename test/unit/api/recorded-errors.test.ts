/**
 * Every text that was recorded from AWS (contract reference, section 1.6), each with a call that provokes it: through AWS's own
 * SDK, over HTTP, from the use-cases over a real store. Machines and builds are doubles.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-lambda-microvms';
import { DEFAULT_REALM, imageArn, managedConnectorArn } from '../../../src/domain/ids.ts';
import type { ManagedConnector } from '../../../src/domain/ids.ts';
import { imageConfig, imageRecord, insertLaunchable, microvmRecord, versionRecord } from '../../fakes/records.ts';
import { AL2023, imagesBed } from '../control/images-bed.ts';
import type { ImagesBed } from '../control/images-bed.ts';
import { microvmsBed } from '../control/microvms-bed.ts';
import type { MicrovmsBed } from '../control/microvms-bed.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const NONE = imageArn(DEFAULT_REALM, 'none');
const APP = imageArn(DEFAULT_REALM, 'app');
const OFF = imageArn(DEFAULT_REALM, 'off');
const ROLE = 'arn:aws:iam::000000000000:role/build';
const MISSING = 'microvm-00000000-0000-4000-8000-000000000000';
const connectors = (...names: readonly ManagedConnector[]) => names.map((name) => managedConnectorArn(DEFAULT_REALM, name));
const token = { expirationInMinutes: 1, allowedPorts: [{ port: 80 }] };
const CREATE = { name: 'new', baseImageArn: AL2023, buildRoleArn: ROLE, codeArtifact: { uri: 's3://artifacts/app.zip' } };
const create = (fields: Partial<sdk.CreateMicrovmImageCommandInput>) => new sdk.CreateMicrovmImageCommand({ ...CREATE, ...fields });
const run = (fields: Partial<sdk.RunMicrovmCommandInput>) => new sdk.RunMicrovmCommand({ imageIdentifier: APP, ...fields });
const oneViolation = (rest: string) => `1 validation error detected: ${rest}`;

const NOT_FOUND = [404, 'ResourceNotFoundException'] as const;
const INVALID = [400, 'ValidationException'] as const;
const DENIED = [403, 'AccessDeniedException'] as const;
const QUOTA = [402, 'ServiceQuotaExceededException'] as const;

type Command =
  | sdk.CreateMicrovmAuthTokenCommand
  | sdk.CreateMicrovmImageCommand
  | sdk.CreateMicrovmShellAuthTokenCommand
  | sdk.DeleteMicrovmImageCommand
  | sdk.GetMicrovmCommand
  | sdk.GetMicrovmImageCommand
  | sdk.GetMicrovmImageVersionCommand
  | sdk.ResumeMicrovmCommand
  | sdk.RunMicrovmCommand
  | sdk.SuspendMicrovmCommand
  | sdk.TerminateMicrovmCommand
  | sdk.UpdateMicrovmImageVersionCommand;
type Recorded = readonly [situation: string, command: Command, is: readonly [status: number, exception: string], text: string | RegExp];

const RECORDED: readonly Recorded[] = [
  ['image not found', new sdk.GetMicrovmImageCommand({ imageIdentifier: NONE }), NOT_FOUND, `MicroVMImage not found for MicroVMImageID: ${NONE}`],
  ['version not found', new sdk.GetMicrovmImageVersionCommand({ imageIdentifier: APP, imageVersion: '9.0' }), NOT_FOUND, `MicroVMImage not found for MicroVMImage: ${APP}, Version: 9.0`],
  ['VM not found', new sdk.GetMicrovmCommand({ microvmIdentifier: MISSING }), NOT_FOUND, `MicroVM not found: ${MISSING}`],
  ['VM not found, by a change', new sdk.SuspendMicrovmCommand({ microvmIdentifier: MISSING }), NOT_FOUND, `MicroVM not found: ${MISSING}`],
  ['run: image missing', run({ imageIdentifier: NONE }), NOT_FOUND, `No active version found for MicroVM image ${NONE}`],
  ['run: no ACTIVE version', run({ imageIdentifier: OFF }), NOT_FOUND, `No active version found for MicroVM image ${OFF}`],
  ['run: the pinned version is not ACTIVE', run({ imageIdentifier: OFF, imageVersion: '1.0' }), NOT_FOUND, `No active version found for MicroVM image ${OFF} and version 1.0`],
  ['image identifier not an ARN', new sdk.GetMicrovmImageCommand({ imageIdentifier: 'not:an:arn' }), INVALID, 'Invalid ARN format: not:an:arn'],
  ['run: not an ARN', run({ imageIdentifier: 'not an arn' }), INVALID, "Malformed ARN - doesn't start with 'arn:'"],
  ['slash-form ARN', new sdk.GetMicrovmImageCommand({ imageIdentifier: APP.replace(':app', '/app') }), DENIED, /^The caller is not authorized to act on resource: arn:aws:lambda:us-east-1:000000000000:microvm-image\/app\./],
  ['duplicate image name', create({ name: 'app' }), INVALID, "A MicroVM image with the name 'app' already exists in this account"],
  ['duplicate image name while DELETING', create({ name: 'going' }), INVALID, "A MicroVM image with the name 'going' already exists in this account"],
  ['delete during first build', new sdk.DeleteMicrovmImageCommand({ imageIdentifier: imageArn(DEFAULT_REALM, 'building') }), INVALID, /^Cannot delete MicroVM image in its current state/],
  ['delete with live VMs', new sdk.DeleteMicrovmImageCommand({ imageIdentifier: imageArn(DEFAULT_REALM, 'used') }), INVALID, 'Cannot delete microvm image with running microvms.'],
  ['PATCH version while UPDATING', new sdk.UpdateMicrovmImageVersionCommand({ imageIdentifier: imageArn(DEFAULT_REALM, 'updating'), imageVersion: '1.0', status: 'INACTIVE' }), [409, 'ConflictException'], 'MicroVM Image is already in state: UPDATING'],
  ['suspend on TERMINATED', new sdk.SuspendMicrovmCommand({ microvmIdentifier: 'microvm-ended' }), INVALID, 'The MicroVM microvm-ended has been terminated and its state cannot be changed.'],
  ['token > 60 min', new sdk.CreateMicrovmAuthTokenCommand({ microvmIdentifier: 'microvm-asleep', ...token, expirationInMinutes: 61 }), INVALID, 'ExpirationMinutes 61 exceeded max allowed of 60.'],
  ['shell token without connector', new sdk.CreateMicrovmShellAuthTokenCommand({ microvmIdentifier: 'microvm-asleep', expirationInMinutes: 1 }), INVALID, 'Shell access requires SHELL_INGRESS network connector to be configured on the MicroVM.'],
  ['shell token with ALL_INGRESS + SHELL_INGRESS', new sdk.CreateMicrovmShellAuthTokenCommand({ microvmIdentifier: 'microvm-both', expirationInMinutes: 1 }), INVALID, 'ALL_INGRESS cannot be combined with other ingress network connectors; use HTTP_INGRESS and/or SHELL_INGRESS instead'],
  ['memory quota', run({ imageIdentifier: imageArn(DEFAULT_REALM, 'huge') }), QUOTA, 'The base maximum allocated memory limit has been reached for this account.'],
  ['too many concurrent builds', create({ name: 'third' }), QUOTA, /\b2\b/],
  ['memory size not supported', create({ resources: [{ minimumMemoryInMiB: 333 }] }), INVALID, /^The requested memory size of 333 MiB is not supported by base MicroVM image arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1\. Supported memory sizes in MiB are: \[.*512, 1024, 2048, 4096, 8192\]\.$/],
  ['base version unknown', create({ baseImageVersion: '999' }), INVALID, `No managed MicroVM Image with arn ${AL2023} and version 999 is available`],
  ['runtime hook without ready', create({ hooks: { port: 8080, microvmHooks: { suspend: 'ENABLED' } } }), INVALID, 'The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook (run, resume, suspend, or terminate) is enabled.'],
  ['payload without run hook', run({ runHookPayload: 'x' }), INVALID, 'The run hook must be enabled in the MicroVM image to pass the run hook payload.'],
  ['unknown managed connector', run({ egressNetworkConnectors: [managedConnectorArn(DEFAULT_REALM, 'NO_EGRESS' as ManagedConnector)] }), INVALID, `Unrecognized managed network connector ARN: ${managedConnectorArn(DEFAULT_REALM, 'NO_EGRESS' as ManagedConnector)}`],
  ['bare connector name', run({ ingressNetworkConnectors: ['HTTP_INGRESS'] }), INVALID, 'Malformed network connector ARN'],
  ['codeArtifact not S3', create({ codeArtifact: { uri: 'https://example.com/app.zip' } }), INVALID, 'CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>'],
  ['execution role not assumable at run', run({ executionRoleArn: 'arn:aws:iam::000000000000:role/nobody' }), DENIED, /iam:PassRole/],
  ['constraint: not null', new sdk.CreateMicrovmAuthTokenCommand({ microvmIdentifier: MISSING, expirationInMinutes: undefined, allowedPorts: [{ port: 1 }] }), INVALID, oneViolation("Value null at 'expirationInMinutes' failed to satisfy constraint: Member must not be null")],
  ['constraint: length', run({ runHookPayload: 'x'.repeat(4097) }), INVALID, oneViolation("Value at 'runHookPayload' failed to satisfy constraint: Member must have length less than or equal to 4096")],
  ['constraint: pattern', create({ name: 'no spaces' }), INVALID, oneViolation("Value 'no spaces' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+")],
  ['constraints: several', create({ name: 'no spaces', baseImageArn: '' }), INVALID, /^\d validation errors detected: .*; /],
];

/** What AWS answers with success although it changes nothing. */
const REPEATED: readonly (readonly [string, Command])[] = [
  ['terminate on TERMINATED', new sdk.TerminateMicrovmCommand({ microvmIdentifier: 'microvm-ended' })],
  ['suspend on SUSPENDED', new sdk.SuspendMicrovmCommand({ microvmIdentifier: 'microvm-asleep' })],
  ['resume on RUNNING', new sdk.ResumeMicrovmCommand({ microvmIdentifier: 'microvm-awake' })],
];

describe('what AWS was recorded to answer', () => {
  let api: ApiBed;
  let images: ImagesBed;
  let microvms: MicrovmsBed;

  before(async () => {
    images = await imagesBed({ buildsAtOnce: 1, buildsWaiting: 1 });
    microvms = await microvmsBed();
    api = await startApi();
    for (const [name, useCase] of Object.entries(images.images)) api.control.instead.set(`images.${name}`, useCase);
    for (const [name, useCase] of Object.entries(microvms.microvms.useCases)) api.control.instead.set(`microvms.${name}`, useCase);
    await fill();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await microvms[Symbol.asyncDispose]();
    await images[Symbol.asyncDispose]();
  });

  /** Images and microVMs in the states that the calls meet. */
  async function fill(): Promise<void> {
    for (const name of ['app', 'used']) await insertLaunchable(images.store, name);
    await images.store.images.insert(imageRecord('going', { state: 'DELETING' }), versionRecord('going', '1.0', { state: 'DELETING' }));
    await images.store.images.insert(imageRecord('updating', { state: 'UPDATING' }), versionRecord('updating', '1.0', { state: 'SUCCESSFUL', status: 'ACTIVE' }));
    await images.store.microvms.insert(microvmRecord('user', { imageName: 'used', snapshotId: 'snapshot-used-1.0', state: 'RUNNING' }));
    for (const name of ['building', 'waiting']) await images.images.create({ name, config: configOf(), tags: {}, clientToken: null });
    await microvms.store.images.insert(imageRecord('off', { state: 'CREATED' }), versionRecord('off', '1.0', { state: 'SUCCESSFUL', status: 'INACTIVE' }));
    const huge = versionRecord('huge', '1.0', { state: 'SUCCESSFUL', status: 'ACTIVE', config: imageConfig({ minimumMemoryMib: 8192 }) });
    await microvms.store.images.insert(imageRecord('huge', { state: 'CREATED' }), huge);
    const http = { ingressConnectors: connectors('HTTP_INGRESS') };
    for (const [name, fields] of [
      ['ended', { state: 'TERMINATED', ...http }],
      ['asleep', { state: 'SUSPENDED', ...http }],
      ['awake', { state: 'RUNNING', ...http }],
      ['both', { state: 'RUNNING', ingressConnectors: connectors('ALL_INGRESS', 'SHELL_INGRESS') }],
    ] as const) {
      await microvms.store.microvms.insert(microvmRecord(name, { ...fields, endpointId: `${name}` }));
    }
  }

  const configOf = () => ({ ...imageConfig(), baseImageArn: AL2023, baseImageVersion: null });

  for (const [situation, command, [status, exception], text] of RECORDED) {
    test(`recorded: ${situation}`, async () => {
      const error = await api.lambda.send(command as sdk.GetMicrovmCommand).then(
        () => assert.fail('it was accepted'),
        (refusal: sdk.LambdaMicrovmsServiceException) => refusal,
      );
      assert.deepEqual([error.name, error.$metadata.httpStatusCode], [exception, status], error.message);
      assert.ok(error.$metadata.requestId);
      if (typeof text === 'string') assert.equal(error.message, text);
      else assert.match(error.message, text);
    });
  }

  for (const [situation, command] of REPEATED) {
    test(`${situation} is 200 {}`, async () => {
      const { $metadata, ...answer } = await api.lambda.send(command as sdk.GetMicrovmCommand);
      assert.deepEqual([$metadata.httpStatusCode, answer], [200, {}]);
    });
  }

  test('allPorts: true is 400 {"Message":"Expected null"}', async () => {
    const body = JSON.stringify({ expirationInMinutes: 1, allowedPorts: [{ allPorts: true }] });
    const answer = await api.call('POST', `/2025-09-09/microvms/${MISSING}/auth-token`, { body, headers: { 'content-type': 'application/json' } });
    assert.deepEqual([answer.status, answer.text], [400, '{"Message":"Expected null"}']);
  });
});
