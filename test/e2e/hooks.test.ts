/** The hooks of an application: when each is called, with what, and what its answer does. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cannotServe, LullServer, snapshotFiles, type BuildOutcome } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const HOOKS_APP = join(import.meta.dirname, '../fixtures/hooks-app');
const ENABLED = 'ENABLED' as const;
const HOOKS = {
  port: 8080,
  microvmHooks: { run: ENABLED, suspend: ENABLED, resume: ENABLED, terminate: ENABLED },
  microvmImageHooks: { ready: ENABLED, readyTimeoutInSeconds: 30, validate: ENABLED },
};

interface Call {
  readonly hook: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: string;
  readonly http: string;
}

describe('hooks', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let built: BuildOutcome;
  let imageArn: string;
  before(async () => {
    server = await LullServer.start();
    // 503 asks for another call.
    built = await server.build('hooks', HOOKS_APP, { hooks: HOOKS, environmentVariables: { READY: '503 503 200', VALIDATE: '503 200' } });
    assert.equal(built.imageState, 'CREATED', built.stateReason);
    imageArn = built.imageArn;
  });
  after(() => server?.[Symbol.asyncDispose]());
  const launch = (runHookPayload?: string): Promise<TestMicrovm> =>
    server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC, ...(runHookPayload === undefined ? {} : { runHookPayload }) });
  const names = async (microvm: TestMicrovm) => (await microvm.json<Call[]>('/')).map(({ hook }) => hook);

  it('calls each at its time, with what AWS gives it', async () => {
    const microvm = await launch('{"for":"the run hook"}');
    assert.deepEqual(await names(microvm), ['ready', 'ready', 'ready', 'run']);
    const [, , , run] = await microvm.json<Call[]>('/');
    assert.deepEqual(JSON.parse(run!.body), { microvmId: microvm.id, runHookPayload: '{"for":"the run hook"}' });
    const runHeaders = { host: 'localhost:8080', connection: 'close', 'content-type': 'application/json', 'content-length': `${run!.body.length}` };
    assert.deepEqual([run!.headers, run!.peer, run!.http], [runHeaders, '127.0.0.1', 'HTTP/1.1']);
    await microvm.suspend();
    assert.deepEqual(await names(microvm), ['ready', 'ready', 'ready', 'run', 'suspend', 'resume']);
    await microvm.terminate();
    assert.equal((await microvm.get()).stateReason, 'Success.');
  });

  it('ends a microVM whose run hook refuses', async () => {
    const microvm = await launch('400');
    await microvm.until('TERMINATED');
    assert.equal(
      (await microvm.get()).stateReason,
      'Run lifecycle hook returned HTTP status 400. Please check your hook endpoint and application logs for more details.',
    );
    assert.equal(await microvm.vmm(), undefined);
  });

  it('ends a microVM whose suspend hook refuses, or lets it run on where the operator wants that', async () => {
    const refused = 'Suspend lifecycle hook returned HTTP status 400. Please check your hook endpoint and application logs for more details.';
    const [one, other] = await Promise.all([launch(), launch()]);
    for (const microvm of [one, other]) await microvm.json('/answer?suspend=400');
    await server.lambda.suspendMicrovm({ microvmIdentifier: one.id });
    const { state, stateReason } = await one.get();
    assert.deepEqual([state, stateReason], ['TERMINATED', refused]);
    assert.equal(await one.vmm(), undefined);
    await server.stop('SIGTERM');
    await server.up(['--on-suspend-hook-failure', 'keepRunning']);
    await assert.rejects(server.lambda.suspendMicrovm({ microvmIdentifier: other.id }), { name: 'ValidationException', message: refused });
    assert.equal(await other.state(), 'RUNNING');
    await other.suspend();
    assert.equal((await names(other)).at(-1), 'resume');
    await other.terminate();
  });

  it('puts a microVM back to sleep whose resume hook refuses', async () => {
    const microvm = await launch();
    await microvm.json('/answer?resume=500');
    await microvm.suspend();
    const { status } = await microvm.ask('/');
    assert.equal(status, 502);
    assert.equal(await microvm.state(), 'SUSPENDED');
    assert.equal(await microvm.vmm(), undefined);
    await microvm.terminate();
  });

  it('asks a restored guest to validate, of which nothing stays but its output in the log', async () => {
    const said = built.log.filter(({ step }) => step === 'validate').map(({ text }) => text);
    assert.deepEqual(said, ['validate answers 503', 'validate answers 200']);
    for (const files of snapshotFiles(server)) assert.ok(!files.includes('validate'), files.join(' '));
    const microvm = await launch();
    assert.ok(!(await names(microvm)).includes('validate'));
    await microvm.terminate();
  });

  it('fails a build whose ready or validate hook refuses', async () => {
    const build = (name: string, environmentVariables: Record<string, string>) => server.build(name, HOOKS_APP, { hooks: HOOKS, environmentVariables });
    const [notReady, notValid] = await Promise.all([build('not-ready', { READY: '404' }), build('not-valid', { VALIDATE: '500' })]);
    const reasons = [notReady, notValid].map(({ imageState, stateReason, failedSteps }) => [imageState, stateReason, failedSteps]);
    assert.deepEqual(reasons, [
      ['CREATE_FAILED', 'Ready hook check failed: the application returned a client error (HTTP 4xx) response.', ['start application']],
      ['CREATE_FAILED', 'Validate hook check failed: the application returned a server error (HTTP 5xx) response.', ['validate']],
    ]);
    for (const { snapshotBuild } of [notReady, notValid]) {
      assert.deepEqual(Object.keys(snapshotBuild ?? {}), ['codeInstallSizeInBytes']);
    }
    assert.deepEqual(await server.vmms(), []);
    const kept = snapshotFiles(server).filter((files) => !files.includes('manifest.json'));
    assert.deepEqual(kept, [['build.ndjson'], ['build.ndjson']]);
  });

  it('takes a payload only where there is a run hook', async () => {
    const plain = await server.image('plain', HOOKS_APP);
    await assert.rejects(server.run(plain, { runHookPayload: 'x' }), {
      name: 'ValidationException',
      message: 'The run hook must be enabled in the MicroVM image to pass the run hook payload.',
    });
  });
});
