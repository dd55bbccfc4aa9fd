/** A power cut at every step: what was acknowledged is there, whatever of the rest the disk has lost. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, truncateSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { atMost } from '../../src/lib/at-most.ts';
import { Files } from '../../src/lib/files.ts';
import { readGenerationManifest, writeManifest } from '../../src/runtime/manifests.ts';
import { openStore } from '../../src/store/store.ts';
import { SqliteThread } from '../../src/store/sqlite-thread.ts';
import { Killed } from './calls.ts';
import { Engine } from './engine.ts';
import { DONE_NAME, type Done } from './fault-port.ts';
import { combinations, lose, pending, type Loss } from './power-cut.ts';
import { OUTCOMES } from './outcomes.ts';
import { OPERATIONS, pointName, subjects, trace, type Operation, type Subject } from './walk.ts';

const LANES = 2;
/** From here on a suspend may be complete, so every combination is tried; before, it is enough that all is lost. */
const NEARLY_COMPLETE = 'write microvms/microvm-*/gen-*/manifest.json.tmp';

/** One power cut: after which step, and which of the losses that are possible then. */
interface Cut {
  readonly point: Done;
  readonly index: number;
}

describe('power cut', () => {
  let lanes: readonly Subject[] = [];
  before(async () => {
    lanes = await subjects(LANES);
  });
  after(async () => {
    for (const { engine } of lanes) await engine[Symbol.asyncDispose]();
  });
  const named = (name: string) => OPERATIONS.find((operation) => operation.name === name)!;

  it('nothing of a generation or of a snapshot is still on its way to the disk when it is committed', async () => {
    const steps = await trace(lanes[0]!, named('suspend'));
    const committed = steps.findIndex(({ name }) => name === 'commit update microvms SUSPENDED');
    assert.deepEqual(pending(steps.slice(0, committed)), []);
    await using engine = await Engine.make(lanes[0]!.engine);
    await engine.start();
    await engine.call('begin', null);
    await engine.call('build', 'another');
    const { done } = await engine.call('traced');
    const successful = done.findIndex(({ name }) => name.startsWith('commit update image_versions SUCCESSFUL'));
    const ofSnapshot = pending(done.slice(0, successful)).filter(({ path }) => path.startsWith(join(engine.folders.data, 'images')));
    assert.deepEqual(ofSnapshot.filter(({ path }) => !path.endsWith('.ndjson')), []);
  });

  for (const name of ['launch', 'suspend', 'resume']) {
    it(`in a ${name}`, async (test) => {
      const operation = named(name);
      const steps = await trace(lanes[0]!, operation);
      const cuts = steps.flatMap((point, at) => cutsAt(point, steps.slice(0, at + 1)));
      const committed = steps.findIndex(({ name: step }) => step === 'commit update microvms SUSPENDED');
      const acknowledged = new Set(name === 'suspend' ? steps.slice(committed) : []);
      const queue = cuts.values();
      await atMost(LANES, lanes, async (lane) => {
        for (const cut of queue) await cutPower(lane, operation, { ...cut, isAcknowledged: acknowledged.has(cut.point) });
      });
      test.diagnostic(`${steps.length} steps, ${cuts.length} cuts`);
    });
  }
});

const isLate = (steps: readonly Done[]) => steps.some(({ name }) => name === NEARLY_COMPLETE);

function cutsAt(point: Done, steps: readonly Done[]): readonly Cut[] {
  return chosen(steps).map((_, index) => ({ point, index }));
}

/** The losses that are tried after these steps. */
const chosen = (steps: readonly Done[]): readonly (readonly Loss[])[] => (isLate(steps) ? combinations(pending(steps)) : [pending(steps)]);

async function cutPower(subject: Subject, operation: Operation, { point, index, isAcknowledged }: Cut & { isAcknowledged: boolean }): Promise<void> {
  const { engine } = subject;
  await subject.be(operation.from);
  await engine.call('begin', { point: { name: point.name, nth: point.nth }, what: 'power' });
  await operation.act(subject).catch(() => undefined);
  await assert.rejects(engine.call('idle'), Killed);
  await engine.killed();
  const lines = readFileSync(join(engine.folders.work, DONE_NAME), 'utf8').split('\n').filter((line) => line !== '');
  const choices = chosen(lines.map((line) => JSON.parse(line) as Done));
  const losses = choices[Math.min(index, choices.length - 1)]!;
  lose(losses);
  await bootAgain(engine.folders.data);
  await engine.start();
  const because = `${operation.name}, power cut after ${pointName(point)}, lost ${losses.map(({ what, path }) => `${what} of ${path.split('/').slice(-2).join('/')}`).join(', ') || 'nothing'}`;
  const state = await subject.check(isAcknowledged ? { SUSPENDED: null } : OUTCOMES[operation.name].power, because);
  if (isAcknowledged) assert.equal(state, 'SUSPENDED', because);
}

/** Manifests tell by the host's boot id whether anything may have run: after a power cut it is another. */
async function bootAgain(data: string): Promise<void> {
  const microvms = join(data, 'microvms');
  for (const microvmId of readdirSync(microvms)) {
    for (const name of readdirSync(join(microvms, microvmId)).filter((entry) => entry.startsWith('gen-'))) {
      const path = join(microvms, microvmId, name, 'manifest.json');
      // One that was lost stays as it is.
      const manifest = await readGenerationManifest(path, { microvmId, generation: Number(name.slice('gen-'.length)) }).catch(() => undefined);
      if (manifest?.version === 2) await writeManifest(new Files(), path, { ...manifest, hostBootId: 'another boot' });
    }
  }
}

describe('the store and a power cut', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp('/var/tmp/lull-w-');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('waits for the disk at every commit: write-ahead log, synchronous FULL', async () => {
    const thread = new SqliteThread(join(folder, 'settings.db'));
    const valueOf = async (pragma: string) => Object.values((await thread.run(`PRAGMA ${pragma}`)).rows[0] as object)[0] as unknown;
    assert.deepEqual([await valueOf('journal_mode'), await valueOf('synchronous'), await valueOf('foreign_keys')], ['wal', 2, 1]);
    await thread.close();
  });

  it('a log that has lost its end opens at a whole commit: all before it, nothing after', async () => {
    const path = join(folder, 'lull.db');
    const store = await openStore({ path });
    const count = 20;
    for (let bucket = 0; bucket < count; bucket += 1) await store.objects.createBucket(`b${bucket}`.padEnd(5, '0'), 1);
    const names = async (opened: typeof store) => (await opened.objects.listBuckets({ prefix: '', after: '', limit: 100 })).length;
    await copyFile(path, join(folder, 'cut.db'));
    await copyFile(`${path}-wal`, join(folder, 'whole-wal'));
    await store[Symbol.asyncDispose]();
    const { length } = readFileSync(join(folder, 'whole-wal'));
    let least = count;
    for (let end = length; end > length / 2; end -= 7777) {
      await copyFile(join(folder, 'cut.db'), join(folder, 'now.db'));
      await copyFile(join(folder, 'whole-wal'), join(folder, 'now.db-wal'));
      truncateSync(join(folder, 'now.db-wal'), end);
      await using opened = await openStore({ path: join(folder, 'now.db') });
      const found = await names(opened);
      assert.ok(found <= least, `${found} of ${least} at ${end}`);
      least = found;
    }
    assert.ok(least < count, 'some of it was cut off');
  });
});
