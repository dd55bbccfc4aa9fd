/** A shell beside the application of a real microVM. Contract reference, section 6.2. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AgentSession } from '../../src/guest/agent-session.ts';
import { GuestShell } from '../../src/guest/guest-shell.ts';
import type { AgentEvent } from '../../src/guest/messages.ts';
import { within } from '../../src/lib/deadline.ts';
import type { Machine } from '../../src/vmm/driver.ts';
import { makeDisks, qemuDriver, GUEST_MIB, machinePlatformFolder } from '../contract/driver-guest.ts';
import { loadPlatform } from '../../src/setup/platform.ts';
import { cannotServe } from './lull-server.ts';

const LIMIT_MS = 60_000;
/** More than any command of these tests prints; a flood is forgotten. */
const SEEN_CHARACTERS = 65_536;
/** Where a process is. */
const PLACE = `stat -L -c %i ${['mnt', 'pid', 'uts', 'ipc', 'cgroup', 'net'].map((name) => `/proc/self/ns/${name}`).join(' ')}; cat /proc/self/cgroup`;
/** Says where it is, and ends when told by a file. */
const APPLICATION = `{ ${PLACE}; } > /tmp/place; while ! [ -e /tmp/end ]; do sleep 0.1; done; exit 7`;
const START = { argv: ['sh', '-c', APPLICATION], env: { PATH: '/usr/bin', OF_THE_APPLICATION: 'yes' }, cwd: '/tmp', user: '1000', hostname: 'microvm' };
const PROMPT = 'λ $ ';

/** What is typed and what is seen. */
class Typist {
  readonly shell: GuestShell;
  /** Resolves when there is nothing more to see; with an error where the terminal was hung up. */
  readonly over: Promise<Error | undefined>;
  #seen = '';
  #marks = 0;
  #look: () => void = () => undefined;

  constructor(shell: GuestShell) {
    this.shell = shell;
    const { stream } = shell;
    const over = Promise.withResolvers<Error | undefined>();
    this.over = over.promise;
    stream.setEncoding('utf8').on('data', (text: string) => {
      this.#seen = (this.#seen + text).slice(-SEEN_CHARACTERS);
      this.#look();
    });
    stream.on('end', () => over.resolve(undefined)).on('error', over.resolve);
  }

  type(text: string): void {
    this.shell.stream.write(text);
  }

  /** What was seen up to and with `end`, which is taken off. */
  async until(end: string): Promise<string> {
    const seen = Promise.withResolvers<string>();
    this.#look = () => {
      const at = this.#seen.indexOf(end);
      if (at < 0) return;
      seen.resolve(this.#seen.slice(0, at));
      this.#seen = this.#seen.slice(at + end.length);
      this.#look = () => undefined;
    };
    this.#look();
    return within(`${JSON.stringify(end)} on the terminal, where there is ${JSON.stringify(this.#seen)}`, LIMIT_MS, seen.promise);
  }

  /** The lines that a command prints. Between the marks, since a shell shows its prompt anew whenever it likes. */
  async run(command: string): Promise<string[]> {
    const mark = `${(this.#marks += 1)}`;
    this.type(`echo "<""<${mark}"; ${command}; echo ">"">${mark}"\n`);
    await this.until(`<<${mark}\r\n`);
    return (await this.until(`>>${mark}\r\n`)).split('\r\n').slice(0, -1);
  }
}

