/** A builder with a base image of a few megabytes, made from this machine's own programs, so that the tests need no network and no set-up. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync, chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createBuildLogs } from '../../src/image/build-log.ts';
import { findBuildUser, missingBuildPrograms } from '../../src/image/build-user.ts';
import { prepareBuilder, type BuilderConfig, type ContainerBuilder } from '../../src/image/container-build.ts';
import type { BuildEvent } from '../../src/domain/ports.ts';

const PROGRAMS = ['bash', 'cat', 'chmod', 'chown', 'chroot', 'dd', 'echo', 'env', 'grep', 'head', 'id', 'ls', 'mkdir', 'mount', 'perl', 'rm', 'sed', 'setcap', 'setsid', 'sh', 'sleep', 'stat', 'timeout', 'yes'];

/** Why container builds cannot be tested here, or false. */
export async function cannotBuild(): Promise<string | false> {
  const missing = await missingBuildPrograms();
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  try {
    await findBuildUser();
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A folder for one test file that the build's user can reach. Disposing removes it. */
export function workFolder(): { path: string } & Disposable {
  // Not under TMPDIR, which may be closed to other users.
  const path = mkdtempSync('/var/tmp/lull-image-test-');
  chmodSync(path, 0o711);
  return { path, [Symbol.dispose]: () => removeTree(path) };
}

/** Without root, storage holds files of subordinate ids, which only the same user namespace may remove. */
function removeTree(path: string): void {
  if (process.getuid?.() === 0) rmSync(path, { recursive: true, force: true });
  else execFileSync('unshare', ['--map-root-user', '--map-auto', 'rm', '-rf', path]);
}

/** Packs the programs, and more of them, with the libraries that they load. */
export function makeBase(folder: string, more: readonly string[] = []): string {
  const tree = join(folder, 'base');
  for (const dir of ['etc', 'tmp', 'proc', 'dev', 'sys', 'root', 'usr/bin', 'usr/lib', 'usr/lib64']) mkdirSync(join(tree, dir), { recursive: true });
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(tree, name));
  symlinkSync('usr/bin', join(tree, 'sbin'));
  chmodSync(join(tree, 'tmp'), 0o1777);
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n');
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\napp:x:1000:\n');
  writeFileSync(join(tree, 'etc/shadow'), 'root:*:1:0:99999:7:::\n');
  for (const program of [...PROGRAMS, ...more]) {
    const found = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'].map((dir) => join(dir, program)).find((path) => existsSync(path));
    if (found === undefined) continue;
    cpSync(realpathSync(found), join(tree, 'usr/bin', program));
    const libraries = execFileSync('ldd', [found], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    for (const [library] of libraries.matchAll(/\/\S+/g)) {
      const target = join(tree, library.startsWith('/usr') ? library : `/usr${library}`);
      mkdirSync(dirname(target), { recursive: true });
      if (!existsSync(target)) cpSync(realpathSync(library), target);
    }
  }
  const tarPath = join(folder, 'base.tar');
  execFileSync('tar', ['--create', '--file', tarPath, '--directory', tree, '--owner=0', '--group=0', '--numeric-owner', '.']);
  chmodSync(tarPath, 0o644);
  rmSync(tree, { recursive: true });
  return tarPath;
}

/** A builder in `folder/builder`, with the base as `lull/base`. */
export async function testBuilder(folder: string, changes: Partial<BuilderConfig> = {}): Promise<ContainerBuilder> {
  const tarPath = join(folder, 'base.tar');
  if (!existsSync(tarPath)) makeBase(folder);
  return prepareBuilder(
    {
      dir: join(folder, 'builder'),
      user: await findBuildUser(),
      baseImages: [{ name: 'lull/base', tarPath, digest: 'test', env: { PATH: '/usr/bin', FROM_BASE: 'yes' } }],
      baseNames: { 'public.ecr.aws/lambda/microvms:al2023-minimal': 'lull/base' },
      egress: 'none',
      ...changes,
    },
    AbortSignal.timeout(60_000),
  );
}

/** What one build came to. */
export interface Outcome {
  readonly error: unknown;
  readonly lines: readonly string[];
  readonly config?: unknown;
  readonly rootDisk: string;
}

/** Builds a Dockerfile with the files beside it and reads its log. */
export async function buildOnce(options: {
  folder: string;
  builder: ContainerBuilder;
  dockerfile: string;
  files?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  maxLogBytes?: number;
  /** Hears each line of the log while the build runs. */
  onLine?: (line: string) => void;
}): Promise<Outcome> {
  const work = mkdtempSync(join(options.folder, 'build-'));
  chmodSync(work, 0o755);
  const contextDir = join(work, 'context');
  mkdirSync(contextDir);
  for (const [name, text] of Object.entries({ Dockerfile: options.dockerfile, ...options.files })) writeFileSync(join(contextDir, name), text);
  execFileSync('chmod', ['-R', 'go+rX', contextDir]);
  const logs = createBuildLogs({ clock: { nowMs: Date.now }, ...(options.maxLogBytes === undefined ? {} : { maxLogBytes: options.maxLogBytes }) });
  const logPath = join(work, 'log');
  const rootDisk = join(work, 'root.erofs');
  let error: unknown;
  let config: unknown;
  let told: Promise<void>;
  {
    using log = logs.open(logPath);
    told = tellLines(logs.events(logPath, { follow: true, signal: AbortSignal.timeout(60_000) }), options.onLine);
    try {
      await using image = await options.builder.build({ contextDir, tag: work.slice(-6).toLowerCase(), log, signal: options.signal ?? AbortSignal.timeout(60_000) });
      config = image.config;
      await image.writeRootDisk(rootDisk);
    } catch (caught) {
      error = caught;
    }
  }
  await told;
  const lines = readFileSync(logPath, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as BuildEvent)
    .flatMap((event) => (event.type === 'line' ? [event.text] : []));
  return { error, lines, config, rootDisk };
}

async function tellLines(events: AsyncIterable<BuildEvent>, onLine: (line: string) => void = () => undefined): Promise<void> {
  for await (const event of events) if (event.type === 'line') onLine(event.text);
}

/** Host pids of processes that mention `marker` in their command line or environment, or run in a folder below it. */
export function processesWith(marker: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(marker);
    } catch {
      return false;
    }
  });
}
