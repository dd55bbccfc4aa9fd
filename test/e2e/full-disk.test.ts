/** A host whose disk is full: what does not fit is refused whole, and a microVM that needs room stands still until there is some. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { cannotMount, SmallDisk } from '../fakes/small-disk.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
const MIB = 1024 ** 2;
const DISK_MIB = 3072;
/** Less than a launch or a suspend needs, and what Lull keeps for itself. */
const NEARLY_NOTHING = 33 * MIB;
/** Lines that want blocks of their own. */
const [STOPPED, ADOPTED] = ['s', 'a'].map((letter) => letter.repeat(6000)) as [string, string];
const NO_ROOM = /The host's disk has \d+ MiB left to give and \d+ MiB are needed to /;

/** The next line of the server's with these words. */
const said = (server: LullServer, words: string, from: number) =>
  server.process.said(words, (line) => (line.includes(words) ? true : undefined), { from });

describe('a server on a full disk', { skip: (await cannotServe()) || (await cannotMount()) }, () => {
  it('refuses what does not fit, and lets a microVM that needs room go on when there is some', async () => {
    await using disk = await SmallDisk.make(DISK_MIB);
    await using server = await LullServer.start([], { below: disk.folder });
    await server.image('probe', PROBE);
    const microvm = await server.run('probe', { idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.ask('/count');
    await refusesWhatDoesNotFit(server, disk, microvm);
    await standsStill(server, disk, microvm);
    await standsStillInASuspend(server, disk, microvm);
    await microvm.suspend();
    assert.deepEqual(await microvm.json('/append?after'), { lines: ['before', STOPPED, ADOPTED, 'after'] });
    await microvm.terminate();
  });

  it('ends a build that fills the disk, in AWS\'s words, and keeps root disks of one content once', async () => {
    await using disk = await SmallDisk.make(DISK_MIB);
    await using server = await LullServer.start([], { below: disk.folder });
    await server.image('probe', PROBE);
    const updating = server.update('probe');
    await begun(server, 'probe', '2.0');
    await disk.leave(100 * MIB);
    const failed = await updating;
    assert.deepEqual([failed.imageState, failed.stateReason], ['UPDATE_FAILED', 'The container image build ran out of disk space.']);
    await disk.empty();
    assert.equal((await server.update('probe')).imageState, 'UPDATED');
    assert.deepEqual(rootDiskNames(server), [3, 3], 'two versions and the pool are names of one file');
    const garbage = await server.client.collectGarbage(true);
    // Of the platform folder, which is this machine's, others have left theirs.
    assert.deepEqual(garbage.filter(({ kind }) => kind !== 'platform copy' && kind !== 'layers'), []);
    await server.lambda.deleteMicrovmImageVersion({ imageIdentifier: 'probe', imageVersion: '1.0' });
    await said(server, 'files of a deleted image version removed', 0);
    assert.deepEqual(rootDiskNames(server), [2]);
  });
});

/** What is in the guest's page cache is written when it is brought to rest, and finds no room. */
async function standsStillInASuspend(server: LullServer, disk: SmallDisk, microvm: TestMicrovm): Promise<void> {
  await disk.leave(0);
  const from = server.process.lines.length;
  await microvm.json('/dirty?8');
  await assert.rejects(server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }), { name: 'InsufficientCapacityException', message: /could not be suspended: The MicroVM stands still/ });
  const { state, stateReason } = await microvm.get();
  assert.equal(state, 'RUNNING');
  assert.match(stateReason ?? '', /stands still/);
  await disk.empty();
  await said(server, 'a microVM goes on', from);
  assert.equal((await microvm.ask('/count')).status, 200);
}

/** Resolves when a build has begun its container. */
async function begun(server: LullServer, imageIdentifier: string, imageVersion: string): Promise<void> {
  for (;;) {
    const { items = [] } = await server.lambda.listMicrovmImageVersions({ imageIdentifier });
    if (items.some((version) => version.imageVersion === imageVersion)) break;
  }
  for await (const event of server.client.buildEvents({ imageIdentifier, imageVersion }, { follow: true, signal: new AbortController().signal })) {
    if (event.type === 'step' && event.step === 'container') return;
  }
}

/** How many names the root disk of each version has. */
const rootDiskNames = (server: LullServer) =>
  readdirSync(join(server.data, 'images')).map((id) => statSync(join(server.data, 'images', id, 'root.erofs'), { throwIfNoEntry: false })?.nlink ?? 0).filter((names) => names > 0);

async function refusesWhatDoesNotFit(server: LullServer, disk: SmallDisk, microvm: TestMicrovm): Promise<void> {
  await microvm.json('/append?before');
  const sleeper = await server.run('probe', { idlePolicy: WAKES_BY_TRAFFIC });
  await sleeper.suspend();
  await disk.leave(NEARLY_NOTHING);
  await assert.rejects(server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }), { name: 'InsufficientCapacityException', message: /could not be suspended: The host's disk has / });
  assert.equal(await microvm.state(), 'RUNNING');
  assert.equal((await microvm.ask('/count')).status, 200);
  const built = await server.build('other', PROBE);
  assert.deepEqual([built.imageState, built.stateReason], ['CREATE_FAILED', 'The container image build ran out of disk space.']);
  assert.ok(built.log.some(({ text }) => NO_ROOM.test(text)), 'the log of the build says how much is missing');
  await disk.leave(0);
  await assert.rejects(server.lambda.resumeMicrovm({ microvmIdentifier: sleeper.id }), { name: 'InsufficientCapacityException' });
  assert.equal(await sleeper.state(), 'SUSPENDED');
  await disk.empty();
  await sleeper.resume();
  await sleeper.terminate();
}

async function standsStill(server: LullServer, disk: SmallDisk, microvm: TestMicrovm): Promise<void> {
  await disk.leave(0);
  const from = server.process.lines.length;
  const stopped = microvm.json(`/append?${STOPPED}`);
  await said(server, 'a microVM stands still', from);
  const { state, stateReason } = await microvm.get();
  assert.deepEqual([state, stateReason], ['RUNNING', "The MicroVM stands still because the host's disk is full. It goes on when there is room again."]);
  assert.equal((await server.client.health()).stoppedByDisk, 1);
  await assert.rejects(server.lambda.suspendMicrovm({ microvmIdentifier: microvm.id }), { name: 'InsufficientCapacityException', message: /stands still/ });
  await disk.empty();
  assert.deepEqual(await stopped, { lines: ['before', STOPPED] });
  await said(server, 'a microVM goes on', from);
  assert.equal((await microvm.get()).stateReason, undefined);

  await disk.leave(0);
  const again = server.process.lines.length;
  const lost = microvm.json(`/append?${ADOPTED}`).catch(() => undefined);
  await said(server, 'a microVM stands still', again);
  await server.crash();
  await lost;
  assert.match((await microvm.get()).stateReason ?? '', /stands still/);
  await disk.empty();
  await said(server, 'a microVM goes on', 0);
  assert.equal((await server.client.health()).stoppedByDisk, 0);
}