describe('a shell in a microVM', { skip: await cannotServe() }, () => {
  let folder: string;
  let machine: Machine;
  let secret = '';
  let session: AgentSession;
  const exit = Promise.withResolvers<AgentEvent>();

  /** Greets the agent; a session that there was before is hung up by then. */
  const greet = async (): Promise<void> => {
    const nextSecret = randomBytes(32).toString('hex');
    session = await AgentSession.connect(await machine.dial(), {
      secret,
      nextSecret,
      thaw: true,
      timeoutMs: LIMIT_MS,
      clock: { nowMs: Date.now },
      random: { bytes: randomBytes },
      onEvent: exit.resolve,
    });
    secret = nextSecret;
  };
  const open = async (): Promise<Typist> => {
    const typist = new Typist(await GuestShell.open(session));
    assert.equal(await typist.until(PROMPT), '');
    return typist;
  };

  before(async () => {
    folder = await mkdtemp('/var/tmp/ls-');
    const { kernel, initramfs } = await loadPlatform(machinePlatformFolder());
    const driver = await qemuDriver('tcg');
    const runDir = join(folder, 'run');
    execFileSync('mkdir', ['-m', '700', runDir]);
    machine = await driver.boot({
      ...(await makeDisks(folder, ['stty', 'tty'])),
      guestMemoryMib: GUEST_MIB,
      vcpus: 1,
      memoryPath: join(folder, 'memory'),
      runDir,
      network: { kind: 'none' },
      kernelPath: kernel.path,
      initramfsPath: initramfs.path,
      consolePath: join(folder, 'console'),
    });
    await greet();
  });
  after(async () => {
    await machine?.kill();
    await session?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('is refused where no application runs', async () => {
    await assert.rejects(GuestShell.open(session), { code: 'not-running' });
    await session.call('start', { ...START, capabilities: 'default' });
  });

  it('is root in the application\'s namespaces, cgroup, folder and environment, with its capabilities', async () => {
    const typist = await open();
    assert.deepEqual(await typist.run('id -u; echo $PWD $OF_THE_APPLICATION $TERM $HOME $PATH'), ['0', '/tmp yes xterm /root /usr/bin']);
    assert.deepEqual(await typist.run(PLACE), await typist.run('cat /tmp/place'));
    assert.deepEqual(await typist.run('grep -E "Cap(Prm|Eff|Bnd)" /proc/self/status'), ['CapPrm', 'CapEff', 'CapBnd'].map((name) => `${name}:\t00000000a80425fb`));
    assert.deepEqual(await typist.run('ls -l /proc/$$/fd | grep -c " -> "'), ['4'], 'three streams, and bash\'s own at 255');
    typist.shell.stream.destroy();
  });

  it('has a terminal with job control and a size', async () => {
    const typist = await open();
    assert.match((await typist.run('tty'))[0]!, /^\/dev\/pts\/\d+$/u);
    assert.deepEqual(await typist.run('stty size'), ['0 0']);
    await typist.shell.resize({ cols: 120, rows: 40 });
    assert.deepEqual(await typist.run('stty size'), ['40 120']);
    typist.type(`bash -c 'trap "echo wo""und" WINCH; echo rea""dy; while :; do sleep 0.1; done'\n`);
    await typist.until('ready\r\n');
    await typist.shell.resize({ cols: 80, rows: 24 });
    await typist.until('wound\r\n');
    typist.type('\u0003');
    await typist.until('^C');
    typist.type('status=$?\n');
    assert.deepEqual(await typist.run('echo $status'), ['130']);
    // In place of the sh: one that is stopped between its vfork and its child's exec cannot be seen to have stopped, and bash would wait for it.
    typist.type('sh -c "echo re""ady; exec sleep 1000"\n');
    await typist.until('ready\r\n');
    typist.type('\u001A');
    // What the shell says of it at once may be lost: a signal from the terminal flushes its output.
    assert.match((await typist.run('jobs')).join(), /Stopped/u);
    typist.type('kill %1; echo la""st; exit\n');
    await typist.until('last\r\n');
    assert.equal(await within('the end of the stream', LIMIT_MS, typist.over), undefined);
    await assert.rejects(typist.shell.resize({ cols: 1, rows: 1 }), { code: 'ENXIO' });
  });

  it('heaps up nothing where nobody reads, and is interrupted all the same', async () => {
    const typist = await open();
    typist.type('yes\n');
    await typist.until('y\r\ny\r\n');
    typist.shell.stream.pause();
    assert.equal((await session.call('status', {})).application.state, 'running');
    assert.ok(typist.shell.stream.readableLength <= SEEN_CHARACTERS);
    typist.type('\u0003');
    typist.shell.stream.resume();
    assert.deepEqual(await typist.run('echo $((6 * 7))'), ['42']);
    typist.shell.stream.destroy();
  });

  it('ends with its stream, and what runs in it too', async () => {
    const [gone, witness] = [await open(), await open()];
    gone.type('echo i am $$ x; exec sleep 1000\n');
    await gone.until('i am ');
    await gone.until('i am ');
    const pid = (await gone.until(' x\r\n')).trim();
    gone.shell.stream.destroy();
    assert.deepEqual(await witness.run(`while [ -e /proc/${pid} ]; do sleep 0.1; done; echo gone`), ['gone']);
    witness.shell.stream.destroy();
  });

  it('is frozen with the application and hung up with the session', async () => {
    const typist = await open();
    const [pid] = await typist.run('echo $$');
    await session.call('freeze', {});
    await session.call('quiesce', {}, { timeoutMs: LIMIT_MS });
    await assert.rejects(GuestShell.open(session), { code: 'not-running' });
    await session.close();
    assert.ok((await within('the end of the stream', LIMIT_MS, typist.over)) instanceof Error);
    await machine.hungUp();
    await greet();
    const witness = await open();
    assert.deepEqual(await witness.run(`while [ -e /proc/${pid!} ]; do sleep 0.1; done; echo gone`), ['gone']);
    witness.shell.stream.destroy();
  });

  it('says so where the image has none', async () => {
    const typist = await open();
    await typist.run('mv() { perl -e "rename shift, shift" $1 $2; }; mv /usr/bin/sh /usr/bin/sh-; mv /usr/bin/bash /usr/bin/bash-');
    await assert.rejects(GuestShell.open(session), { code: 'no-shell', message: /neither \/bin\/bash nor \/bin\/sh/u });
    await typist.run('mv /usr/bin/sh- /usr/bin/sh');
    const plain = await open();
    assert.deepEqual(await plain.run('echo $0'), ['sh']);
    plain.shell.stream.destroy();
    typist.shell.stream.destroy();
  });

  it('ends with the application, whose end it does not hold back', async () => {
    const typist = await open();
    typist.type('echo > /tmp/end; cat\n');
    assert.deepEqual(await within('the application\'s end', LIMIT_MS, exit.promise), { event: 'exit', exitCode: 7, signal: null });
    assert.equal(await within('the end of the stream', LIMIT_MS, typist.over), undefined);
  });
});
