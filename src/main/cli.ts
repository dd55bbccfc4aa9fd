/** Front door of the command line. */
import type { Terminal } from '../cli/command-line.ts';
import { runCommandLine } from '../cli/program.ts';
import { createMachine } from './machine.ts';
import { gatherSetting } from './settings.ts';

/** As a shell reports an end by SIGINT. */
const INTERRUPTED = 130;

const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Asked twice: at once.
    if (interruption.signal.aborted) process.exit(INTERRUPTED);
    interruption.abort();
  });
}
// The reader of a pipe may leave first (`lull logs | head`).
process.stdout.on('error', () => process.exit(0));

const surroundings = { env: process.env, uid: process.getuid!() };
const terminal: Terminal = {
  ...surroundings,
  dataFolder: () => gatherSetting('data', surroundings).value,
  out: (text) => {
    process.stdout.write(text);
  },
  say: (line) => {
    process.stderr.write(`lull: ${line}\n`);
  },
  signal: interruption.signal,
};

const status = await runCommandLine(process.argv.slice(2), { terminal, machine: createMachine(surroundings) });
process.stdout.write('', () => process.exit(status));
