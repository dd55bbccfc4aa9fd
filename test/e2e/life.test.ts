/** The life of a microVM, as a client of AWS's sees it, on the real server. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { cannotServe, hasFiles, LullServer, snapshotFiles } from './lull-server.ts';
import { LullProcess, runLull } from './server-process.ts';
import { WAKES_BY_TRAFFIC, type RunInput, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
const MIB = 1024 ** 2;

interface Count {
  readonly counter: number;
  readonly progress: number;
  readonly pid: number;
}

interface Identity {
  readonly beforeSnapshot: string;
  readonly bootId: string;
  readonly random: string;
  readonly uuid: string;
}

describe('the life of a microVM', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let imageArn: string;
  const launch = (input: RunInput = {}): Promise<TestMicrovm> => server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC, ...input });
  before(async () => {
    server = await LullServer.start();
    imageArn = await server.image('probe', PROBE);
  });
  after(() => server?.[Symbol.asyncDispose]());

  it('answers PENDING at once, and holds requests until it runs', async () => {
    const microvms = await Promise.all([launch(), launch(), launch()]);
    assert.deepEqual(microvms.map(({ firstState }) => firstState), ['PENDING', 'PENDING', 'PENDING']);
    const statesBefore = await Promise.all(microvms.map((microvm) => microvm.state()));
    const counts = await Promise.all(microvms.map((microvm) => microvm.json<Count>('/count')));
    assert.ok(statesBefore.includes('PENDING'), 'at least one was still on its way when it was asked');
    // Each of them begins where the snapshot was taken.
    assert.deepEqual(counts.map(({ counter }) => counter), [1, 1, 1]);
    assert.deepEqual(microvms.map((microvm) => microvm.changes()), [['RUNNING'], ['RUNNING'], ['RUNNING']]);
    await Promise.all(microvms.map((microvm) => microvm.terminate()));
  });

  it('shares what was made before the snapshot, and no randomness after it', async () => {
    const microvms = await Promise.all([launch(), launch()]);
    const [one, two] = await Promise.all([microvms[0].json<Identity>('/identity'), microvms[1].json<Identity>('/identity')]);
    assert.equal(one.beforeSnapshot, two.beforeSnapshot);
    assert.equal(one.bootId, two.bootId);
    assert.notEqual(one.random, two.random);
    assert.notEqual(one.uuid, two.uuid);
    await microvms[0].suspend();
    const later = await microvms[0].json<Identity>('/identity');
    assert.equal(later.bootId, one.bootId);
    assert.notEqual(later.random, one.random);
    await Promise.all(microvms.map((microvm) => microvm.terminate()));
  });

  it('keeps memory, disk and threads over several sleeps', async () => {
    const microvm = await launch();
    let last = await microvm.json<Count>('/count');
    for (const word of ['one', 'two', 'three', 'four']) {
      const { lines } = await microvm.json<{ lines: string[] }>(`/append?${word}`);
      assert.equal(lines.at(-1), word);
      await microvm.suspend();
      assert.equal(await microvm.vmm(), undefined, 'a sleeper has no process');
      const now = await microvm.json<Count>('/count');
      assert.equal(now.counter, last.counter + 1);
      assert.equal(now.pid, last.pid);
      assert.ok(now.progress >= last.progress, `the thread's progress went from ${last.progress} to ${now.progress}`);
      last = now;
    }
    const { lines } = await microvm.json<{ lines: string[] }>('/append?five');
    assert.deepEqual(lines, ['one', 'two', 'three', 'four', 'five']);
    // The thread goes on by itself.
    while ((await microvm.json<Count>('/count')).progress <= last.progress);
    await microvm.terminate();
    assert.equal(hasFiles(server, microvm.id), false);
  });

  it('keeps every byte in use, and gives out zeros, after memory was taken, freed and slept over', async () => {
    const microvm = await launch();
    await microvm.json('/fill?16');
    await microvm.json('/fill?8');
    const before = await microvm.json('/checksum');
    await microvm.suspend();
    assert.deepEqual(await microvm.json('/checksum'), before);
    assert.deepEqual(await microvm.json('/zeros?64'), { mib: 64, zeros: true });
    await microvm.terminate();
  });

  it('has the right time after five seconds asleep', async () => {
    const microvm = await launch();
    await microvm.until('RUNNING');
    await microvm.suspend();
    await pass(5000);
    await microvm.resume();
    const askedMs = Date.now();
    const { unixMs } = await microvm.json<{ unixMs: number }>('/clock');
    const answeredMs = Date.now();
    assert.ok(unixMs > askedMs - 500 && unixMs < answeredMs + 500, `the guest's clock says ${unixMs}, asked ${askedMs}, answered ${answeredMs}`);
    await microvm.terminate();
  });

  it('wakes once for twenty requests at once, and answers all', async () => {
    const microvm = await launch();
    await microvm.json<Count>('/count');
    await microvm.suspend();
    const from = server.process.lines.length;
    const counts = await Promise.all(Array.from({ length: 20 }, () => microvm.json<Count>('/count')));
    const expected = Array.from({ length: 20 }, (_, index) => index + 2);
    assert.deepEqual(counts.map(({ counter }) => counter).sort((a, b) => a - b), expected);
    assert.deepEqual(microvm.changes(from), ['WAKING', 'RUNNING']);
    await microvm.terminate();
  });

  it('sleeps on where its policy does not let traffic wake it', async () => {
    const policy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 600, autoResumeEnabled: false };
    const [without, not] = await Promise.all([server.run(imageArn), launch({ idlePolicy: policy })]);
    for (const microvm of [without, not]) {
      await microvm.until('RUNNING');
      await microvm.suspend();
      const { status, body } = await microvm.ask('/count');
      assert.deepEqual([status, body.toString()], [502, '']);
      assert.equal(await microvm.state(), 'SUSPENDED');
      await microvm.resume();
      assert.equal((await microvm.json<Count>('/count')).counter, 1);
    }
    assert.deepEqual((await not.get()).idlePolicy, policy);
    assert.equal((await without.get()).idlePolicy ?? undefined, undefined);
    await Promise.all([without.terminate(), not.terminate()]);
  });

  it('refuses what its state does not allow, in the words of AWS', async () => {
    const microvm = await launch();
    const microvmIdentifier = microvm.id;
    await microvm.until('RUNNING');
    const { lambda } = server;
    await lambda.resumeMicrovm({ microvmIdentifier });
    assert.equal(await microvm.state(), 'RUNNING');
    await assert.rejects(lambda.deleteMicrovmImage({ imageIdentifier: imageArn }), {
      name: 'ValidationException',
      message: 'Cannot delete microvm image with running microvms.',
    });
    await microvm.suspend();
    // Also asleep it may be given tokens.
    await microvm.token();
    await lambda.suspendMicrovm({ microvmIdentifier });
    assert.equal(await microvm.state(), 'SUSPENDED');
    await microvm.terminate();
    const { stateReason, terminatedAt } = await microvm.get();
    assert.equal(stateReason, 'Success.');
    assert.ok(terminatedAt !== undefined && Math.abs(terminatedAt.getTime() - Date.now()) < 10_000);
    await lambda.terminateMicrovm({ microvmIdentifier });
    assert.deepEqual((await microvm.get()).terminatedAt, terminatedAt, 'the second end changes nothing');
    const ended = { name: 'ValidationException', message: `The MicroVM ${microvm.id} has been terminated and its state cannot be changed.` };
    await assert.rejects(lambda.suspendMicrovm({ microvmIdentifier }), ended);
    await assert.rejects(lambda.resumeMicrovm({ microvmIdentifier }), ended);
    await assert.rejects(lambda.createMicrovmAuthToken({ microvmIdentifier, expirationInMinutes: 1, allowedPorts: [{ port: 8080 }] }), ended);
    const { status, body } = await microvm.ask('/count');
    assert.deepEqual([status, body.toString()], [502, '']);
    const unknown = 'microvm-00000000-0000-4000-8000-000000000000';
    await assert.rejects(lambda.terminateMicrovm({ microvmIdentifier: unknown }), {
      name: 'ResourceNotFoundException',
      message: `MicroVM not found: ${unknown}`,
    });
  });

  it('gives what it prints, and what its build printed, as CloudWatch Logs', async () => {
    const before = Date.now();
    const microvm = await launch();
    await microvm.json('/say?words-for-the-log');
    await microvm.terminate();
    const logGroupName = '/aws/lambda-microvms/probe';
    const { logStreams = [] } = await server.logs.describeLogStreams({ logGroupName });
    const names = logStreams.map(({ logStreamName }) => logStreamName!);
    const [own] = names.filter((name) => name.endsWith(`[1.0]${microvm.id}`));
    assert.match(own!, /^\d{4}\/\d\d\/\d\d\[/);
    const { events = [] } = await server.logs.getLogEvents({ logGroupName, logStreamName: own!, startFromHead: true });
    const said = events.filter(({ message }) => message === 'words-for-the-log');
    assert.equal(said.length, 2, 'by stdout and by stderr');
    assert.ok(said.every(({ timestamp }) => timestamp! >= before && timestamp! <= Date.now()));
    const { events: built = [] } = await server.logs.filterLogEvents({ logGroupName, filterPattern: '?"probe: up" ?STEP' });
    assert.ok(built.length > 1 && built.every(({ logStreamName }) => /\[1\.0\]build-[0-9a-f-]{36}$/.test(logStreamName!)));
    assert.ok(built.some(({ message }) => message === 'probe: up'), 'the application printed it while the image was built');
  });

  it('keeps the files of a deleted version for as long as a microVM rests on them', async () => {
    const { snapshotBuild } = await server.update('probe');
    assert.ok(snapshotBuild, 'version 2.0 is there');
    const [runner, sleeper] = await Promise.all([launch({ imageVersion: '1.0' }), launch({ imageVersion: '1.0' })]);
    await sleeper.json<Count>('/count');
    await sleeper.suspend();
    const { lambda } = server;
    const first = { imageIdentifier: imageArn, imageVersion: '1.0' };
    assert.equal((await lambda.deleteMicrovmImageVersion(first)).state, 'DELETING');
    await server.process.said('the version to be gone', (line) => (line.includes('image version deleted') ? true : undefined));
    await assert.rejects(lambda.getMicrovmImageVersion(first), { name: 'ResourceNotFoundException' });
    await assert.rejects(launch({ imageVersion: '1.0' }), { name: 'ResourceNotFoundException', message: `No active version found for MicroVM image ${imageArn} and version 1.0` });
    assert.equal((await sleeper.json<Count>('/count')).counter, 2);
    assert.equal((await runner.json<Count>('/count')).counter, 1);
    await sleeper.suspend();
    await server.crash();
    assert.equal((await sleeper.json<Count>('/count')).counter, 3);
    await runner.terminate();
    assert.equal(snapshotFiles(server).length, 2);
    await sleeper.terminate();
    await server.process.said('its files to be removed', (line) => (line.includes('files of a deleted image version removed') ? true : undefined));
    assert.equal(snapshotFiles(server).length, 1);
    assert.equal((await server.lambda.getMicrovmImage({ imageIdentifier: imageArn })).latestActiveImageVersion, '2.0');
  });

  it('ends by the clock: the longest sleep, the longest life', async () => {
    const policy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 1, autoResumeEnabled: true };
    const [sleeper, shortLived] = await Promise.all([launch({ idlePolicy: policy }), launch({ maximumDurationInSeconds: 4 })]);
    await sleeper.until('RUNNING');
    await sleeper.suspend();
    await Promise.all([sleeper.until('TERMINATED'), shortLived.until('TERMINATED')]);
    assert.equal((await sleeper.get()).stateReason, 'The MicroVM reached its maximum suspended duration.');
    assert.equal((await shortLived.get()).stateReason, 'The MicroVM reached its maximum duration.');
    assert.equal(await sleeper.vmm(), undefined);
    assert.equal(await shortLived.vmm(), undefined);
  });

  it('carries big bodies both ways', async () => {
    const microvm = await launch();
    const body = randomBytes(16 * MIB);
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    const echoes = await Promise.all([microvm.ask('/echo', { method: 'POST', body }), microvm.ask('/echo', { method: 'POST', body: body.subarray(0, 3 * MIB + 1) })]);
    assert.deepEqual(echoes.map(({ status }) => status), [200, 200]);
    assert.deepEqual(echoes.map((echo) => digest(echo.body)), [digest(body), digest(body.subarray(0, 3 * MIB + 1))]);
    await microvm.terminate();
  });

  it('shows the application what it should see, and keeps what it says', async () => {
    const microvm = await launch();
    const { env, cwd } = await microvm.json<{ env: Record<string, string>; cwd: string }>('/environment');
    assert.equal(cwd, '/srv/probe');
    assert.equal(env['PROBE_FROM_IMAGE'], 'yes');
    assert.equal(env['AWS_LAMBDA_MICROVM_IMAGE_NAME'], 'probe');
    assert.equal(env['AWS_LAMBDA_MICROVM_IMAGE_ARN'], imageArn);
    assert.equal(env['AWS_REGION'], 'us-east-1');
    const { headers, peer } = await microvm.json<{ headers: Record<string, string>; peer: string }>('/headers');
    assert.equal(headers['host'], microvm.endpoint);
    assert.equal(headers['x-aws-proxy-auth'], undefined);
    assert.equal(peer, '127.0.0.1');
    await microvm.json('/say?words-before-sleep');
    await microvm.suspend();
    await microvm.json('/say?words-after-sleep');
    // The answer may overtake what was printed before it.
    let text = '';
    for await (const piece of await server.client.logs(microvm.id, { follow: true, signal: AbortSignal.timeout(30_000) })) {
      text += String(piece);
      if (text.split('words-after-sleep').length > 2) break;
    }
    for (const words of ['words-before-sleep', 'words-after-sleep']) assert.equal(text.split(words).length - 1, 2, text);
    const refused = await microvm.ask('/count', { headers: { 'X-aws-proxy-port': '9' } });
    assert.deepEqual([refused.status, refused.body.toString()], [502, '']);
    const nobody = await microvm.ask('/count', { token: null });
    assert.deepEqual([nobody.status, nobody.body.toString()], [403, 'Request missing authentication']);
    await microvm.terminate();
  });

  it('leaves microVMs running at SIGTERM and says so; a second server is refused meanwhile', async () => {
    const microvm = await launch();
    await microvm.json<Count>('/count');
    const second = new LullProcess(server.words);
    const { exitCode } = await second.ended;
    assert.notEqual(exitCode, 0);
    assert.equal(second.lines.length, 1, second.lastWords());
    assert.match(second.lines[0]!, new RegExp(`^lull: The data folder ${server.data} is in use by another Lull server \\(pid ${server.process.pid}\\)\\.`));
    const lines = await server.stop('SIGTERM');
    assert.match(lines.at(-1)!, /^lull: stopped; 1 microVM runs on/);
    const vmm = await microvm.vmm();
    assert.ok(vmm !== undefined, 'its process runs on');
    await server.up();
    assert.equal((await microvm.json<Count>('/count')).counter, 2);
    assert.deepEqual(await microvm.vmm(), vmm);
    await microvm.terminate();
  });

  it('puts every microVM to sleep at `lull down`', async () => {
    const microvms = await Promise.all([launch(), launch()]);
    for (const microvm of microvms) await microvm.json<Count>('/count');
    const { process } = server;
    const { exitCode, said } = await runLull(['down', '--data', server.data]);
    assert.deepEqual([exitCode, said], [0, '2 microVMs suspended, server stopped']);
    assert.equal((await process.ended).exitCode, 0);
    assert.deepEqual(await server.vmms(), []);
    await server.up();
    for (const microvm of microvms) {
      assert.equal(await microvm.state(), 'SUSPENDED');
      assert.equal((await microvm.json<Count>('/count')).counter, 2);
      await microvm.terminate();
    }
  });
});
