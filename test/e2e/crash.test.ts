/** What is left when a process is killed at the worst moment, or a file is damaged: never an older state, never a hang. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { readFile, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { endProcess, isRunning } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import { cannotServe, hasFiles, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
const WATCH_LIMIT_MS = 30_000;

const count = async (microvm: TestMicrovm) => (await microvm.json<{ counter: number }>('/count')).counter;

describe('crashes', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let imageArn: string;
  const launch = async (): Promise<TestMicrovm> => {
    const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.until('RUNNING');
    return microvm;
  };
  const generation = (microvm: TestMicrovm, number: number) => join(server.data, 'microvms', microvm.id, `gen-${number}`);
  before(async () => {
    server = await LullServer.start();
    imageArn = await server.image('probe', PROBE);
  });
  after(() => server?.[Symbol.asyncDispose]());

  it('server killed while one microVM runs and another sleeps: both go on', async () => {
    const [running, sleeping] = await Promise.all([launch(), launch()]);
    for (const expected of [1, 2]) {
      assert.equal(await count(running), expected);
      assert.equal(await count(sleeping), expected);
    }
    await sleeping.suspend();
    const vmm = await running.vmm();
    await server.crash();
    assert.deepEqual([await running.state(), await sleeping.state()], ['RUNNING', 'SUSPENDED']);
    assert.deepEqual(await running.vmm(), vmm, 'the same process');
    assert.deepEqual([await count(running), await count(sleeping)], [3, 3]);
    await running.suspend();
    assert.equal(await running.vmm(), undefined);
    assert.equal(await count(running), 4);
    await Promise.all([running.terminate(), sleeping.terminate()]);
  });

  it('server killed right after RunMicrovm: the launch is made up for', async () => {
    const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    await server.crash();
    await microvm.until('RUNNING');
    assert.equal(await count(microvm), 1);
    assert.equal((await server.vmms()).length, 1);
    await microvm.terminate();
  });

  it('server killed at every step of a suspend: RUNNING or SUSPENDED, and nothing forgotten', async (test) => {
    const microvm = await launch();
    let counter = await count(microvm);
    let lastGeneration = 0;
    for (const moment of ['the state', 'folder', 'device-state', 'memory.diff', 'manifest.json', 'SUSPENDED'] as const) {
      lastGeneration += 1;
      const folder = generation(microvm, lastGeneration);
      const reached = reaching(server, microvm, { moment, folder });
      const suspending = server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }).catch(() => undefined);
      await within(`a suspend to reach ${moment}`, WATCH_LIMIT_MS, reached);
      await server.crash();
      await suspending;
      const state = await microvm.state();
      test.diagnostic(`killed at ${moment}: ${state}`);
      assert.ok(state === 'RUNNING' || state === 'SUSPENDED', `${moment}: ${state}`);
      assert.equal((await microvm.vmm()) !== undefined, state === 'RUNNING');
      counter += 1;
      assert.equal(await count(microvm), counter, moment);
      const { lines } = await microvm.json<{ lines: string[] }>(`/append?${counter}`);
      assert.equal(lines.length, counter - 1, 'every line that was ever written');
    }
    await microvm.terminate();
    assert.equal(hasFiles(server, microvm.id), false);
  });

  it('server and VMM killed in the middle of a suspend: asleep where that was complete, else the end', async () => {
    for (const [moment, expected] of [['memory.diff', 'TERMINATED'], ['manifest.json', 'SUSPENDED']] as const) {
      const microvm = await launch();
      assert.equal(await count(microvm), 1);
      const vmm = (await microvm.vmm())!;
      const reached = reaching(server, microvm, { moment, folder: generation(microvm, 1) });
      const suspending = server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }).catch(() => undefined);
      await within(`a suspend to reach ${moment}`, WATCH_LIMIT_MS, reached);
      await server.stop('SIGKILL');
      await endProcess(vmm);
      await server.up();
      await suspending;
      const { state, stateReason } = await microvm.get();
      assert.equal(state, expected);
      if (expected === 'SUSPENDED') assert.equal(await count(microvm), 2);
      else assert.equal(stateReason, "The virtual machine's process ended unexpectedly while the MicroVM was being suspended.");
      await microvm.terminate();
    }
  });

  it('server killed in the middle of a wake: it is finished or undone', async () => {
    const microvm = await launch();
    for (const expected of [1, 2, 3]) {
      assert.equal(await count(microvm), expected);
      await microvm.suspend();
      const waking = microvm.said('WAKING', server.process.lines.length);
      const woken = server.lambda.resumeMicrovm({ microvmIdentifier: microvm.id }).catch(() => undefined);
      await waking;
      await server.crash();
      await woken;
      const state = await microvm.state();
      assert.ok(state === 'RUNNING' || state === 'SUSPENDED', state);
    }
    assert.equal(await count(microvm), 4);
    await microvm.terminate();
  });

  it('VMM killed while it runs: TERMINATED with the reason, and the server goes on', async () => {
    const [victim, other] = await Promise.all([launch(), launch()]);
    process.kill((await victim.vmm())!.pid, 'SIGKILL');
    await victim.until('TERMINATED');
    const { stateReason, terminatedAt } = await victim.get();
    assert.equal(stateReason, "The virtual machine's process ended unexpectedly while the MicroVM was running.");
    assert.ok(terminatedAt !== undefined);
    assert.equal(hasFiles(server, victim.id), false);
    assert.equal((await server.lambda.getMicrovm({ microvmIdentifier: victim.id })).state, 'TERMINATED');
    assert.equal(await count(other), 1);
    await other.terminate();
  });

  it('VMM killed while no server is there: TERMINATED with the reason', async () => {
    const microvm = await launch();
    const vmm = (await microvm.vmm())!;
    await server.stop('SIGKILL');
    process.kill(vmm.pid, 'SIGKILL');
    await server.up();
    assert.equal(await isRunning(vmm), false);
    const { state, stateReason } = await microvm.get();
    assert.deepEqual([state, stateReason], ['TERMINATED', "The virtual machine's process ended unexpectedly while no server was there."]);
  });

  it('agent that cannot be led any more: TERMINATED with the reason, not a hang', async () => {
    const microvm = await launch();
    await microvm.token();
    await server.stop('SIGKILL');
    await unlink(join(server.data, 'microvms', microvm.id, 'agent-secret.json'));
    await server.up();
    const { status } = await microvm.ask('/count');
    assert.equal(status, 502);
    const { state, stateReason } = await microvm.get();
    assert.equal(state, 'TERMINATED');
    assert.match(stateReason!, /agent/);
    assert.equal(await microvm.vmm(), undefined);
  });

  it('application ended by itself: TERMINATED with its exit code, also where no server was there', async () => {
    const [one, two] = await Promise.all([launch(), launch()]);
    await one.json('/leave?3');
    await one.until('TERMINATED');
    assert.equal((await one.get()).stateReason, 'Container Stopped with Exit Code: 3');
    assert.equal(await one.vmm(), undefined);
    await two.json('/leave?5');
    await server.crash();
    await two.until('TERMINATED');
    assert.equal((await two.get()).stateReason, 'Container Stopped with Exit Code: 5');
  });

  it('a damaged generation is refused, and whole again it wakes', async () => {
    const microvm = await launch();
    let counter = await count(microvm);
    let lastGeneration = 0;
    const damages: readonly { file: string; name: string; damage: (path: string) => Promise<void> }[] = [
      { file: 'memory.diff', name: 'a flipped bit in the pages', damage: (path) => flip(path, 5000) },
      { file: 'memory.diff', name: 'a flipped bit in the index', damage: (path) => flip(path, -40) },
      { file: 'memory.diff', name: 'a lost end', damage: async (path) => truncate(path, (await readFile(path)).length - 4096) },
      { file: 'memory.diff', name: 'no file', damage: unlink },
      { file: 'device-state', name: 'a flipped bit', damage: (path) => flip(path, 300) },
      { file: 'device-state', name: 'no file', damage: unlink },
      { file: 'manifest.json', name: 'no JSON', damage: (path) => writeFile(path, '{"version":1,') },
      { file: 'manifest.json', name: 'no file', damage: unlink },
    ];
    await microvm.suspend();
    lastGeneration += 1;
    for (const { file, name, damage } of damages) {
      const path = join(generation(microvm, lastGeneration), file);
      const whole = await readFile(path);
      await damage(path);
      const because = new RegExp(`^The MicroVM ${microvm.id} could not be woken: .*(${file}.* damaged|no such file.*/${file})`);
      await assert.rejects(
        server.lambda.resumeMicrovm({ microvmIdentifier: microvm.id }),
        { name: 'InternalServerException', message: because },
        `${file}: ${name}`,
      );
      const { status, body } = await microvm.ask('/count');
      assert.deepEqual([status, body.toString()], [502, '']);
      assert.equal(await microvm.state(), 'SUSPENDED');
      assert.deepEqual(await server.vmms(), [], 'no half-restored process stays');
      await writeFile(path, whole);
    }
    // By a call: a request would still get the answer of the wake that has just failed.
    await microvm.resume();
    counter += 1;
    assert.equal(await count(microvm), counter);
    await microvm.terminate();
  });
});

/** Resolves at a moment of a suspend: at a state that the server says, or when a file of the generation appears. */
async function reaching(server: LullServer, microvm: TestMicrovm, { moment, folder }: { moment: string; folder: string }): Promise<void> {
  const from = server.process.lines.length;
  if (moment === 'SUSPENDED') return void (await microvm.said('SUSPENDED', from));
  await microvm.said('SUSPENDING', from);
  if (moment === 'the state') return;
  await appears(folder);
  if (moment !== 'folder') await appears(join(folder, moment));
}

async function appears(path: string): Promise<void> {
  const watcher = watch(join(path, '..'));
  try {
    while (!existsSync(path)) await once(watcher, 'change');
  } finally {
    watcher.close();
  }
}

/** Inverts one byte; negative positions count from the end. */
async function flip(path: string, position: number): Promise<void> {
  const bytes = await readFile(path);
  const at = position < 0 ? bytes.length + position : position;
  bytes[at] = bytes[at]! ^ 0xff;
  await writeFile(path, bytes);
}
