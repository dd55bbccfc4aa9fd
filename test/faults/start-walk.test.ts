/** Every step of a start is brought to grief: of one that has something to mend, and of one that has a store to migrate. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { atMost } from '../../src/lib/at-most.ts';
import { Files } from '../../src/lib/files.ts';
import { CommitEffects } from '../../src/store/commit-effects.ts';
import { backupPathOf, migrate } from '../../src/store/migrate.ts';
import { MIGRATIONS } from '../../src/store/migrations.ts';
import { SqliteThread } from '../../src/store/sqlite-thread.ts';
import { Killed } from './calls.ts';
import { ERRNOS, FaultPort, type Done, type Fault } from './fault-port.ts';
import { pointName, subjects, type Subject } from './walk.ts';

const LANES = 2;

/** What an earlier server left in the middle: the operation, and where it was killed, with the VMM or without. */
const LEFT: readonly { readonly what: string; readonly from: 'RUNNING' | 'SUSPENDED' | 'none'; readonly operation: 'launch' | 'suspend' | 'resume' | 'terminate'; readonly fault: Fault }[] = [
  { what: 'a launch', from: 'none', operation: 'launch', fault: { point: { name: 'vmm load device state', nth: 1 }, what: 'server' } },
  { what: 'a suspend, the VMM alive', from: 'RUNNING', operation: 'suspend', fault: { point: { name: 'write microvms/microvm-*/gen-*/memory.diff', nth: 1 }, what: 'server' } },
  { what: 'a complete suspend, the VMM gone', from: 'RUNNING', operation: 'suspend', fault: { point: { name: 'fsync microvms', nth: 1 }, what: 'power' } },
  { what: 'a wake, the VMM alive', from: 'SUSPENDED', operation: 'resume', fault: { point: { name: 'vmm resume', nth: 1 }, what: 'server' } },
  { what: 'a wake, the VMM gone', from: 'SUSPENDED', operation: 'resume', fault: { point: { name: 'vmm dial', nth: 1 }, what: 'power' } },
  { what: 'an end', from: 'RUNNING', operation: 'terminate', fault: { point: { name: 'vmm kill', nth: 1 }, what: 'server' } },
];
const ALIVE = { RUNNING: null, SUSPENDED: null };

describe('every step of a start brought to grief', () => {
  let lanes: readonly Subject[] = [];
  before(async () => {
    lanes = await subjects(LANES);
  });
  after(async () => {
    for (const { engine } of lanes) await engine[Symbol.asyncDispose]();
  });

  for (const { what, from, operation, fault } of LEFT) {
    const leave = async (subject: Subject) => {
      const { engine } = subject;
      await subject.be(from);
      await engine.call('begin', fault);
      await (operation === 'launch' ? subject.launch() : engine.call(operation, subject.id)).catch(() => undefined);
      await assert.rejects(engine.call('idle'), Killed);
      await engine.killed();
    };
    const outcomes = operation === 'terminate' ? { TERMINATED: /^Success\.$/ } : ALIVE;
    it(`after ${what}`, async (test) => {
      const [first] = lanes;
      await leave(first!);
      const steps = await first!.engine.start();
      await first!.check(outcomes, what);
      const queue = steps.values();
      await atMost(LANES, lanes, async (subject) => {
        for (const { name, nth } of queue) {
          const point = { name, nth };
          await leave(subject);
          await assert.rejects(subject.engine.start({ point, what: 'server' }), Killed, `${what}: ${pointName(point)} is reached`);
          await subject.engine.killed();
          await subject.engine.start();
          await subject.check(outcomes, `${what}, and the next server killed at ${pointName(point)}`);
        }
      });
      test.diagnostic(`${steps.length} steps`);
    });
  }
});

describe('every step of a migration brought to grief', () => {
  const newest = MIGRATIONS.at(-1)!.version;
  let folder: string;
  before(async () => {
    folder = await mkdtemp('/var/tmp/lull-m-');
    await rm(join(folder, 'old.db'), { force: true });
    const thread = new SqliteThread(join(folder, 'old.db'));
    await migrate(thread, { path: join(folder, 'old.db'), migrations: MIGRATIONS.slice(0, 3) });
    await thread.run("insert into buckets (bucket, created_at_ms) values ('kept', 1)");
    await thread.close();
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** Migrates a copy of the old store. @returns the steps, and what it failed with */
  async function migrated(name: string, fault?: Fault): Promise<{ path: string; done: Done[]; failure: unknown }> {
    const dir = join(folder, name);
    await mkdir(dir, { recursive: true });
    const path = join(dir, 'lull.db');
    await copyFile(join(folder, 'old.db'), path);
    const done: Done[] = [];
    const port = new FaultPort({ folders: [dir], runtimeFolder: dir, onDone: (step) => done.push(step) });
    port.begin(fault);
    const thread = new SqliteThread(path);
    const failure = await migrate(new CommitEffects(thread, port), { path, files: new Files(port), migrations: MIGRATIONS }).then(
      () => undefined,
      (error: unknown) => error,
    );
    await thread.close();
    return { path, done, failure };
  }

  it('ends at a whole layout, with everything in it, and the next start brings it to the newest', async (test) => {
    const { done } = await migrated('traced');
    let faults = 0;
    for (const { name, nth } of done) {
      for (const what of ERRNOS) {
        faults += 1;
        const { path, failure } = await migrated(`${faults}`, { point: { name, nth }, what });
        assert.ok(failure !== undefined, `${what} at ${name}`);
        const thread = new SqliteThread(path);
        const { rows: [layout] } = await thread.run('PRAGMA user_version');
        const { user_version: version } = layout as { user_version: number };
        assert.ok(version >= 3 && version <= newest, `${version}`);
        assert.equal((await migrate(thread, { path, migrations: MIGRATIONS })).to, newest);
        assert.deepEqual((await thread.run('select bucket from buckets')).rows.map((row) => ({ ...(row as object) })), [{ bucket: 'kept' }]);
        await thread.close();
      }
    }
    test.diagnostic(`${done.length} steps, ${faults} faults`);
  });

  it('is backed up first: the copy opens with the layout before', async () => {
    const { path } = await migrated('backup');
    const thread = new SqliteThread(backupPathOf(path, 3));
    assert.deepEqual({ ...((await thread.run('PRAGMA user_version')).rows[0] as object) }, { user_version: 3 });
    await thread.close();
  });
});
