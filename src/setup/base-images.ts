/** The base images that a Dockerfile may name without any registry: Debian trees made by mmdebstrap in a user namespace. */
import { copyFile, mkdtemp, open, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileSha256, makeArtifact } from './artifacts.ts';
import type { Account } from './build-user.ts';
import { runCommand } from './command.ts';
import type { Manifest } from './platform.ts';

/** A finished base image, its path relative to the platform folder. */
type BaseImage = Manifest['baseImages'][number];

/** Bumped when what is inside changes. */
export const BASE_IMAGES_RECIPE = '2';
const SUITE = 'bookworm';
const BUILD_LIMIT_MS = 600_000;
const TAR_LIMIT_MS = 120_000;
/** Times inside are clamped to this, so that the same packages give the same image. */
const SOURCE_DATE_EPOCH = '1750000000';
/** Where mmdebstrap unpacks: a folder that the ids of a user namespace can reach, and not in memory as /tmp may be. */
const WORK_FOLDER = '/var/tmp';
const ROOTFS = 'rootfs.tar';

/** Random numbers from the kernel for every OpenSSL, also the one in Node.js: its own would repeat in microVMs (docs/identity.md). */
const OPENSSL_FOLDER = '/usr/lib/lull';
const OPENSSL_FILES = { settings: 'openssl.cnf', source: 'getrandom.rs', module: 'getrandom.so' } as const;
const COMPILE_LIMIT_MS = 120_000;
const ENVIRONMENT = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  `OPENSSL_CONF=${OPENSSL_FOLDER}/${OPENSSL_FILES.settings}`,
];

/** Documentation and translations stay out, also of packages installed later. */
const LEFT_OUT = ['doc', 'man', 'info', 'locale', 'lintian', 'groff'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);

/** What image making needs from its surroundings. */
export interface BaseImageTools {
  /** The platform folder. */
  readonly folder: string;
  /** Whom to run as, where this process is root. */
  readonly as: Account | undefined;
  /** Folder of OpenSSL's settings and provider. */
  readonly openssl: string;
  /** Node's program for `lull/node`. */
  readonly node: string;
  /** Folder of the npm package for `lull/node`. */
  readonly npm: string;
  /** Package sources in sources.list(5) form; mmdebstrap's own where empty. */
  readonly sources: string;
  readonly signal: AbortSignal;
}

/** What the images are made of besides packages, for their key. */
export const baseImageSources = ({ openssl }: Pick<BaseImageTools, 'openssl'>): Promise<string[]> =>
  Promise.all([OPENSSL_FILES.settings, OPENSSL_FILES.source].map((name) => readFile(join(openssl, name), 'utf8')));

/** Makes all three, telling of each as it is ready. */
export async function makeBaseImages(tools: BaseImageTools, ready: (name: string) => void): Promise<BaseImage[]> {
  const base = await makeBase(tools);
  ready(base.name);
  const baseTar = join(tools.folder, base.rootfsPath);
  const [node, python] = await Promise.all([
    makeNode(tools, baseTar).then((image) => (ready(image.name), image)),
    makePython(tools, baseTar).then((image) => (ready(image.name), image)),
  ]);
  return [base, python, node];
}

function makeBase(tools: BaseImageTools): Promise<BaseImage> {
  return image(tools, { name: 'lull/base', cmd: ['/bin/bash'], env: [] }, async (tar) => {
    await mmdebstrap(tools, tar, [
      '--variant=minbase',
      '--include=ca-certificates',
      '--aptopt=APT::Install-Recommends "false"',
      ...LEFT_OUT,
      SUITE,
      '-',
      ...(tools.sources === '' ? [] : ['-']),
    ]);
    await addOpensslProvider(tools, tar);
  });
}

async function addOpensslProvider({ openssl, signal }: BaseImageTools, tar: string): Promise<void> {
  const { settings, source, module } = OPENSSL_FILES;
  await using work = await workFolder();
  // It calls nothing but the kernel, so that the C library of no image matters.
  const words = ['--edition', '2021', '--crate-type', 'cdylib', '-C', 'opt-level=s', '-C', 'panic=abort', '-C', 'link-arg=-nostdlib', '-C', 'strip=symbols'];
  await runCommand(['rustc', ...words, '-o', join(work.path, module), join(openssl, source)], {
    purpose: "building OpenSSL's provider",
    timeoutMs: COMPILE_LIMIT_MS,
    signal,
  });
  await copyFile(join(openssl, settings), join(work.path, settings));
  await runCommand([...appendTo(tar), '--mode=u=rwX,go=rX', `--transform=s,^\\.,.${OPENSSL_FOLDER},S`, `--directory=${work.path}`, '.'], {
    purpose: "adding OpenSSL's provider",
    timeoutMs: TAR_LIMIT_MS,
    signal,
  });
}

