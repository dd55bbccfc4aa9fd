/** Front door of the command line. */
import { once } from 'node:events';
import type { Keyboard, Terminal } from '../cli/command-line.ts';
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

const keyboard: Keyboard = {
  isTerminal: process.stdin.isTTY && process.stdout.isTTY,
  get input() {
    return process.stdin;
  },
  raw: () => {
    process.stdin.setRawMode(true);
    const restore = () => {
      process.stdin.setRawMode(false);
      process.off('SIGHUP', hungUp);
    };
    // Node restores a terminal at every end but this one.
    const hungUp = () => {
      restore();
      process.kill(process.pid, 'SIGHUP');
    };
    process.on('SIGHUP', hungUp);
    return { [Symbol.dispose]: restore };
  },
  onResize: (listener) => {
    const tell = () => {
      const { columns: cols, rows } = process.stdout;
      // A serial line or a terminal of a program may have no size, and then tells none.
      if (cols > 0 && rows > 0) listener({ cols, rows });
    };
    process.stdout.on('resize', tell);
    tell();
    return { [Symbol.dispose]: () => process.stdout.off('resize', tell) };
  },
};

const surroundings = { env: process.env, uid: process.getuid!() };
const terminal: Terminal = {
  ...surroundings,
  dataFolder: () => gatherSetting('data', surroundings).value,
  out: (text) => {
    process.stdout.write(text);
  },
  drained: () => (process.stdout.writableNeedDrain ? once(process.stdout, 'drain') : undefined),
  say: (line) => {
    process.stderr.write(`lull: ${line}\n`);
  },
  keyboard,
  signal: interruption.signal,
};

const status = await runCommandLine(process.argv.slice(2), { terminal, machine: createMachine(surroundings) });
process.stdout.write('', () => process.exit(status));
