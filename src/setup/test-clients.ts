/** The tests' clients in Python (boto3, the AWS CLI, grpcio, websockets): in a folder of the checkout, made once and again when their list has changed. */
import { readFile, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { keyOf, writeFileAtomic } from './artifacts.ts';
import { runCommand } from './command.ts';

/** The system's own: a package of `test/debian-packages` makes its `venv` complete. */
const PYTHON = '/usr/bin/python3';
const ENVIRONMENT_LIMIT_MS = 120_000;
const INSTALL_LIMIT_MS = 600_000;

/** Where they are in a checkout. */
export interface TestClients {
  /** The Python that can import them. */
  readonly python: string;
  /** True where they are there, and are those of the list. */
  readonly installed: boolean;
}

const FOLDER = '.lull/clients';
/** pip's list, each package with its version and the hashes of its files. */
const REQUIREMENTS = 'test/clients/requirements.txt';

/** Looks for them. @param root of the checkout */
export async function findTestClients(root: string): Promise<TestClients> {
  const made = await readFile(madeFrom(root), 'utf8').catch(() => undefined);
  return { python: python(root), installed: made !== undefined && made === (await wantedKey(root)) };
}

/**
 * Installs them from PyPI where they are missing.
 * @param options.root of the checkout
 * @returns true where there was something to do
 * @throws LullError internal where there is no network, a file is not the one of the list, or Python has no `venv`
 */
export async function installTestClients({ root, say, signal }: { root: string; say: (line: string) => void; signal: AbortSignal }): Promise<boolean> {
  if ((await findTestClients(root)).installed) return false;
  const startMs = performance.now();
  const purpose = 'installing Python clients for the tests';
  say(`${purpose} …`);
  const folder = join(root, FOLDER);
  await rm(folder, { recursive: true, force: true });
  await runCommand([PYTHON, '-m', 'venv', folder], { purpose, timeoutMs: ENVIRONMENT_LIMIT_MS, signal });
  const pip = [python(root), '-m', 'pip', '--disable-pip-version-check', '--quiet', 'install'] as const;
  const exactly = ['--require-hashes', '--no-deps', '--only-binary', ':all:', '--requirement', join(root, REQUIREMENTS)];
  await runCommand([...pip, ...exactly], { purpose, timeoutMs: INSTALL_LIMIT_MS, signal });
  await writeFileAtomic(madeFrom(root), await wantedKey(root));
  say(`${purpose}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  return true;
}

const python = (root: string) => join(root, FOLDER, 'bin/python');
const madeFrom = (root: string) => join(root, FOLDER, 'made-from');

/** What is there was made from this list by this Python, at this place: its programs name their folder. */
async function wantedKey(root: string): Promise<string> {
  return keyOf(await readFile(join(root, REQUIREMENTS), 'utf8'), await realpath(PYTHON).catch(() => ''), root);
}
