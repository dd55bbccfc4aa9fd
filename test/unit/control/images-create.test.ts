import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DEFAULT_REALM, managedConnectorArn } from '../../../src/domain/ids.ts';
import { BUILD_FAILURES, BuildFailure, type HooksConfig } from '../../../src/domain/image.ts';
import { AL2023, configInput, createInput, imagesBed } from './images-bed.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';

const installed = (failure: BuildFailure) => Object.assign(failure, { codeBytes: 77 });

suite('creating an image', () => {
  test('answers CREATING, version 1.0 PENDING with its defaults, and ends CREATED, SUCCESSFUL, ACTIVE', async () => {
    await using bed = await imagesBed();
    const config = configInput({ minimumMemoryMib: null, egressConnectors: [] });
    const { image, version } = await bed.images.create(createInput('app', { config, tags: { a: 'b' } }));
    assert.equal(image.imageArn, ARN);
    assert.equal(image.state, 'CREATING');
    assert.deepEqual(image.tags, { a: 'b' });
    assert.deepEqual([version.version, version.state, version.status], ['1.0', 'PENDING', 'INACTIVE']);
    assert.equal(version.config.baseImageVersion, '1.0');
    assert.equal(version.config.minimumMemoryMib, 2048);
    assert.deepEqual(version.config.egressConnectors, [managedConnectorArn(DEFAULT_REALM, 'INTERNET_EGRESS')]);

    const build = await bed.builder.next();
    assert.equal((await bed.images.version(ARN, '1.0')).version.state, 'IN_PROGRESS');
    assert.equal(build.artifact, 'zip');
    const { artifactPath, ...request } = build.request;
    assert.deepEqual(request, {
      imageName: 'app',
      imageArn: ARN,
      imageVersion: '1.0',
      snapshotId: version.snapshotId,
      config: version.config,
      region: 'us-east-1',
    });
    build.succeed({ memoryBytes: 1, codeBytes: 2, diskBytes: 3 });
    await bed.images.idle();
    const after = await bed.images.version('app', '1.0');
    assert.deepEqual([after.image.state, after.image.latestActiveVersion, after.image.latestFailedVersion], ['CREATED', '1.0', null]);
    assert.deepEqual([after.version.state, after.version.status], ['SUCCESSFUL', 'ACTIVE']);
    assert.deepEqual([after.version.build.state, after.version.build.sizes], ['SUCCESSFUL', { memoryBytes: 1, codeBytes: 2, diskBytes: 3 }]);
    assert.ok(after.image.updatedAtMs > image.updatedAtMs);
    assert.equal(artifactPath.split('/').at(-1), after.version.artifactBlobId, 'the code stays with its version');
  });

  const FAILURES = [
    { name: 'a build failure gives its reason', error: new BuildFailure('READY_HOOK_FAILED', 'ready', { reason: 'Ready hook invocation timed out after PT5M' }), reason: 'Ready hook invocation timed out after PT5M', errors: 0 },
    { name: 'a failure after the code was installed tells its size (2.5)', error: installed(new BuildFailure('VALIDATE_HOOK_FAILED', 'validate', { reason: 'Validate hook invocation timed out after PT10M' })), reason: 'Validate hook invocation timed out after PT10M', sizes: { codeBytes: 77 }, errors: 0 },
    { name: 'any other error is ours, and its text stays in the log', error: new Error('secret path'), reason: BUILD_FAILURES.INTERNAL_PLATFORM_ERROR, errors: 1 },
  ];
  for (const { name, error, reason, errors, sizes = null } of FAILURES) {
    test(name, async () => {
      await using bed = await imagesBed();
      await bed.images.create(createInput('app'));
      (await bed.builder.next()).fail(error);
      await bed.images.idle();
      const { image, version } = await bed.images.version('app', '1.0');
      assert.deepEqual([image.state, image.latestActiveVersion, image.latestFailedVersion], ['CREATE_FAILED', null, '1.0']);
      assert.deepEqual([version.state, version.status, version.build.state, version.build.stateReason], ['FAILED', 'INACTIVE', 'FAILED', reason]);
      assert.deepEqual(version.build.sizes, sizes);
      assert.equal(bed.errors.length, errors);
    });
  }

  for (const [uri, reason] of [
    ['s3://nowhere/app.zip', BUILD_FAILURES.S3_NO_SUCH_BUCKET],
    ['s3://artifacts/none.zip', BUILD_FAILURES.S3_NO_SUCH_KEY],
  ] as const) {
    test(`${uri} fails the build, not the call: ${reason}`, async () => {
      await using bed = await imagesBed();
      await bed.images.create(createInput('app', { config: configInput({ codeArtifactUri: uri }) }));
      await bed.images.idle();
      const { version } = await bed.images.version('app', '1.0');
      assert.deepEqual([version.state, version.build.stateReason], ['FAILED', reason]);
    });
  }

  test('a new upload of the artifact does not touch a build that has it', async () => {
    await using bed = await imagesBed();
    await bed.images.create(createInput('app'));
    const build = await bed.builder.next();
    await bed.upload('app.zip', 'newer');
    const bytes = await bed.blobs.read(build.request.artifactPath.split('/').at(-1)!).toArray();
    assert.equal(Buffer.concat(bytes as Buffer[]).toString(), 'zip');
    build.succeed();
  });

  test('a name is taken, also by a failed image', async () => {
    await using bed = await imagesBed();
    await bed.images.create(createInput('app'));
    const message = "A MicroVM image with the name 'app' already exists in this account";
    await assert.rejects(bed.images.create(createInput('app')), { kind: 'validation', message });
    (await bed.builder.next()).fail(new BuildFailure('CONTAINER_BUILD_FAILED', 'build'));
    await bed.images.idle();
    await assert.rejects(bed.images.create(createInput('app')), { kind: 'validation', message });
  });

  const hooks = (microvmHooks: HooksConfig['microvmHooks'], ready?: 'ENABLED'): HooksConfig => ({ port: 9000, microvmHooks, microvmImageHooks: { ready } });
  const REFUSED = [
    { config: configInput({ codeArtifactUri: 'https://example.com/a.zip' }), message: /^CodeArtifact URI must be a valid S3 URI in the format: s3:\/\/<bucket>\/<key>$/ },
    { config: configInput({ codeArtifactUri: 's3://artifacts/' }), message: /^CodeArtifact URI/ },
    { config: configInput({ minimumMemoryMib: 1000 }), message: /^The requested memory size of 1000 MiB is not supported by base MicroVM image .*al2023-1\. Supported memory sizes in MiB are: \[128, 256, 512, 1024, 2048, 4096, 8192\]\.$/ },
    { config: configInput({ baseImageVersion: '999' }), message: `No managed MicroVM Image with arn ${AL2023} and version 999 is available` },
    { config: configInput({ baseImageArn: ARN }), message: /^No managed MicroVM Image with arn .*:app and version latest is available$/ },
    { config: configInput({ hooks: hooks({ suspend: 'ENABLED' }) }), message: /^The ready \(\/ready\) MicroVM image hook must be enabled/ },
    { config: configInput({ hooks: { microvmImageHooks: { validate: 'ENABLED' } } }), message: 'The hooks port must be given when any hook is enabled.' },
    { config: configInput({ egressConnectors: ['INTERNET_EGRESS'] }), message: 'Malformed network connector ARN' },
    { config: configInput({ egressConnectors: [managedConnectorArn(DEFAULT_REALM, 'HTTP_INGRESS')] }), message: /^Unrecognized managed network connector ARN: / },
  ];
  for (const { config, message } of REFUSED) {
    test(`is refused: ${String(message)}`, async () => {
      await using bed = await imagesBed();
      await assert.rejects(bed.images.create(createInput('app', { config })), { kind: 'validation', message });
      assert.deepEqual((await bed.images.list({}, { limit: 5 })).items, []);
    });
  }

  test('builds for the host whatever the architecture, and where it is to be strict refuses what the host is not', async () => {
    const armed = (name: string) => createInput(name, { config: configInput({ cpuArchitectures: ['ARM_64'] }) });
    await using bed = await imagesBed();
    await bed.images.create(armed('app'));
    await using strict = await imagesBed({ isStrict: true });
    await assert.rejects(strict.images.create(armed('app')), { kind: 'validation', message: /^cpuConfigurations ask for ARM_64, and this host builds for X86_64 only/ });
    await strict.images.create(createInput('app'));
  });

  test('is accepted: every base image by both forms of its version, lifecycle hooks with ready', async () => {
    await using bed = await imagesBed({ buildsAtOnce: 1, buildsWaiting: 20 });
    const bases = bed.images.managed().flatMap(({ imageArn, versions }) => versions.flatMap(({ version }) => [[imageArn, version, version], [imageArn, `${version}.0`, version]] as const));
    for (const [n, [baseImageArn, baseImageVersion, version]] of bases.entries()) {
      const config = configInput({ baseImageArn, baseImageVersion, hooks: hooks({ run: 'ENABLED' }, 'ENABLED') });
      const made = await bed.images.create(createInput(`app${n}`, { config }));
      assert.equal(made.version.config.baseImageVersion, `${version}.0`);
    }
    assert.ok(bases.length >= 6);
  });

  test('a client token: repeated is answered, with other parameters refused, whatever the order of names', async () => {
    await using bed = await imagesBed();
    const input = createInput('app', { clientToken: 't', tags: { a: '1', b: '2' } });
    const [first, second] = await Promise.all([bed.images.create(input), bed.images.create({ ...input, tags: { b: '2', a: '1' } })]);
    assert.equal(second.version.snapshotId, first.version.snapshotId);
    (await bed.builder.next()).succeed();
    await bed.images.idle();
    assert.equal((await bed.images.create(input)).image.id, first.image.id);
    assert.equal(bed.builder.begun, 0);
    for (const other of [{ tags: {} }, { name: 'other' }, { config: configInput({ description: 'x' }) }]) {
      await assert.rejects(bed.images.create({ ...input, ...other }), { kind: 'conflict', message: /client token t / });
    }
    await bed.images.delete('app');
    await bed.images.idle();
    assert.notEqual((await bed.images.create(input)).image.id, first.image.id);
  });
});

