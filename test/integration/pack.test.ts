/** The published package: packed, installed into an empty folder, and started from there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { z } from 'zod';
import { cannotServe } from '../e2e/lull-server.ts';
import { LullProcess } from '../e2e/server-process.ts';
import manifest from '../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '../..');
const PACK_LIMIT_MS = 120_000;
const INSTALL_LIMIT_MS = 240_000;
const COMMAND_LIMIT_MS = 60_000;

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly cwd: string;
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end; a status other than 0 is an answer, not an error. Rejects where it does not start or end. */
function run(program: string, argv: readonly string[], options: RunOptions): Promise<Outcome> {
  // What an outer `npm run` tells its scripts is about this checkout, not about the folder under test.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_(package|lifecycle)_|npm_config_local_prefix|LULL_)/.test(name));
  const env = { ...Object.fromEntries(inherited), ...options.env };
  return new Promise((resolve, reject) => {
    execFile(program, argv, { cwd: options.cwd, env, timeout: options.limitMs, maxBuffer: 64 * 1024 ** 2 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') {
        reject(new Error(`${program} ${argv.join(' ')}: ${error.signal ?? error.code ?? ''}\n${stderr}`, { cause: error }));
      } else {
        resolve({ status: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      }
    });
  });
}

async function runWell(program: string, argv: readonly string[], options: RunOptions): Promise<string> {
  const { status, stdout, stderr } = await run(program, argv, options);
  assert.equal(status, 0, `${program} ${argv.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Paths of a folder's files, relative to it; none where it is missing. */
async function filesUnder(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** Without a registry: the package's contents stand beside links to the packages that this checkout has. */
async function layOut(tarball: string, home: string): Promise<void> {
  const modules = join(home, 'node_modules');
  await rm(modules, { recursive: true, force: true });
  await mkdir(join(modules, 'lull'), { recursive: true });
  await mkdir(join(modules, '.bin'));
  await runWell('tar', ['-xzf', tarball, '--strip-components=1', '-C', join(modules, 'lull')], { cwd: home, limitMs: COMMAND_LIMIT_MS });
  await symlink('../lull/lull', join(modules, '.bin/lull'));
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
}

/** Installs a tarball as a user would. @returns how it went in, for the report */
async function install(tarball: string, home: string): Promise<string> {
  await writeFile(join(home, 'package.json'), '{"private":true}\n');
  for (const source of ['--offline', '--prefer-offline']) {
    const argv = ['install', source, '--ignore-scripts', '--no-audit', '--no-fund', tarball];
    const outcome = await run('npm', argv, { cwd: home, limitMs: INSTALL_LIMIT_MS }).catch(() => undefined);
    if (outcome?.status === 0) return `npm install ${source}`;
  }
  await layOut(tarball, home);
  return 'laid out by hand: npm found its packages neither in its cache nor on the network';
}

const PackReport = z.array(z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) }));

const unserved = await cannotServe();

suite('the package', () => {
  let home: string;
  let packed: readonly string[];
  let source: string;
  const inPackage = (...path: string[]) => join(home, 'node_modules/lull', ...path);
  const lull = (...argv: string[]) =>
    run(join(home, 'node_modules/.bin/lull'), argv, {
      cwd: home,
      limitMs: COMMAND_LIMIT_MS,
      env: { HOME: home, XDG_DATA_HOME: join(home, 'data'), XDG_RUNTIME_DIR: join(home, 'run'), LULL_DATA: join(home, 'data'), LULL_CONFIG: 'none' },
    });

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'lull-pack-'));
    const stdout = await runWell('npm', ['pack', '--json', '--foreground-scripts=false', '--pack-destination', home], { cwd: ROOT, limitMs: PACK_LIMIT_MS });
    const [report] = PackReport.parse(JSON.parse(stdout.slice(stdout.indexOf('['))));
    assert.ok(report !== undefined);
    packed = report.files.map(({ path }) => path);
    source = await install(join(home, basename(report.filename)), home);
  });

  after(() => rm(home, { recursive: true, force: true }));

  test('brings every source as JavaScript, and nothing else in dist', async () => {
    const sources = (await filesUnder(join(ROOT, 'src'))).filter((path) => path.endsWith('.ts'));
    const expected = sources.map((path) => `dist/${path.replace(/\.ts$/, '.js')}`).toSorted();
    assert.deepEqual(packed.filter((path) => path.startsWith('dist/')).toSorted(), expected);
  });

  test('brings the agent’s sources whole, without what cargo makes of them', async () => {
    const crate = (await filesUnder(join(ROOT, 'guest'))).filter((path) => !path.startsWith('target/')).map((path) => `guest/${path}`);
    assert.deepEqual(packed.filter((path) => path.startsWith('guest/')).toSorted(), crate.toSorted());
  });

  test('brings the licence and no tests, TypeScript sources or settings of the checkout', () => {
    assert.ok(packed.includes('LICENSE'));
    assert.deepEqual(packed.filter((path) => /^(src|test|build|node_modules|web)\/|^\.|^tsconfig|^oxlint/.test(path)), []);
  });

  test('refers to no TypeScript file, and to none that is missing', async () => {
    const scripts = (await filesUnder(inPackage('dist'))).filter((path) => path.endsWith('.js'));
    const lost: string[] = [];
    for (const path of scripts) {
      const text = await readFile(inPackage('dist', path), 'utf8');
      for (const [, specifier = ''] of text.matchAll(/(?:\bfrom |\bimport |\bimport\(|\bnew URL\()['"](\.[^'"]+)['"]/g)) {
        const target = join(dirname(inPackage('dist', path)), specifier);
        if (specifier.endsWith('.ts') || !existsSync(target)) lost.push(`dist/${path}: ${specifier}`);
      }
    }
    assert.deepEqual(lost, []);
  });

  test('leaves nothing behind in the checkout', () => {
    assert.equal(existsSync(join(ROOT, 'dist')), false);
  });

  test('says its version from where it is installed', async (t) => {
    t.diagnostic(source);
    const { status, stdout, stderr } = await lull('--version');
    assert.equal(status, 0, stderr);
    assert.ok(stdout.includes(manifest.version), stdout);
  });

  test('examines the machine from where it is installed', async () => {
    const { status, stdout, stderr } = await lull('doctor', '--json');
    // 1 where this machine lacks something; the report is there all the same.
    assert.ok(status === 0 || status === 1, `status ${status}\n${stdout}${stderr}`);
    assert.ok(z.record(z.string(), z.unknown()).or(z.array(z.unknown())).safeParse(JSON.parse(stdout)).success, stdout);
  });

  test('serves from where it is installed, until it is told to stop', { skip: unserved }, async () => {
    const folders = { data: join(home, 'data'), runtime: join(home, 'run') };
    const words = ['up', '--data', folders.data, '--runtime', folders.runtime, '--listen', '127.0.0.1:0', '--endpoint-listen', '127.0.0.1:0'];
    const server = new LullProcess(words, { program: join(home, 'node_modules/.bin/lull') });
    const url = await server.said('the server to be ready', (line) => /^lull: serving .*(http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1]);
    const health = await fetch(`${url}/lull/v1/health`);
    assert.equal(health.status, 200);
    assert.deepEqual(z.object({ status: z.literal('ok'), version: z.string() }).parse(await health.json()).version, manifest.version);
    server.kill('SIGTERM');
    assert.deepEqual(await server.ended, { exitCode: 0, signal: null }, server.lastWords());
  });
});
