/** Images and sleepers from before an upgrade: another copy of QEMU and another agent are set up, and they go on as they were. */
import assert from 'node:assert/strict';
import { appendFile, chmod, cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Platform } from '../../src/domain/platform.ts';
import { run } from '../../src/host/process.ts';
import type { SnapshotManifest } from '../../src/runtime/manifests.ts';
import { makeArtifact } from '../../src/setup/artifacts.ts';
import { makeInitramfs } from '../../src/setup/initramfs.ts';
import { loadPlatform, platformFolder, readManifest, writeManifest, type Manifest } from '../../src/setup/platform.ts';
import { describeVmm } from '../../src/setup/vmm-copy.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { runLull } from './server-process.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');

/** A platform folder of the test's own, set up from another time. */
class AgedPlatform implements AsyncDisposable {
  readonly folder: string;
  readonly #newest: Manifest;
  #older: Manifest | undefined;

  private constructor(folder: string, newest: Manifest) {
    this.folder = folder;
    this.#newest = newest;
  }

  static async make(): Promise<AgedPlatform> {
    const from = platformFolder(process.env, process.getuid!());
    const folder = await mkdtemp('/var/tmp/lull-p-');
    // The user that builds comes by here.
    await chmod(folder, 0o755);
    await run(['cp', '--recursive', '--link', '--', join(from, 'artifacts'), join(folder, 'artifacts')]);
    await cp(join(from, 'kvm-probe.json'), join(folder, 'kvm-probe.json')).catch(() => undefined);
    return new AgedPlatform(folder, (await readManifest(from))!);
  }

  get older(): Manifest {
    return this.#older!;
  }

  get olderVmm(): string {
    return this.older.qemu.id;
  }

  get newestVmm(): string {
    return this.#newest.qemu.id;
  }

