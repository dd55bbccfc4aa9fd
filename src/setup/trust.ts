/** Where this machine keeps the authorities that it trusts, and how the local CA gets in and out. */
import { X509Certificate } from 'node:crypto';
import { access, constants, glob, readFile, rm } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { runCommand } from './command.ts';

type Argv = readonly [string, ...string[]];

/** A folder of authorities that root adds to, and the command that makes the system see it. */
export interface SystemStore {
  readonly folder: string;
  readonly extension: string;
  readonly refresh: Argv;
  /** After one was taken out. */
  readonly forget: Argv;
}

/** By distribution: Debian, Fedora, Arch, SUSE. Debian's manual page update-ca-certificates(8), the others' update-ca-trust(8) and trust(1). */
export const SYSTEM_STORES: readonly SystemStore[] = [
  {
    folder: '/usr/local/share/ca-certificates',
    extension: 'crt',
    refresh: ['update-ca-certificates'],
    forget: ['update-ca-certificates', '--fresh'],
  },
  { folder: '/etc/pki/ca-trust/source/anchors', extension: 'pem', refresh: ['update-ca-trust', 'extract'], forget: ['update-ca-trust', 'extract'] },
  { folder: '/etc/ca-certificates/trust-source/anchors', extension: 'pem', refresh: ['trust', 'extract-compat'], forget: ['trust', 'extract-compat'] },
  { folder: '/etc/pki/trust/anchors', extension: 'pem', refresh: ['update-ca-certificates'], forget: ['update-ca-certificates', '--fresh'] },
];

/** Databases of Chrome, Chromium and Firefox, below the home folder. */
const NSS_DATABASES = ['.pki/nssdb', 'snap/chromium/*/.pki/nssdb', '{.mozilla,snap/firefox/common/.mozilla,.var/app/org.mozilla.firefox/.mozilla}/firefox/*'];

const COMMAND_LIMIT_MS = 60_000;

export interface TrustSurroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  readonly stores: readonly SystemStore[];
}

/** One change: files that are written or removed, or a command that writes them. */
export type TrustStep =
  | { readonly kind: 'write' | 'remove'; readonly path: string }
  | { readonly kind: 'run'; readonly argv: Argv; readonly changes: string };

export interface TrustPlan {
  /** SHA-256 of the authority's certificate. */
  readonly fingerprint: string;
  /** What it may vouch for, as OpenSSL writes it: `DNS:microvm.localhost`. */
  readonly names: readonly string[];
  /** In order. */
  readonly steps: readonly TrustStep[];
  /** What is not done, and how it would be. */
  readonly notes: readonly string[];
}

export interface TrustRequest {
  readonly caPath: string;
  readonly uninstall: boolean;
}

/**
 * Finds out what there is to do; changes nothing.
 * @throws LullError validation where the file is no authority of Lull's
 */
export async function planTrust({ caPath, uninstall }: TrustRequest, { env, uid, stores }: TrustSurroundings): Promise<TrustPlan> {
  const { pem, fingerprint } = await readAuthority(caPath);
  const names = await permittedNames(pem, caPath);
  const subject = { pem, caPath, uninstall, mark: fingerprint.replaceAll(':', '').slice(0, 12).toLowerCase() };
  const system = await planSystem(subject, { env, uid, stores });
  const browsers = await planBrowsers(subject, env);
  return { fingerprint, names, steps: [...system.steps, ...browsers.steps], notes: [...system.notes, ...browsers.notes] };
}

/**
 * Does the steps, in order.
 * @throws LullError conflict where the file has changed since the plan; internal with the last words of a command that fails: the steps before it are done
 */
export async function carryOut({ steps, fingerprint }: Pick<TrustPlan, 'steps' | 'fingerprint'>, caPath: string, signal: AbortSignal): Promise<void> {
  const ca = await readAuthority(caPath);
  if (ca.fingerprint !== fingerprint) throw new LullError('conflict', `${caPath} has changed meanwhile: ask again.`);
  const env = { ...process.env, PATH: programFolders(process.env).join(delimiter) };
  for (const step of steps) {
    switch (step.kind) {
      case 'write':
        await writeFileAtomic(step.path, ca.pem, 0o644);
        break;
      case 'remove':
        await rm(step.path, { force: true });
        break;
      case 'run':
        await runCommand(step.argv, { purpose: step.changes, timeoutMs: COMMAND_LIMIT_MS, env, signal });
    }
  }
}

interface Subject extends TrustRequest {
  readonly pem: Buffer;
  /** Of the file and in the databases: two data folders have two authorities of one name. */
  readonly mark: string;
}

