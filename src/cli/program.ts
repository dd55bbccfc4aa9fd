/** The command line as a whole: commands, errors, exit status. */
import { Command, CommanderError } from 'commander';
import { addBuild } from './build.ts';
import { addConfig } from './config.ts';
import type { CommandContext, Machine, Terminal } from './command-line.ts';
import { addCurl } from './curl.ts';
import { addDemo } from './demo.ts';
import { addDown } from './down.ts';
import { addEnv } from './env.ts';
import { addGc } from './gc.ts';
import { addKeys } from './keys.ts';
import { addLife } from './life.ts';
import { addListings } from './listings.ts';
import { addLogs } from './logs.ts';
import { addMachineCommands } from './machine-commands.ts';
import { addRun } from './run.ts';
import { addShell } from './shell.ts';
import { addStatus } from './status.ts';
import { addTrust } from './trust.ts';
import { addUp } from './up.ts';
import { addVerify } from './verify.ts';

const FAILED = 1;
const WRONG_USE = 2;
/** As a shell reports an end by SIGINT. */
const INTERRUPTED = 130;

/** Errors whose message is one clear line for the user; others are defects. */
const CLEAR_ERRORS: ReadonlySet<string> = new Set([
  'ApiRefusal',
  'CommandFailure',
  'InstallationError',
  'LullError',
  'ServerUnreachable',
]);

/**
 * Runs one command.
 * @param argv the words after the program's name
 * @returns the exit status: 0, 1 where it failed, 2 where it was called wrongly, 130 where it was interrupted
 */
export async function runCommandLine(argv: readonly string[], { terminal, machine }: { terminal: Terminal; machine: Machine }): Promise<number> {
  let status = 0;
  const program = new Command('lull')
    .description('AWS Lambda MicroVMs on your own machines')
    .version(machine.version)
    .helpCommand(true)
    .showSuggestionAfterError(false)
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.out, outputError: () => undefined });
  const action: CommandContext['action'] = (work) => async (...args) => {
    status = (await work(...args)) ?? 0;
  };
  const context = { program, terminal, machine, action };
  addUp(context);
  addDown(context);
  addConfig(context);
  addEnv(context);
  addTrust(context);
  addBuild(context);
  addRun(context);
  addStatus(context);
  addListings(context);
  addLogs(context);
  addCurl(context);
  addShell(context);
  addLife(context);
  addVerify(context);
  addGc(context);
  addKeys(context);
  addDemo(context);
  addMachineCommands(context);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    return tellError(error, terminal);
  }
}

function tellError(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // `lull` alone prints the help.
    if (error.code === 'commander.help') return WRONG_USE;
    terminal.say(oneLine(error.message.replace(/^error: /, '')));
    return WRONG_USE;
  }
  if (!(error instanceof Error)) throw error;
  if (terminal.signal.aborted) {
    terminal.say('interrupted');
    return INTERRUPTED;
  }
  if (error.name === 'UsageError') {
    terminal.say(oneLine(error.message));
    return WRONG_USE;
  }
  terminal.say(CLEAR_ERRORS.has(error.name) ? error.message : `unexpected failure: ${oneLine(error.message)}`);
  if (terminal.env['LULL_DEBUG']) terminal.say(error.stack ?? error.message);
  return FAILED;
}

const oneLine = (text: string) => text.replaceAll(/\s*\n\s*/g, ' ');
