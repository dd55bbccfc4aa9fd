/** Every step of building and deleting images, and of a start, is brought to grief; VMMs and containers are fakes. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { atMost } from '../../src/lib/at-most.ts';
import { zipOf } from '../unit/image/zip-bytes.ts';
import { Killed } from './calls.ts';
import { assertNoStrays, Engine } from './engine.ts';
import type { Rows } from './strays.ts';
import type { Done, Fault } from './fault-port.ts';
import type { Kind } from './outcomes.ts';
import { faultsOf, pointName } from './walk.ts';

const LANES = 2;
const IMAGE = 'app';

/** What is done to an image, from which rows, and what may come of it. */
interface ImageOperation {
  readonly name: string;
  readonly prepare: (engine: Engine) => Promise<unknown>;
  readonly act: (engine: Engine) => Promise<unknown>;
  /** Ends of the image that are true, given its rows. */
  readonly isTrue: (rows: Rows) => boolean;
}

const versionsAre = (rows: Rows, ...states: (readonly string[])[]) =>
  rows.versions.length === states.length && rows.versions.every(({ state }, at) => states[at]!.includes(state));
const imageIs = ({ images }: Rows, ...states: string[]) => images.length === 1 && states.includes(images[0]!.state);
const isGone = ({ images, versions }: Rows) => images.length === 0 && versions.length === 0;

/** Removes the image, whatever became of it, and builds it anew. */
async function anew(engine: Engine, versions: number): Promise<void> {
  if ((await engine.call('rows')).images.length > 0) await engine.call('removeImage', IMAGE);
  if (versions > 0) await engine.call('build', IMAGE);
  for (let more = 1; more < versions; more += 1) await engine.call('update', IMAGE);
}

const OPERATIONS: readonly ImageOperation[] = [
  {
    name: 'build',
    prepare: (engine) => anew(engine, 0),
    act: (engine) => engine.call('build', IMAGE),
    isTrue: (rows) =>
      isGone(rows) ||
      (imageIs(rows, 'CREATED') && versionsAre(rows, ['SUCCESSFUL'])) ||
      (imageIs(rows, 'CREATE_FAILED') && versionsAre(rows, ['FAILED']) && rows.versions[0]!.reason !== null),
  },
  {
    name: 'delete a version',
    prepare: (engine) => anew(engine, 2),
    act: (engine) => engine.call('removeVersion', IMAGE, '1.0'),
    isTrue: (rows) =>
      imageIs(rows, 'UPDATED') && (versionsAre(rows, ['SUCCESSFUL']) || versionsAre(rows, ['SUCCESSFUL', 'DELETE_FAILED'], ['SUCCESSFUL'])),
  },
  {
    name: 'delete an image',
    prepare: (engine) => anew(engine, 1),
    act: (engine) => engine.call('removeImage', IMAGE),
    isTrue: (rows) => isGone(rows) || imageIs(rows, 'CREATED', 'DELETE_FAILED'),
  },
];

async function traced(engine: Engine, { prepare, act }: ImageOperation): Promise<readonly Done[]> {
  await prepare(engine);
  await engine.call('begin', null);
  await act(engine);
  return (await engine.call('traced')).done;
}

async function bringToGrief(engine: Engine, { prepare, act, isTrue }: ImageOperation, { kind, fault }: { kind: Kind; fault: Fault }): Promise<void> {
  await prepare(engine);
  await engine.call('begin', fault);
  await act(engine).catch(() => undefined);
  if (kind === 'server' || kind === 'power') {
    await assert.rejects(engine.call('idle'), Killed);
    await engine.killed();
    await engine.start();
  } else {
    await engine.call('idle');
    assert.ok((await engine.call('traced')).wasHit, 'the point is reached');
    await engine.call('begin', null);
    await engine.call('aMinute');
  }
  const rows = await engine.call('rows');
  assert.ok(isTrue(rows), JSON.stringify(rows));
  // Bytes of an object that could not be removed wait for the next start.
  const strays = (await engine.strays()).filter((stray) => kind === 'server' || !stray.startsWith('blob: '));
  assert.deepEqual(strays, []);
}

describe('every step of an image brought to grief', () => {
  const engines: Engine[] = [];
  before(async () => {
    while (engines.length < LANES) engines.push(await Engine.make());
    await atMost(LANES, engines, async (engine) => {
      await engine.start();
      await engine.call('putArtifact', zipOf([{ name: 'Dockerfile', data: 'FROM scratch' }]).toString('base64'));
    });
  });
  after(async () => {
    for (const engine of engines) await engine[Symbol.asyncDispose]();
  });

  async function walk(test: TestContext, operation: ImageOperation, kind: Kind): Promise<void> {
    const steps = await traced(engines[0]!, operation);
    const faults = faultsOf(kind, steps);
    const queue = faults.values();
    const failures: string[] = [];
    await atMost(LANES, engines, async (engine) => {
      for (const fault of queue) {
        await bringToGrief(engine, operation, { kind, fault }).catch(async (error: Error) => {
          failures.push(`${operation.name}, ${fault.what} at ${pointName(fault.point)}: ${error.message}`);
          await engine.killed();
          await engine.start();
        });
      }
    });
    test.diagnostic(`${steps.length} steps, ${faults.length} faults`);
    assert.deepEqual(failures, []);
  }

  for (const operation of OPERATIONS) {
    for (const kind of ['server', 'errno', 'full'] as const) it(`${operation.name}: ${kind}`, (test) => walk(test, operation, kind));
  }

  it('build: vmm', (test) => walk(test, OPERATIONS[0]!, 'vmm'));

  it('leaves nothing once all of it is deleted and a server has started', async () => {
    for (const engine of engines) {
      await anew(engine, 0);
      await engine.stop();
      await engine.start();
      await assertNoStrays(engine, 'in the end');
      assert.ok(isGone(await engine.call('rows')));
    }
  });
});