/** Adds files to a tree; names and modes follow. */
const appendTo = (tar: string) =>
  ['tar', '--append', `--file=${tar}`, '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${SOURCE_DATE_EPOCH}`, '--sort=name'] as const;

async function workFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(WORK_FOLDER, 'lull-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function makePython(tools: BaseImageTools, baseTar: string): Promise<BaseImage> {
  return image(tools, { name: 'lull/python', cmd: ['python3'], env: ['PYTHONUNBUFFERED=1'] }, (tar) =>
    mmdebstrap({ ...tools, sources: '' }, tar, [
      '--variant=custom',
      `--setup-hook=tar-in ${quoted(baseTar)} /`,
      '--include=python3,python-is-python3,python3-pip',
      // An image is one application: pip may install into the system.
      '--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
      '',
      '-',
      '',
    ]),
  );
}

function makeNode(tools: BaseImageTools, baseTar: string): Promise<BaseImage> {
  return image(tools, { name: 'lull/node', cmd: ['node'], env: [] }, async (tar) => {
    await copyFile(baseTar, tar);
    const common = appendTo(tar);
    const add = (folder: string, name: string, to: string) =>
      runCommand([...common, `--transform=s,^${name},${to},S`, `--directory=${folder}`, name], {
        purpose: 'adding Node.js',
        timeoutMs: TAR_LIMIT_MS,
        signal: tools.signal,
      });
    await add(join(tools.node, '..'), 'node', './usr/local/bin/node');
    await add(join(tools.npm, '..'), 'npm', './usr/local/lib/node_modules/npm');
    await linkNpm(common, tools.signal);
  });
}

/** `npm` and `npx` on the PATH, as Node's own packages have them. */
async function linkNpm(common: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  await using work = await workFolder();
  for (const name of ['npm', 'npx']) await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(work.path, name));
  await runCommand([...common, '--transform=s,^,./usr/local/bin/,S', `--directory=${work.path}`, 'npm', 'npx'], {
    purpose: 'adding npm',
    timeoutMs: TAR_LIMIT_MS,
    signal,
  });
}

async function image(
  tools: BaseImageTools,
  about: { name: string; cmd: readonly string[]; env: readonly string[] },
  fill: (tar: string) => Promise<unknown>,
): Promise<BaseImage> {
  const made = await makeArtifact(tools.folder, async (into) => {
    await fill(join(into, ROOTFS));
  });
  const rootfsPath = join(made.path, ROOTFS);
  return {
    name: about.name,
    arnName: about.name.replace('/', '-'),
    rootfsPath,
    digest: `sha256:${await fileSha256(join(tools.folder, rootfsPath))}`,
    config: { env: [...ENVIRONMENT, ...about.env], cmd: [...about.cmd], workingDir: '/' },
    createdAtMs: Date.now(),
  };
}

/** Runs mmdebstrap as an unprivileged user; the tree's owners come out right through the user's subordinate ids. */
async function mmdebstrap(tools: BaseImageTools, tar: string, words: readonly string[]): Promise<void> {
  const file = await open(tar, 'wx', 0o644);
  try {
    const argv: [string, ...string[]] = ['mmdebstrap', '--mode=unshare', '--format=tar', '--skip=output/dev', ...words];
    await runCommand(argv, {
      purpose: 'making a base image',
      timeoutMs: BUILD_LIMIT_MS,
      cwd: '/',
      input: tools.sources,
      stdoutFd: file.fd,
      signal: tools.signal,
      env: { ...process.env, ...(tools.as === undefined ? {} : { HOME: tools.as.home, USER: tools.as.name }), TMPDIR: WORK_FOLDER, SOURCE_DATE_EPOCH },
      ...(tools.as === undefined ? {} : { as: tools.as }),
    });
  } finally {
    await file.close();
  }
}

/** A word for mmdebstrap's hooks, which split at blanks as a shell does. */
const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * The Debian package sources of this machine in sources.list(5) form, so that a mirror in use here is used for images too.
 * Empty where the machine runs another release or has no package lists.
 */
export async function debianSources(): Promise<string> {
  const text = await runCommand(
    ['apt-get', 'indextargets', '--format', 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian'],
    { purpose: 'reading the package sources', timeoutMs: TAR_LIMIT_MS },
  ).catch(() => '');
  const lines = [...new Set(text.split('\n'))].filter((line) => line.startsWith('deb ') && line.endsWith(' main'));
  const suites = lines.map((line) => line.split(' ')[2]!);
  const known = suites.every((suite) => suite === SUITE || suite.startsWith(`${SUITE}-`));
  return known && suites.includes(SUITE) ? `${lines.join('\n')}\n` : '';
}
