/**
 * Every file that a launch or a wake reads is truncated, flipped, swapped and removed: it is refused by its name, nothing of it
 * runs, and with the file whole again the microVM goes on where it was.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../src/host/process.ts';
import { machinesBelow } from './fault-port.ts';
import { Subject, subjects } from './walk.ts';

const SNAPSHOT_FILES = ['memory', 'device-state', 'root.erofs', 'scratch.ext4', 'manifest.json'] as const;
const GENERATION_FILES = ['device-state', 'memory.diff', 'manifest.json'] as const;

/** What becomes of a file; `another` is one of its kind. */
const DAMAGES = {
  truncated: async (path: string) => truncate(path, Math.floor((await sizeOf(path)) / 2)),
  flipped: async (path: string) => flip(path, Math.floor((await sizeOf(path)) / 2)),
  swapped: (path: string, another: string) => replaced(path, another),
  removed: (path: string) => rm(path),
} as const;
type Damage = keyof typeof DAMAGES;
const ALL = Object.keys(DAMAGES) as Damage[];

/** Found at every restore; the whole of files of this size are read by `lull verify` only. */
const FOUND_BY_LENGTH: readonly Damage[] = ['truncated', 'removed'];
const TOO_LARGE: readonly string[] = ['memory', 'root.erofs', 'scratch.ext4'];