async function readAuthority(caPath: string): Promise<{ pem: Buffer; fingerprint: string }> {
  const pem = await readFile(caPath).catch((cause: NodeJS.ErrnoException) => {
    throw new LullError('validation', `${caPath} cannot be read (${cause.code ?? cause.message}): has a server run here?`, { cause });
  });
  const certificate = parsed(pem);
  if (certificate?.ca !== true) throw unfit(caPath);
  // The certificate alone, whatever else is in the file.
  return { pem: Buffer.from(certificate.toString()), fingerprint: certificate.fingerprint256 };
}

const unfit = (caPath: string) =>
  new LullError('validation', `${caPath} is no authority that is held to names of its own: remove it, and start the server again.`);

/** RFC 5280, 4.2.1.10. One that is not held to names and to addresses could vouch for any site: root is never asked to trust it. */
async function permittedNames(pem: Buffer, caPath: string): Promise<readonly string[]> {
  const argv: Argv = ['openssl', 'x509', '-noout', '-ext', 'nameConstraints'];
  const said = await runCommand(argv, { purpose: 'reading the authority', timeoutMs: COMMAND_LIMIT_MS, input: pem.toString() });
  const [, permitted = ''] = /Name Constraints: critical\s+Permitted:\n([^]*)/.exec(said) ?? [];
  const names = permitted.split('Excluded:')[0]!.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  for (const kind of ['DNS:', 'IP:']) if (!names.some((name) => name.startsWith(kind))) throw unfit(caPath);
  return names;
}

function parsed(pem: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** What one kind of store makes of it. */
type Part = Pick<TrustPlan, 'steps' | 'notes'>;

async function planSystem(subject: Subject, { env, uid, stores }: TrustSurroundings): Promise<Part> {
  const { caPath, mark, uninstall } = subject;
  const store = await firstUsable(stores, env);
  if (store === undefined) return { steps: [], notes: ['no store of the system is known here: add the certificate by hand'] };
  const path = join(store.folder, `lull-${mark}.${store.extension}`);
  const found = await readFile(path).catch(() => undefined);
  if (uninstall ? found === undefined : found?.equals(subject.pem) === true) return { steps: [], notes: [] };
  const argv = uninstall ? store.forget : store.refresh;
  if (uid !== 0) {
    const change = uninstall ? `rm ${path}` : `install -m 644 ${caPath} ${path}`;
    return { steps: [], notes: [`the system's store is root's: sudo ${change} && sudo ${argv.join(' ')}`] };
  }
  return { steps: [{ kind: uninstall ? 'remove' : 'write', path }, { kind: 'run', argv, changes: "the system's store" }], notes: [] };
}

async function firstUsable(stores: readonly SystemStore[], env: NodeJS.ProcessEnv): Promise<SystemStore | undefined> {
  for (const store of stores) {
    if ((await exists(store.folder)) && (await hasProgram(store.refresh[0], env))) return store;
  }
  return undefined;
}

async function planBrowsers({ caPath, mark, uninstall }: Subject, env: NodeJS.ProcessEnv): Promise<Part> {
  const databases = await nssDatabases(env['HOME']);
  if (databases.length === 0) return { steps: [], notes: [] };
  if (!(await hasProgram('certutil', env))) {
    return { steps: [], notes: [`browsers have stores of their own (${databases.join(', ')}): install certutil (Debian: libnss3-tools) and ask again`] };
  }
  const name = `Lull local CA ${mark}`;
  const steps = await Promise.all(
    databases.map(async (database): Promise<TrustStep | undefined> => {
      const of = ['-d', `sql:${database}`, '-n', name];
      const isThere = await succeeds(['certutil', '-L', ...of], env);
      if (isThere !== uninstall) return undefined;
      const argv: Argv = uninstall ? ['certutil', '-D', ...of] : ['certutil', '-A', ...of, '-t', 'C,,', '-i', caPath];
      return { kind: 'run', argv, changes: database };
    }),
  );
  return { steps: steps.filter((step) => step !== undefined), notes: [] };
}

/** Those that are there; none is made. */
async function nssDatabases(home: string | undefined): Promise<readonly string[]> {
  if (home === undefined) return [];
  const found = await Array.fromAsync(glob(NSS_DATABASES.map((pattern) => `${pattern}/cert9.db`), { cwd: home }));
  return found.map((file) => join(home, dirname(file))).toSorted();
}

/** Of programs that root runs: not on everybody's path. */
const ROOTS_FOLDERS = ['/usr/sbin', '/sbin'];
const programFolders = (env: NodeJS.ProcessEnv) => [...(env['PATH'] ?? '').split(delimiter), ...ROOTS_FOLDERS];

const exists = (path: string, mode = constants.F_OK) => access(path, mode).then(() => true, () => false);

async function hasProgram(name: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const found = await Promise.all(programFolders(env).map((folder) => exists(join(folder, name), constants.X_OK)));
  return found.includes(true);
}

const succeeds = (argv: Argv, env: NodeJS.ProcessEnv) =>
  runCommand(argv, { purpose: 'looking for the authority', timeoutMs: COMMAND_LIMIT_MS, env }).then(() => true, () => false);