suite('builds', () => {
  test('two at once, two wait, the fifth is refused and leaves nothing; places come free', async () => {
    await using bed = await imagesBed();
    for (const name of ['a', 'b', 'c', 'd']) await bed.images.create(createInput(name));
    const refusal = { kind: 'quota-exceeded', message: 'The maximum number of concurrent MicroVM image builds (4) has been reached.' };
    await assert.rejects(bed.images.create(createInput('e')), refusal);
    await assert.rejects(bed.images.get('e'), { kind: 'not-found' });
    const builds = [await bed.builder.next(), await bed.builder.next()];
    assert.deepEqual(builds.map(({ request }) => request.imageName).toSorted(), ['a', 'b']);
    assert.equal((await bed.images.version('c', '1.0')).version.state, 'PENDING');
    builds[1]!.succeed();
    const third = await bed.builder.next();
    assert.equal(third.request.imageName, 'c');
    await bed.images.create(createInput('e'));
    builds[0]!.succeed();
    third.succeed();
    for (let n = 0; n < 2; n += 1) (await bed.builder.next()).succeed();
    await bed.images.idle();
    assert.equal((await bed.images.get('e')).state, 'CREATED');
  });

  test('of many calls at once no more are accepted than there are places', async () => {
    await using bed = await imagesBed();
    const results = await Promise.allSettled(Array.from({ length: 9 }, (_, n) => bed.images.create(createInput(`a${n}`))));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 4);
  });

  test('following a build that waits begins with its first event; aborting ends it', async () => {
    await using bed = await imagesBed({ buildsAtOnce: 1, buildsWaiting: 3 });
    for (const name of ['a', 'b', 'c']) await bed.images.create(createInput(name));
    const abort = new AbortController();
    const never = await bed.images.buildEvents('c', '1.0', { follow: true, signal: abort.signal });
    const ended = Array.fromAsync(never);
    abort.abort();
    assert.deepEqual(await ended, []);
    const events = Array.fromAsync(await bed.images.buildEvents('b', '1.0', { follow: true, signal: new AbortController().signal }));
    (await bed.builder.next()).succeed();
    assert.equal((await events).length, 1);
    await assert.rejects(bed.images.buildEvents('b', '2.0', { follow: false, signal: abort.signal }), { kind: 'not-found' });
  });
});
