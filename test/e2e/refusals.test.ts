/** What cannot work: AWS's words for it, a log that names the step, and a server that goes on. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cannotServe, LullServer, type BuildOutcome } from './lull-server.ts';
import { zipOf } from './zip.ts';

const ACCOUNT_IMAGES = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:';
const BASE_IMAGE = 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1';

const said = ({ log }: BuildOutcome, step: string) => log.filter((line) => line.step === step).map(({ text }) => text).join('\n');

describe('refusals', { skip: await cannotServe() }, () => {
  let server: LullServer;
  before(async () => {
    server = await LullServer.start();
  });
  after(() => server?.[Symbol.asyncDispose]());

  const dockerfile = async (name: string, text: string, input = {}): Promise<BuildOutcome> =>
    server.buildBytes(name, await zipOf({ Dockerfile: text }), input);

  /** A failed build leaves its log, and nothing else. */
  const failed = async (outcome: BuildOutcome, expected: { reason: string | RegExp; step?: string }) => {
    assert.equal(outcome.imageState, 'CREATE_FAILED');
    if (typeof expected.reason === 'string') assert.equal(outcome.stateReason, expected.reason);
    else assert.match(outcome.stateReason ?? '', expected.reason);
    if (expected.step !== undefined) assert.deepEqual(outcome.failedSteps, [expected.step]);
    const { latestFailedImageVersion, latestActiveImageVersion } = await server.lambda.getMicrovmImage({ imageIdentifier: outcome.imageArn });
    assert.equal(latestFailedImageVersion, '1.0');
    assert.equal(latestActiveImageVersion ?? undefined, undefined);
    await assert.rejects(server.run(outcome.imageArn), {
      name: 'ResourceNotFoundException',
      message: `No active version found for MicroVM image ${outcome.imageArn}`,
    });
  };

  it('a RUN that fails', async () => {
    const outcome = await dockerfile('bad-run', 'FROM lull/base\nRUN echo "these were the last words" && exit 7\n');
    await failed(outcome, { reason: 'The container image build failed.', step: 'container' });
    assert.match(said(outcome, 'container'), /^these were the last words$/m);
    assert.match(said(outcome, 'container'), /exit 7|status 7/);
  });

  it('artifacts that are none', async () => {
    const noDockerfile = server.buildBytes('no-dockerfile', await zipOf({ 'app.py': 'print()' }));
    const noZip = server.buildBytes('no-zip', Buffer.from('FROM lull/base\n'));
    const noKey = server.buildBytes('no-key', null);
    const noBucket = server.buildBytes('no-bucket', null, { codeArtifact: { uri: 's3://nobody-made-it/app.zip' } });
    await failed(await noDockerfile, { reason: 'The code artifact has no Dockerfile at its root.', step: 'unpack' });
    await failed(await noZip, { reason: /^The code artifact is not usable: /, step: 'unpack' });
    await failed(await noKey, { reason: 'The S3 object of the code artifact does not exist.' });
    await failed(await noBucket, { reason: 'The S3 bucket of the code artifact does not exist.' });
  });

  it('applications that do not come up', async () => {
    const [dying, absent] = await Promise.all([
      dockerfile('dying', 'FROM lull/base\nCMD ["sh", "-c", "echo it was the config >&2; exit 4"]\n'),
      dockerfile('absent', 'FROM lull/base\nCMD ["/usr/bin/not-there"]\n'),
    ]);
    await failed(dying, { reason: 'Container Stopped with Exit Code: 4', step: 'start application' });
    assert.match(said(dying, 'application'), /^it was the config$/m);
    await failed(absent, { reason: /^The application could not be started: .*not-there/, step: 'start application' });
    assert.deepEqual(await server.vmms(), []);
  });

  it('an application that never listens where its ready hook is', async () => {
    // The limit of a ready hook can be chosen, that of EXPOSE cannot: a minute, ten times that under emulation.
    const hooks = { port: 8080, microvmImageHooks: { ready: 'ENABLED' as const, readyTimeoutInSeconds: 1 } };
    const outcome = await dockerfile('deaf', 'FROM lull/base\nEXPOSE 8080\nCMD ["sleep", "600"]\n', { hooks });
    await failed(outcome, { reason: 'Ready hook invocation timed out after PT1S', step: 'start application' });
    assert.deepEqual(await server.vmms(), []);
  });

  it('leaves the log of each failed build, and no other file of it', async () => {
    const images = join(server.data, 'images');
    for (const folder of await readdir(images)) assert.deepEqual(await readdir(join(images, folder)), ['build.ndjson']);
  });

  it('calls that make no sense, in the words of AWS', async () => {
    const { lambda } = server;
    const create = (input: object) =>
      lambda.createMicrovmImage({
        name: 'never',
        baseImageArn: BASE_IMAGE,
        buildRoleArn: 'arn:aws:iam::000000000000:role/build',
        codeArtifact: { uri: 's3://artifacts/never.zip' },
        ...input,
      });
    const invalid = (message: string | RegExp) => ({ name: 'ValidationException', message });
    await assert.rejects(create({ name: 'bad-run' }), invalid("A MicroVM image with the name 'bad-run' already exists in this account"));
    await assert.rejects(create({ name: 'no spaces' }), invalid(/^1 validation error detected: Value 'no spaces' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern/));
    await assert.rejects(create({ resources: [{ minimumMemoryInMiB: 333 }] }), invalid(/^The requested memory size of 333 MiB is not supported by base MicroVM image /));
    await assert.rejects(create({ baseImageVersion: '999' }), invalid(`No managed MicroVM Image with arn ${BASE_IMAGE} and version 999 is available`));
    await assert.rejects(create({ codeArtifact: { uri: 'https://example.org/app.zip' } }), invalid('CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>'));
    await assert.rejects(create({ hooks: { port: 9000, microvmHooks: { run: 'ENABLED' } } }), invalid(/^The ready \(\/ready\) MicroVM image hook must be enabled/));
    await assert.rejects(lambda.getMicrovmImage({ imageIdentifier: `${ACCOUNT_IMAGES}never` }), { name: 'ResourceNotFoundException', message: `MicroVMImage not found for MicroVMImageID: ${ACCOUNT_IMAGES}never` });
    await assert.rejects(server.run(`${ACCOUNT_IMAGES}never`), { name: 'ResourceNotFoundException', message: `No active version found for MicroVM image ${ACCOUNT_IMAGES}never` });
    await assert.rejects(server.run('x:y'), invalid("Malformed ARN - doesn't start with 'arn:'"));
    const idlePolicy = { maxIdleDurationSeconds: 59, suspendedDurationSeconds: 1, autoResumeEnabled: true };
    await assert.rejects(server.run(`${ACCOUNT_IMAGES}bad-run`, { idlePolicy }), invalid(/^1 validation error detected: Value '59' at 'idlePolicy.maxIdleDurationSeconds' failed to satisfy constraint/));
    await assert.rejects(server.run(`${ACCOUNT_IMAGES}bad-run`, { maximumDurationInSeconds: 28_801 }), invalid(/^1 validation error detected: Value '28801' at 'maximumDurationInSeconds'/));
    await assert.rejects(lambda.suspendMicrovm({ microvmIdentifier: 'microvm-00000000-0000-4000-8000-000000000000' }), { name: 'ResourceNotFoundException' });
  });

  it('still serves afterwards', async () => {
    assert.equal((await server.client.health()).status, 'ok');
    const { items } = await server.lambda.listMicrovmImages({});
    assert.ok(items!.length >= 8 && items!.every(({ state }) => state === 'CREATE_FAILED'));
    assert.deepEqual((await server.lambda.listMicrovms({})).items, []);
    for (const { imageArn } of items!) await server.lambda.deleteMicrovmImage({ imageIdentifier: imageArn });
  });
});
