/** The hooks of an application: when each is called, with what, and what its answer does. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const HOOKS_APP = join(import.meta.dirname, '../fixtures/hooks-app');
const ENABLED = 'ENABLED' as const;
const HOOKS = {
  port: 8080,
  microvmHooks: { run: ENABLED, suspend: ENABLED, resume: ENABLED, terminate: ENABLED },
  microvmImageHooks: { ready: ENABLED, readyTimeoutInSeconds: 30 },
};

interface Call {
  readonly hook: string;
  readonly body: string;
  readonly type: string | null;
  readonly peer: string;
}

describe('hooks', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let imageArn: string;
  before(async () => {
    server = await LullServer.start();
    // 503 asks for another call.
    imageArn = await server.image('hooks', HOOKS_APP, { hooks: HOOKS, environmentVariables: { READY: '503 503 200' } });
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
    assert.equal(run!.type, 'application/json');
    assert.equal(run!.peer, '127.0.0.1');
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

  it('lets a microVM run on whose suspend hook refuses, and says so', async () => {
    const microvm = await launch();
    await microvm.json('/answer?suspend=500');
    await assert.rejects(server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }), /Suspend lifecycle hook returned HTTP status 500\./);
    assert.equal(await microvm.state(), 'RUNNING');
    await microvm.suspend();
    assert.equal((await names(microvm)).at(-1), 'resume');
    await microvm.terminate();
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

  it('fails a build whose ready hook refuses', async () => {
    const input = { hooks: HOOKS, environmentVariables: { READY: '404' } };
    const { imageState, stateReason } = await server.build('not-ready', HOOKS_APP, input);
    assert.deepEqual([imageState, stateReason], ['CREATE_FAILED', 'Ready hook check failed: the application returned a client error (HTTP 4xx) response.']);
  });

  it('takes a payload only where there is a run hook', async () => {
    const plain = await server.image('plain', HOOKS_APP);
    await assert.rejects(server.run(plain, { runHookPayload: 'x' }), {
      name: 'ValidationException',
      message: 'The run hook must be enabled in the MicroVM image to pass the run hook payload.',
    });
  });
});
