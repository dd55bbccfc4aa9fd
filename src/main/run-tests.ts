/** `lull test`: type check and lint, the guest's tests, then every test of the house. */
import { spawn } from 'node:child_process';
import { access } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import { installTestClients } from '../setup/test-clients.ts';

/** Real microVMs under emulation keep a core busy each: more files at once only make each other late. */
const MAX_FILES_AT_ONCE = 4;

interface TestRun {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
}

/**
 * Runs all of them, also after one has failed, with their output as it comes.
 * @param options.root of the checkout
 * @param options.cargoTarget folder for what cargo builds
 * @returns 0 where all passed
 * @throws LullError validation where this is no checkout
 */
export async function runTests(options: { root: string; cargoTarget: string; say: (line: string) => void; signal: AbortSignal }): Promise<number> {
  const { root, say, signal } = options;
  await access(join(root, 'test')).catch((cause: unknown) => {
    throw new LullError('validation', 'The tests are in the checkout, not in the installed package.', { cause });
  });
  const npm = join(root, 'node_modules/npm/bin/npm-cli.js');
  const files = Math.min(availableParallelism(), MAX_FILES_AT_ONCE);
  const runs: readonly TestRun[] = [
    { name: 'type check and lint', argv: [process.execPath, npm, 'run', '--silent', 'check'], cwd: root },
    { name: "the guest's tests", argv: ['cargo', 'test', '--locked', '--target-dir', options.cargoTarget], cwd: join(root, 'guest') },
    {
      name: 'the tests of the house',
      argv: [process.execPath, '--disable-warning=ExperimentalWarning', '--test', `--test-concurrency=${files}`, 'test/**/*.test.ts'],
      cwd: root,
    },
  ];
  await provideClients(options);
  const failed: string[] = [];
  for (const run of runs) {
    if (signal.aborted) break;
    say(`${run.name} …`);
    const startMs = performance.now();
    const passed = await runToEnd(run, signal);
    say(`${run.name} ${passed ? 'passed' : 'FAILED'} (${((performance.now() - startMs) / 1000).toFixed(0)} s)`);
    if (!passed) failed.push(run.name);
  }
  signal.throwIfAborted();
  if (failed.length > 0) say(`failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

/** Where there is no network, the tests that need them skip. */
async function provideClients(options: { root: string; say: (line: string) => void; signal: AbortSignal }): Promise<void> {
  await installTestClients(options).catch((error: unknown) => {
    options.signal.throwIfAborted();
    options.say(`tests with clients in Python are skipped. ${error instanceof Error ? error.message : String(error)}`);
  });
}

function runToEnd({ argv, cwd }: TestRun, signal: AbortSignal): Promise<boolean> {
  // The tools' scripts start `node`: it has to be this one.
  const path = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const child = spawn(argv[0], argv.slice(1), { cwd, stdio: 'inherit', env: { ...process.env, PATH: path } });
  const end = () => child.kill('SIGTERM');
  signal.addEventListener('abort', end, { once: true });
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new LullError('internal', `${argv[0]} could not be started: ${cause.message}`, { cause })));
    child.once('close', (status) => {
      signal.removeEventListener('abort', end);
      resolve(status === 0);
    });
  });
}