  /** As a `lull setup` of an earlier time left it: a QEMU with a library more, and an agent that does not tell its versions. */
  async setUpLongAgo(): Promise<void> {
    const { folder } = this;
    const platform = await this.#platform();
    const qemu = await makeArtifact(folder, async (into) => {
      await run(['cp', '--recursive', '--', `${platform.qemu.path}/.`, into]);
      await writeFile(join(into, 'lib/liblull-older.so'), 'of another time');
      await describeVmm(into, { version: this.#newest.qemu.version, argv: this.#newest.qemu.argv });
    });
    const agent = await makeArtifact(folder, async (into) => {
      await run(['cp', '--recursive', '--', `${dirname(platform.agent.path)}/.`, into]);
      const program = await readFile(platform.agent.path, 'latin1');
      assert.ok(program.includes('protocols'));
      await writeFile(join(into, 'lull-agent'), program.replaceAll('protocols', 'unheard-x'), 'latin1');
      await appendFile(join(into, 'lull-agent'), 'older');
    });
    const agentPath = join(agent.path, 'lull-agent');
    const initramfs = await makeInitramfs(folder, { agent: join(folder, agentPath), kernel: dirname(platform.kernel.path) });
    this.#older = { ...this.#newest, qemu: { ...this.#newest.qemu, ...qemu }, agent: { id: agent.id, path: agentPath }, initramfs };
    await writeManifest(folder, this.#older);
  }

  /** As the next one leaves it: everything is the newest, and what was there before stays. */
  setUpToday(): Promise<void> {
    return writeManifest(this.folder, this.#newest);
  }

  async #platform(): Promise<Platform> {
    await this.setUpToday();
    return await loadPlatform(this.folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

const count = async (microvm: TestMicrovm) => (await microvm.json<{ counter: number }>('/count')).counter;

describe('an upgrade', { skip: await cannotServe() }, () => {
  const stack = new AsyncDisposableStack();
  const ownPlatform = process.env['LULL_PLATFORM'];
  let platform: AgedPlatform;
  let server: LullServer;
  let sleeper: TestMicrovm;
  before(async () => {
    platform = stack.use(await AgedPlatform.make());
    await platform.setUpLongAgo();
    process.env['LULL_PLATFORM'] = platform.folder;
    server = stack.use(await LullServer.start());
    await server.image('probe', PROBE);
    sleeper = await launch('1.0');
    assert.equal(await count(sleeper), 1);
    await sleeper.suspend();
    await server.stop('SIGTERM');
    await platform.setUpToday();
    await server.up();
  });
  after(async () => {
    await stack.disposeAsync();
    if (ownPlatform === undefined) delete process.env['LULL_PLATFORM'];
    else process.env['LULL_PLATFORM'] = ownPlatform;
  });

  async function launch(imageVersion: string): Promise<TestMicrovm> {
    const microvm = await server.run('arn:aws:lambda:us-east-1:000000000000:microvm-image:probe', { imageVersion, idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.until('RUNNING');
    return microvm;
  }

  /** The copy of QEMU that it runs on. */
  async function vmmOf(microvm: TestMicrovm): Promise<string | undefined> {
    const words = await readFile(`/proc/${(await microvm.vmm())!.pid}/cmdline`, 'utf8');
    return /artifacts\/([0-9a-f]{24})\//.exec(words)?.[1];
  }

  it('a sleeper from before wakes on the QEMU that saved it, and goes on sleeping and waking', async () => {
    assert.notEqual(platform.olderVmm, platform.newestVmm);
    for (const expected of [2, 3]) {
      assert.equal(await count(sleeper), expected);
      assert.equal(await vmmOf(sleeper), platform.olderVmm);
      await sleeper.suspend();
    }
  });

  it('the manifest of its image names what it was made with, by content', async () => {
    const [snapshotId] = await readdir(join(server.data, 'images'));
    const { placement, bootedFrom } = JSON.parse(await readFile(join(server.data, 'images', snapshotId!, 'manifest.json'), 'utf8')) as SnapshotManifest & { version: 2 };
    const { qemu, kernel, initramfs, agent } = platform.older;
    assert.deepEqual([placement.vmm, bootedFrom], [qemu.id, { kernel: kernel.id, initramfs: initramfs.id, agent: agent.id }]);
  });

  it('an image from before is launched with the QEMU and the agent that it was made with', async () => {
    const microvm = await launch('1.0');
    assert.equal(await count(microvm), 1);
    assert.equal(await vmmOf(microvm), platform.olderVmm);
    await server.crash();
    assert.equal(await count(microvm), 2);
    await microvm.terminate();
  });

  it('`lull images rebuild` makes it anew from its own code, though the object is gone; that runs on the newest', async () => {
    await server.s3.deleteObject({ Bucket: 'artifacts', Key: 'probe.zip' });
    const { exitCode, said } = await runLull(['images', 'rebuild', 'probe:1.0', '--data', server.data]);
    assert.equal(exitCode, 0, said);
    assert.match(said, /^probe:2\.0 is ready/m);
    const microvm = await launch('2.0');
    assert.equal(await count(microvm), 1);
    assert.equal(await vmmOf(microvm), platform.newestVmm);
    await microvm.terminate();
  });

  it('`lull verify` finds all of it whole', async () => {
    const { exitCode, said } = await runLull(['verify', '--data', server.data]);
    assert.equal(exitCode, 0, said);
    assert.match(said, /probe:1\.0 memory \(.*\): whole$/m);
    assert.match(said, /files of 3 images and microVMs are whole$/m);
  });

  it('where the older copy of QEMU is gone, both are refused with the mend, and go on once it is back', async () => {
    const copy = join(platform.folder, 'artifacts', platform.olderVmm);
    await rename(copy, `${copy}.away`);
    const because = new RegExp(`The copy of QEMU with which it was made \\(${platform.olderVmm}\\) is gone .*lull images rebuild`);
    await assert.rejects(server.lambda.resumeMicrovm({ microvmIdentifier: sleeper.id }), because);
    assert.equal(await sleeper.state(), 'SUSPENDED');
    const refused = await server.run('arn:aws:lambda:us-east-1:000000000000:microvm-image:probe', { imageVersion: '1.0' });
    await refused.until('TERMINATED');
    assert.match((await refused.get()).stateReason!, because);
    await rename(`${copy}.away`, copy);
    await sleeper.resume();
    assert.equal(await count(sleeper), 4);
    await sleeper.terminate();
  });
});