describe('files that are not what was written', () => {
  let subject: Subject;
  /** Sleeps beside the subject, on an image of its own. */
  let other: Subject;
  let images: string;
  let microvms: string;
  before(async () => {
    [subject] = (await subjects(1)) as [Subject];
    const { engine } = subject;
    [images, microvms] = [join(engine.folders.data, 'images'), join(engine.folders.data, 'microvms')];
    await subject.be('SUSPENDED');
    other = new Subject(engine);
    await other.be('SUSPENDED');
    await engine.call('build', 'other');
  });
  after(() => subject?.engine[Symbol.asyncDispose]());

  const generation = ({ id }: Subject, number = 1) => join(microvms, id, `gen-${number}`);
  const snapshotOf = async (nth: number) => join(images, (await subject.engine.call('rows')).versions[nth]!.snapshotId);

  /** Refused with these words, and it sleeps on without a process. */
  async function refusesToWake(because: RegExp): Promise<void> {
    const { engine, id } = subject;
    await assert.rejects(engine.call('resume', id), because);
    const row = await subject.row();
    assert.deepEqual([row?.state, row?.reason], ['SUSPENDED', null]);
    assert.deepEqual(machinesBelow(engine.folders.runtime), []);
  }

  /** A new one ends with these words. */
  async function refusesToLaunch(because: RegExp): Promise<void> {
    const { engine } = subject;
    const id = await engine.call('run', 'app');
    await engine.call('idle');
    const { state, reason } = (await engine.call('rows')).microvms.find((row) => row.id === id)!;
    assert.equal(state, 'TERMINATED');
    assert.match(reason!, because);
    assert.deepEqual(machinesBelow(engine.folders.runtime), []);
    assert.deepEqual((await readdir(microvms)).includes(id), false);
  }

  for (const file of SNAPSHOT_FILES) {
    for (const damage of TOO_LARGE.includes(file) ? FOUND_BY_LENGTH : ALL) {
      it(`${file} of an image, ${damage}: neither launched nor woken`, async () => {
        const [mine, another] = [await snapshotOf(0), await snapshotOf(1)];
        await using _whole = await damaged(join(mine, file), (path) => DAMAGES[damage](path, join(another, file)));
        const named = damage === 'swapped' && file === 'manifest.json' ? 'belongs to another image' : 'is missing or damaged';
        const because = `${basename(mine)}/${file} ${named}`;
        await refusesToLaunch(new RegExp(`^The MicroVM could not be launched \\(restore\\): ${because}$`));
        await refusesToWake(new RegExp(`could not be woken: ${because}$`));
      });
    }
  }

  for (const file of TOO_LARGE) {
    for (const damage of ['flipped', 'swapped'] as const) {
      it(`${file} of an image, ${damage}: found when all is verified`, async () => {
        const [mine, another] = [await snapshotOf(0), await snapshotOf(1)];
        await using _whole = await damaged(join(mine, file), (path) => DAMAGES[damage](path, join(another, file)));
        const faults = (await subject.engine.call('verify')).filter(({ fault }) => fault !== null);
        assert.deepEqual(faults.map((found) => [found.subject, found.file, found.fault]), [['app:1.0', file, 'has other bytes than were written']]);
      });
    }
  }

  for (const file of GENERATION_FILES) {
    for (const damage of ALL) {
      it(`${file} of a sleeper, ${damage}: not woken`, async () => {
        await using _whole = await damaged(join(generation(subject), file), (path) => DAMAGES[damage](path, join(generation(other), file)));
        const named = damage === 'swapped' && file === 'manifest.json' ? 'belongs to another microVM' : 'is (missing or )?damaged';
        await refusesToWake(new RegExp(`could not be woken: .*gen-1/${file} ${named}`));
      });
    }
  }

  for (const damage of ALL) {
    it(`the disk of a sleeper, ${damage}: not woken`, async () => {
      const { id } = subject;
      await using _whole = await damaged(join(microvms, id, 'scratch.ext4'), (path) => DAMAGES[damage](path, join(microvms, other.id, 'scratch.ext4')));
      await refusesToWake(new RegExp(`could not be woken: ${id}/scratch.ext4 is missing, or was written to after the MicroVM fell asleep$`));
    });
  }

  it('the whole snapshot of another image: neither launched nor woken', async () => {
    const [mine, another] = [await snapshotOf(0), await snapshotOf(1)];
    await using _whole = await damaged(mine, (path) => replaced(path, another));
    await refusesToLaunch(/manifest\.json belongs to another image$/);
    await refusesToWake(/manifest\.json belongs to another image$/);
  });

  it('the whole generation of another microVM of the same image: not woken', async () => {
    await using _whole = await damaged(generation(subject), (path) => replaced(path, generation(other)));
    await refusesToWake(/gen-1\/manifest\.json belongs to another microVM$/);
  });

  it('all is whole where nothing was touched, and what lacks is named', async () => {
    const found = await subject.engine.call('verify');
    assert.deepEqual(found.filter(({ fault }) => fault !== null), []);
    const ofImage = ['manifest.json', 'device-state', 'root.erofs', 'scratch.ext4', 'memory'];
    const ofSleeper = ['manifest.json', 'device-state', 'memory.diff', 'scratch.ext4'];
    const filesOf = (name: string) => found.filter(({ subject: whose }) => whose === name).map(({ file }) => file);
    assert.deepEqual([filesOf('app:1.0'), filesOf('other:1.0'), filesOf(subject.id), filesOf(other.id)], [ofImage, ofImage, ofSleeper, ofSleeper]);
    await using _whole = await damaged(join(generation(subject), 'memory.diff'), (path) => rm(path));
    const faults = (await subject.engine.call('verify')).filter(({ fault }) => fault !== null);
    assert.deepEqual(faults, [{ subject: subject.id, file: 'memory.diff', sizeBytes: 0, fault: 'is missing' }]);
  });

  it('goes on where it was, once all is whole again, and an older generation is not taken for the newest', async () => {
    await subject.check({ SUSPENDED: null }, 'whole again');
    const kept = join(subject.engine.folders.work, 'gen-1');
    await replaced(kept, generation(subject));
    await subject.engine.call('suspend', subject.id);
    assert.equal(existsSync(generation(subject)), false);
    {
      await using _whole = await damaged(generation(subject, 2), (path) => replaced(path, kept));
      await refusesToWake(/gen-2\/manifest\.json belongs to another generation$/);
    }
    await subject.check({ SUSPENDED: null }, 'whole again');
  });

  it('manifests from before they said whose they are, and had a checksum, are still read', async () => {
    await subject.be('SUSPENDED');
    const newest = (await subject.row())!.generation;
    const [image, sleeper] = [join(await snapshotOf(0), 'manifest.json'), join(generation(subject, newest), 'manifest.json')];
    const asBefore = async (path: string) => {
      const manifest = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
      for (const member of ['checksum', 'bootedFrom', 'scratchExtents', 'microvmId', 'generation']) delete manifest[member];
      if (path === image) delete manifest['snapshotId'];
      await rm(path);
      await writeFile(path, JSON.stringify({ ...manifest, version: 1 }));
    };
    for (const path of [image, sleeper]) await asBefore(path);
    assert.deepEqual((await subject.engine.call('verify')).filter(({ fault }) => fault !== null), []);
    await subject.check({ SUSPENDED: null }, 'as before');
    await subject.engine.call('suspend', subject.id);
    await subject.check({ SUSPENDED: null }, 'saved anew');
  });
});

/** Damages a file, or a folder, until disposed of: then the very file that was there is there again, with its times. */
async function damaged(path: string, damage: (path: string) => Promise<unknown>): Promise<AsyncDisposable> {
  const aside = join(dirname(dirname(path)), 'aside');
  await rename(path, aside);
  await replaced(path, aside);
  await damage(path);
  return {
    [Symbol.asyncDispose]: async () => {
      await rm(path, { recursive: true, force: true });
      await rename(aside, path);
    },
  };
}

/** Makes `path` a copy of `from`, a file or a folder. Node's own copy would fill the holes of the disks. */
async function replaced(path: string, from: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await run(['cp', '--recursive', '--reflink=auto', '--sparse=always', '--', from, path]);
}

async function sizeOf(path: string): Promise<number> {
  await using file = await open(path);
  return (await file.stat()).size;
}

/** Inverts one byte. */
async function flip(path: string, position: number): Promise<void> {
  await using file = await open(path, 'r+');
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, position);
  await file.write(Buffer.of(buffer[0]! ^ 0xff), 0, 1, position);
}
