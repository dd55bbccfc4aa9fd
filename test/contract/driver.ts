/** What every {@link Driver} promises: one suite over each of them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, it } from 'node:test';
import { endProcess, isRunning, run } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import { AddressTakenError, VmmError, type Driver, type Machine } from '../../src/vmm/driver.ts';
import { GUEST_MIB, greet, saveGuest, specFor, type SavedGuest } from './driver-guest.ts';
import type { Report, Task } from './driver-process.ts';

const PROCESS = join(import.meta.dirname, 'driver-process.ts');
const LIMIT_MS = 60_000;
/** A guest that answers before it knows of its host misses about one of fifty. */
const HOSTS = 300;

const withoutPasst = await run(['sh', '-c', 'command -v passt']).then(
  () => false as const,
  () => 'passt is not installed',
);

const sha256 = async (path: string) => createHash('sha256').update(await readFile(path)).digest('hex');

/** Runs a driver-process, under `wrapper` where one is given, until it has reported. */
async function inAnotherProcess(task: Task, wrapper: readonly string[] = []): Promise<{ report: Report; end: () => Promise<void> }> {
  const words = [...wrapper, process.execPath, '--disable-warning=ExperimentalWarning', PROCESS, JSON.stringify(task)];
  const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const end = async () => {
    child.kill('SIGKILL');
    await closed;
  };
  try {
    const said = Promise.race([once(createInterface({ input: child.stdout }), 'line'), closed.then(() => [''])]);
    const [line] = (await within('a report', LIMIT_MS, said)) as [string];
    assert.notEqual(line, '', 'the process reports');
    return { report: JSON.parse(line) as Report, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * @param makeDriver also called in processes of their own, by accelerator
 * @param skip why this driver cannot be tried here, or false
 */
export function driverContract(accelerator: 'kvm' | 'tcg', { makeDriver, skip }: { makeDriver: () => Promise<Driver>; skip: string | false }): void {
  describe(`driver qemu/${accelerator}`, { skip }, () => {
    let driver: Driver;
    let folder: string;
    let guest: SavedGuest;
    before(async () => {
      // Sockets are below it: the path is short.
      folder = await mkdtemp('/var/tmp/ld-');
      driver = await makeDriver();
      guest = await saveGuest(driver, folder);
    });
    afterEach(async () => {
      const left = await driver.processesBelow(folder);
      for (const identity of left) await endProcess(identity);
      assert.deepEqual(left, [], 'the test leaves no process');
    });
    after(() => rm(folder, { recursive: true, force: true }));
    /** A machine restored from the saved guest, paused, that ends with its test. */
    const restored = async (name: string): Promise<{ machine: Machine } & AsyncDisposable> => {
      const machine = await driver.prepare(await specFor(guest, name));
      await machine.loadDeviceState();
      return { machine, [Symbol.asyncDispose]: () => machine.kill() };
    };

    it('names what a snapshot rests on', () => {
      assert.equal(driver.accelerator, accelerator);
      assert.equal(driver.placement.accelerator, accelerator);
      assert.equal(driver.placement.tscKhz > 0, accelerator === 'tcg');
    });

    it('restores a saved guest, which goes on where it was', async () => {
      await using one = await restored('one');
      await using two = await restored('two');
      for (const { machine } of [one, two]) {
        await using greeted = await greet(machine, { secret: guest.secret, restored: true });
        assert.equal(greeted.welcome.bootId, guest.bootId);
        const counted = await greeted.counted();
        assert.ok(counted >= guest.counted && counted <= guest.counted + 20, `${counted} after ${guest.counted}`);
      }
    });

    it('refuses a wrong secret inside, whoever holds the channel', async () => {
      await using held = await restored('secret');
      await assert.rejects(greet(held.machine, { secret: '00'.repeat(32), restored: true }), { code: 'secret' });
    });

    it('maps the memory privately: what a guest does is nobody else\'s', async () => {
      const hash = await sha256(guest.memoryPath);
      await using held = await restored('private');
      const mappings = held.machine.mappings();
      assert.equal(mappings.reduce((sum, { length }) => sum + length, 0), GUEST_MIB * 1024 ** 2);
      await using greeted = await greet(held.machine, { secret: guest.secret, restored: true });
      await greeted.counted();
      await held.machine.pause();
      assert.equal(await sha256(guest.memoryPath), hash);
    });

    it('saves device state again, without the guest noticing', async () => {
      await using held = await restored('again');
      const { machine } = held;
      const { session, secret, counted } = await greet(machine, { secret: guest.secret, restored: true });
      const before = await counted();
      await session.call('freeze', {});
      await session.call('quiesce', {});
      await session.close();
      await machine.hungUp();
      await machine.pause();
      const queues = await machine.receiveQueues();
      assert.ok(queues.length === 3 && queues.every(({ size }) => size >= 32), `${JSON.stringify(queues)}: of each port and of the control messages`);
      await machine.saveDeviceState(join(folder, 'second-state'));
      assert.ok((await readFile(join(folder, 'second-state'))).length > 0);
      await using greeted = await greet(machine, { secret, restored: true });
      assert.ok((await greeted.counted()) >= before);
    });

    it('hears every host, also one that comes right behind another', async () => {
      await using held = await restored('hosts');
      let { secret } = guest;
      for (let host = 0; host < HOSTS; host += 1) {
        await using greeted = await greet(held.machine, { secret, restored: host === 0 });
        ({ secret } = greeted);
      }
    });

    it('finds its processes below a folder, and only there', async () => {
      await using here = await restored('here');
      await using there = await restored('there');
      const below = await driver.processesBelow(join(folder, 'here'));
      assert.deepEqual(below, [here.machine.identity]);
      const all = (await driver.processesBelow(folder)).map(({ pid }) => pid);
      assert.deepEqual(new Set(all), new Set([here.machine.identity.pid, there.machine.identity.pid]));
      assert.equal(all.length, 2);
      assert.deepEqual(await driver.processesBelow(join(folder, 'her')), []);
    });

    it('lets a later server take over a machine of one that was killed', async () => {
      const spec = await specFor(guest, 'adopt');
      const { report, end } = await inAnotherProcess({ accelerator, spec, secret: guest.secret, kill: false });
      await end();
      assert.equal(await isRunning(report.identity), true);
      const machine = await driver.adopt(spec, report.identity);
      assert.ok(machine !== undefined);
      assert.deepEqual(machine.identity, report.identity);
      assert.equal(machine.mappings().reduce((sum, { length }) => sum + length, 0), GUEST_MIB * 1024 ** 2);
      {
        await using greeted = await greet(machine, { secret: report.secret, restored: false });
        assert.equal(greeted.welcome.bootId, guest.bootId);
        assert.ok((await greeted.counted()) >= report.counted);
      }
      await machine.hungUp();
      await machine.pause();
      await machine.saveDeviceState(join(folder, 'adopted-state'));
      await machine.kill();
      assert.equal(await isRunning(report.identity), false);
      await machine.exited;
    });

    it('takes over nothing that is gone, or is another', async () => {
      const spec = await specFor(guest, 'gone');
      const machine = await driver.prepare(spec);
      const { identity } = machine;
      machine.detach();
      assert.equal(await driver.adopt(spec, { ...identity, startTicks: identity.startTicks + 1 }), undefined);
      assert.equal(await driver.adopt(spec, { ...identity, bootId: 'another boot' }), undefined);
      assert.equal(await isRunning(identity), true, 'whose identity was wrong runs on');
      await endProcess(identity);
      assert.equal(await driver.adopt(spec, identity), undefined);
    });

    it('ends a machine once, however often it is asked', async () => {
      const machine = await driver.prepare(await specFor(guest, 'end'));
      await Promise.all([machine.kill(), machine.kill()]);
      await machine.kill();
      await machine.exited;
      assert.equal(await isRunning(machine.identity), false);
      await assert.rejects(machine.pause(), VmmError);
    });

    it('tells of a process that was killed by another', async () => {
      const machine = await driver.prepare(await specFor(guest, 'killed'));
      process.kill(machine.identity.pid, 'SIGKILL');
      await within('its end', LIMIT_MS, machine.exited);
      await machine.kill();
    });

    it('refuses device state that is damaged or not there, and leaves no process', async () => {
      const whole = await readFile(guest.deviceStatePath);
      const damaged = join(folder, 'damaged-state');
      const damages: readonly [string, () => Promise<void>][] = [
        ['cut', () => truncate(damaged, whole.length >> 1)],
        ['empty', () => truncate(damaged, 0)],
        ['other', () => writeFile(damaged, Buffer.alloc(whole.length, 0x5a))],
      ];
      for (const [name, damage] of damages) {
        await writeFile(damaged, whole);
        await damage();
        const machine = await driver.prepare({ ...(await specFor(guest, name)), deviceStatePath: damaged });
        await assert.rejects(machine.loadDeviceState(), VmmError, name);
        await machine.kill();
      }
      await assert.rejects(driver.prepare({ ...(await specFor(guest, 'no-state')), deviceStatePath: join(folder, 'no') }), { code: 'ENOENT' });
      assert.deepEqual(await driver.processesBelow(folder), []);
    });

    it('says in the hypervisor\'s words why a machine cannot start', async () => {
      const spec = await specFor(guest, 'no-disk');
      await assert.rejects(driver.prepare({ ...spec, rootDiskPath: join(folder, 'no-such-disk') }), { name: 'VmmError', message: /no-such-disk/ });
      assert.deepEqual(await driver.processesBelow(folder), []);
    });

    it('keeps its process in a jail: no file, network or capability but its own, and as root a user of its own', async (t) => {
      if (driver.confinement === 'none') return t.skip('this host allows no namespaces');
      await using one = await restored('jail-1');
      await using two = await restored('jail-2');
      const users: string[] = [];
      for (const { machine } of [one, two]) {
        const proc = `/proc/${machine.identity.pid}`;
        const status = await readFile(`${proc}/status`, 'utf8');
        const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim();
        assert.equal(field('CapEff'), '0000000000000000');
        assert.equal(field('CapPrm'), '0000000000000000');
        assert.equal(field('NoNewPrivs'), '1');
        assert.equal(field('Seccomp'), '2');
        users.push(field('Uid')!);
        if (driver.confinement === 'own-user') assert.equal(field('Groups'), users.at(-1)!.split('\t')[0], 'no group of the server');
        for (const kind of ['mnt', 'net', 'ipc', 'uts']) assert.notEqual(await readlink(`${proc}/ns/${kind}`), await readlink(`/proc/self/ns/${kind}`), kind);
        const devices = (await readFile(`${proc}/net/dev`, 'utf8')).split('\n').slice(2).filter((line) => line !== '');
        assert.deepEqual(devices.map((line) => line.split(':')[0]!.trim()), ['lo']);
        const mounts = (await readFile(`${proc}/mountinfo`, 'utf8')).trim().split('\n').map((line) => line.split(' '));
        const name = machine === one.machine ? 'jail-1' : 'jail-2';
        const writable = mounts.filter(([, , , , , options]) => options!.split(',').includes('rw')).map((words) => words[4]);
        assert.deepEqual(new Set(writable), new Set(['/dev/null', join(folder, name), ...(driver.opensMemoryReadOnly ? [] : [guest.memoryPath])]));
        const roots = await readdir(`${proc}/root`);
        assert.deepEqual(roots.filter((entry) => ['etc', 'root', 'home', 'usr', 'run'].includes(entry)), [], 'nothing of the host');
      }
      const [first, second] = users;
      const mine = `${process.getuid!()}`;
      if (driver.confinement === 'same-user') return assert.deepEqual([first, second], [mine, mine].map((uid) => `${uid}\t${uid}\t${uid}\t${uid}`));
      assert.notEqual(first, second);
      for (const user of users) assert.ok(user.split('\t').every((uid) => Number(uid) >= 1_900_000_000), user);
    });

    describe('one snapshot with every network', () => {
      const comesUp = async (network: Task['spec']['network'], wrapper?: readonly string[]) => {
        const spec = await specFor(guest, `net-${network.kind}`, network);
        const { report, end } = await inAnotherProcess({ accelerator, spec, secret: guest.secret, kill: true }, wrapper);
        await end();
        assert.equal(report.bootId, guest.bootId);
        assert.ok(report.counted >= guest.counted);
        assert.equal(await isRunning(report.identity), false);
      };

      it('none', () => comesUp({ kind: 'none' }));

      it('user-restricted', () => comesUp({ kind: 'user-restricted' }));

      it('routed', { skip: cannotMakeTaps() }, () =>
        comesUp({ kind: 'routed', device: 'lulltest0', guestAddress: '198.19.0.1', gateway: '169.254.53.53' }, ['unshare', '--net']));

      it('routed, but not to an address that is another\'s, and its tap goes with it', { skip: cannotMakeTaps() }, async () => {
        const network = (device: string) => ({ kind: 'routed', device, guestAddress: '198.19.255.1', gateway: '169.254.53.53' }) as const;
        const taps = async () => (await readdir('/sys/class/net')).filter((name) => name.startsWith('lulltest'));
        const machine = await driver.prepare(await specFor(guest, 'tap-1', network('lulltest1')));
        assert.deepEqual(await taps(), ['lulltest1']);
        await assert.rejects(driver.prepare(await specFor(guest, 'tap-2', network('lulltest2'))), AddressTakenError);
        assert.deepEqual(await taps(), ['lulltest1']);
        await machine.kill();
        assert.deepEqual(await taps(), []);
      });

      it('passt', { skip: withoutPasst }, async () => {
        // passt drops to another user, who may write here.
        const sockets = await mkdtemp('/tmp/lp-');
        const socketPath = join(sockets, 'passt.sock');
        await run(['chmod', '0777', sockets]);
        const passt = spawn('passt', ['--foreground', '--quiet', '--one-off', '--socket', socketPath], { stdio: ['ignore', 'ignore', 'pipe'] });
        const said: string[] = [];
        passt.stderr.on('data', (bytes: Buffer) => said.push(bytes.toString()));
        const ended = once(passt, 'close');
        try {
          await within('passt\'s socket', LIMIT_MS, Promise.race([socketAt(socketPath), ended]));
          assert.ok(existsSync(socketPath), said.join(''));
          await comesUp({ kind: 'passt', socketPath });
        } finally {
          passt.kill('SIGKILL');
          await ended;
          await rm(sockets, { recursive: true, force: true });
        }
      });
    });
  });
}

function cannotMakeTaps(): string | false {
  if (process.getuid!() !== 0) return 'only root makes tap devices';
  return existsSync('/dev/net/tun') ? false : 'there is no /dev/net/tun';
}


/** Resolves when a file appears. */
async function socketAt(path: string): Promise<void> {
  const watcher = watch(join(path, '..'));
  try {
    while (!existsSync(path)) await once(watcher, 'change');
  } finally {
    watcher.close();
  }
}
