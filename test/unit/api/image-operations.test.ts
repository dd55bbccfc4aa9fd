import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import * as sdk from '@aws-sdk/client-lambda-microvms';
import { OPERATIONS } from '../../../src/contract/operations.ts';
import { imageConfig, imageRecord, versionRecord } from '../../fakes/records.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';
const BASE = 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1';
const REQUIRED = {
  baseImageArn: BASE,
  buildRoleArn: 'arn:aws:iam::000000000000:role/build',
  codeArtifact: { uri: 's3://artifacts/app.zip' },
};

describe('image operations through the AWS SDK', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());
  beforeEach(() => {
    bed.control.calls.length = 0;
    bed.control.instead.clear();
  });
  const lastArgs = () => bed.control.calls.at(-1)!.args;

  test('CreateMicrovmImage: 201, every member passed on, the answer echoes the configuration', async () => {
    const hooks = { port: 9000, microvmHooks: { run: 'ENABLED', runTimeoutInSeconds: 5 }, microvmImageHooks: { ready: 'ENABLED' } } as const;
    const answer = await bed.lambda.send(
      new sdk.CreateMicrovmImageCommand({
        ...REQUIRED,
        name: 'app',
        baseImageVersion: '1',
        description: 'd',
        logging: { cloudWatch: { logGroup: 'g' } },
        egressNetworkConnectors: [],
        cpuConfigurations: [{ architecture: 'ARM_64' }],
        resources: [{ minimumMemoryInMiB: 512 }],
        additionalOsCapabilities: ['ALL'],
        hooks,
        environmentVariables: { A: '1', B: '' },
        tags: { team: 'x' },
        clientToken: 't',
      }),
    );
    assert.equal(answer.$metadata.httpStatusCode, 201);
    assert.deepEqual([answer.imageArn, answer.state, answer.imageVersion, answer.tags], [ARN, 'CREATING', '1.0', { team: 'x' }]);
    const input = JSON.parse(JSON.stringify(lastArgs()[0]));
    assert.deepEqual(input, {
      name: 'app',
      tags: { team: 'x' },
      clientToken: 't',
      config: {
        baseImageArn: BASE,
        baseImageVersion: '1',
        buildRoleArn: REQUIRED.buildRoleArn,
        codeArtifactUri: 's3://artifacts/app.zip',
        description: 'd',
        logging: { cloudWatch: { logGroup: 'g' } },
        egressConnectors: null,
        cpuArchitectures: ['ARM_64'],
        minimumMemoryMib: 512,
        additionalOsCapabilities: ['ALL'],
        hooks,
        environmentVariables: { A: '1', B: '' },
      },
    });
  });

  test('the wire of a creation has the nulls and the unmodelled members of 1.10', async () => {
    const body = JSON.stringify({ ...REQUIRED, name: 'app' });
    const answer = await bed.call('POST', '/2025-09-09/microvm-images', { body, headers: { 'content-type': 'application/json' } });
    const wire = JSON.parse(answer.text);
    assert.equal(answer.status, 201);
    assert.deepEqual(wire, {
      id: 'id-of-app',
      imageArn: ARN,
      name: 'app',
      state: 'CREATING',
      createdAt: 1_785_391_234.567,
      updatedAt: 1_785_391_234.567,
      latestActiveImageVersion: null,
      latestFailedImageVersion: null,
      imageVersion: '1.0',
      ...REQUIRED,
      baseImageVersion: '1.0',
      description: null,
      logging: null,
      egressNetworkConnectors: ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS'],
      cpuConfigurations: null,
      resources: [{ minimumMemoryInMiB: 512 }],
      additionalOsCapabilities: null,
      hooks: null,
      environmentVariables: null,
      tags: null,
      buildPhaseOverrides: null,
      roleConfiguration: null,
    });
    assert.ok(OPERATIONS.CreateMicrovmImage.answer.safeParse(wire).success);
  });

  test('UpdateMicrovmImage: PUT by ARN, no tags in the answer', async () => {
    const answer = await bed.lambda.send(new sdk.UpdateMicrovmImageCommand({ ...REQUIRED, imageIdentifier: ARN }));
    assert.deepEqual([answer.state, answer.imageVersion, answer.latestActiveImageVersion], ['UPDATING', '2.0', '1.0']);
    const input = lastArgs()[0] as { imageIdentifier: string; clientToken: string };
    assert.equal(input.imageIdentifier, ARN);
    assert.match(input.clientToken, /^[0-9a-f-]{36}$/);
    const body = JSON.stringify(REQUIRED);
    const wire = await bed.call('PUT', '/2025-09-09/microvm-images/app', { body });
    assert.ok(!('tags' in JSON.parse(wire.text)));
  });

  test('Get, List and Delete of images; ARNs with raw colons', async () => {
    const got = await bed.lambda.send(new sdk.GetMicrovmImageCommand({ imageIdentifier: ARN }));
    assert.deepEqual([got.state, got.latestActiveImageVersion, got.tags], ['CREATED', '1.0', {}]);
    assert.deepEqual(lastArgs(), [ARN]);
    assert.equal((await bed.call('GET', `/2025-09-09/microvm-images/${ARN}`)).status, 200);
    assert.deepEqual(lastArgs(), [ARN]);
    const list = await bed.lambda.send(new sdk.ListMicrovmImagesCommand({ nameFilter: 'a+b' }));
    assert.equal(list.items!.length, 1);
    assert.deepEqual(lastArgs(), [{ nameFilter: 'a+b' }, { limit: 50 }]);
    const gone = await bed.lambda.send(new sdk.DeleteMicrovmImageCommand({ imageIdentifier: 'app' }));
    assert.deepEqual([gone.imageIdentifier, gone.state], [ARN, 'DELETING']);
  });

  test('versions: get, list, activate', async () => {
    const wire = JSON.parse((await bed.call('GET', '/2025-09-09/microvm-images/app/versions/1.0')).text);
    assert.equal(wire.tags, null);
    assert.equal(wire.versionStateTimeBucket, 'PENDING#26073006');
    assert.ok(OPERATIONS.GetMicrovmImageVersion.answer.safeParse(wire).success);
    const got = await bed.lambda.send(new sdk.GetMicrovmImageVersionCommand({ imageIdentifier: ARN, imageVersion: '1.0' }));
    assert.deepEqual(got.codeArtifact, REQUIRED.codeArtifact);
    const list = await bed.lambda.send(new sdk.ListMicrovmImageVersionsCommand({ imageIdentifier: ARN }));
    assert.equal(list.items!.length, 1);
    const patched = await bed.lambda.send(
      new sdk.UpdateMicrovmImageVersionCommand({ imageIdentifier: 'app', imageVersion: '1.0', status: 'INACTIVE' }),
    );
    assert.equal(patched.status, 'INACTIVE');
    assert.deepEqual(lastArgs(), ['app', '1.0', 'INACTIVE']);
  });

  test('DeleteMicrovmImageVersion answers what is going', async () => {
    const { imageIdentifier, imageVersion, state } = await bed.lambda.send(
      new sdk.DeleteMicrovmImageVersionCommand({ imageIdentifier: 'app', imageVersion: '2.0' }),
    );
    assert.deepEqual([imageIdentifier, imageVersion, state], [ARN, '2.0', 'DELETING']);
    assert.deepEqual(lastArgs(), ['app', '2.0']);
  });

  test('builds: the reason of a failure and the sizes of a snapshot', async () => {
    const build = {
      buildId: 'b1',
      state: 'SUCCESSFUL' as const,
      stateReason: 'why',
      sizes: { memoryBytes: 1, codeBytes: 2, diskBytes: 3 },
      createdAtMs: 1000,
    };
    bed.control.instead.set('images.version', async () => ({
      image: imageRecord('app'),
      version: versionRecord('app', '1.0', { build, config: imageConfig() }),
    }));
    const labels = { imageIdentifier: 'app', imageVersion: '1.0' };
    const list = await bed.lambda.send(new sdk.ListMicrovmImageBuildsCommand(labels));
    assert.deepEqual(list.items!.map((item) => [item.buildId, item.buildState, item.stateReason]), [['b1', 'SUCCESSFUL', 'why']]);
    assert.ok(!JSON.stringify(list.items).includes('snapshotBuild'));
    const other = await bed.lambda.send(new sdk.ListMicrovmImageBuildsCommand({ ...labels, chipsetGeneration: '3' }));
    assert.deepEqual(other.items, []);
    const got = await bed.lambda.send(new sdk.GetMicrovmImageBuildCommand({ ...labels, buildId: 'b1' }));
    assert.deepEqual(got.snapshotBuild, { memorySnapshotSizeInBytes: 1, codeInstallSizeInBytes: 2, diskSnapshotSizeInBytes: 3 });
    await assert.rejects(bed.lambda.send(new sdk.GetMicrovmImageBuildCommand({ ...labels, buildId: 'b2' })), { name: 'ResourceNotFoundException' });
  });

  test('managed images and their versions, paged', async () => {
    const images = await bed.lambda.send(new sdk.ListManagedMicrovmImagesCommand({}));
    assert.deepEqual(images.items!.map((image) => image.imageArn), [BASE]);
    const first = await bed.lambda.send(new sdk.ListManagedMicrovmImageVersionsCommand({ imageIdentifier: BASE, maxResults: 1 }));
    assert.deepEqual(first.items!.map((item) => [item.imageVersion, item.status]), [['1', 'AVAILABLE']]);
    const second = await bed.lambda.send(
      new sdk.ListManagedMicrovmImageVersionsCommand({ imageIdentifier: BASE, maxResults: 1, nextToken: first.nextToken }),
    );
    assert.deepEqual([second.items![0]!.imageVersion, second.nextToken], ['0', undefined]);
    await assert.rejects(bed.lambda.send(new sdk.ListManagedMicrovmImageVersionsCommand({ imageIdentifier: 'nothing' })), { name: 'ResourceNotFoundException' });
  });
});
