/** `lull shell`: a terminal in a microVM. */
import { openShell, ShellRefusal, type OpenShell, type ShellEnd } from '../client/shell.ts';
import { ApiRefusal } from '../client/transport.ts';
import type { CommandContext, Keyboard, Terminal } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { tokenOf, wayTo } from './endpoint-access.ts';
import { EscapeKeys } from './escape-keys.ts';
import { findInstallation, withData, type Installation, type ServerChoice } from './installation.ts';

/** The shortest there is: it is used at once. */
const TOKEN_MINUTES = 1;
/** RFC 6455, 7.4.1: the shell has exited. */
const NORMAL = 1000;
const BAD_GATEWAY = 502;
/** Ctrl-D would be lost where it comes before the shell reads line by line: a terminal's driver makes something else of it. */
const END_OF_PIPE = '\nexit\n';

export function addShell({ program, terminal, action }: CommandContext): void {
  const command = program
    .command('shell')
    .description('open a shell beside the application of a microVM, which was launched with `lull run --shell`')
    .argument('<microvm>', 'its id (lull ps)')
    .addHelpText('after', '\nIt ends with `exit` or Ctrl-D, and from this side with Enter ~ . as ssh does. What is piped in is typed, then `exit`.');
  withData(command).action(
    action(async (microvmIdentifier: string, choice: ServerChoice) => {
      const installation = await findInstallation(terminal, choice);
      const end = await attend(await dial(installation, microvmIdentifier, terminal), terminal);
      if (end === undefined || end.code === NORMAL) return 0;
      terminal.signal.throwIfAborted();
      throw new CommandFailure(`The shell is gone: ${end.reason || `the connection was lost (${end.code})`}.`);
    }),
  );
}

async function dial(installation: Installation, microvmIdentifier: string, { out, drained, signal }: Terminal): Promise<OpenShell> {
  const way = await wayTo(installation, microvmIdentifier);
  const request = { microvmIdentifier, expirationInMinutes: TOKEN_MINUTES };
  const made = await installation.client.call('CreateMicrovmShellAuthToken', request).catch((error: unknown) => {
    throw isWithoutShells(error) ? new CommandFailure(`${error.message} Launch one with \`lull run --shell IMAGE\`.`, { cause: error }) : error;
  });
  const screen = (bytes: Buffer) => {
    out(bytes);
    return drained?.();
  };
  return openShell({ ...way, token: tokenOf(made), screen, signal }).catch(async (error: unknown) => {
    if (!(error instanceof ShellRefusal)) throw error;
    const hint = error.status === BAD_GATEWAY ? await hintFor(installation, microvmIdentifier) : '';
    throw new CommandFailure(`${microvmIdentifier} took no shell (${error.message})${hint}.`, { cause: error });
  });
}

/** The endpoint's own refusals have no words: these are the likely reasons. */
async function hintFor({ client }: Installation, microvmIdentifier: string): Promise<string> {
  const { state, idlePolicy } = await client.call('GetMicrovm', { microvmIdentifier });
  if (state === 'SUSPENDED' && idlePolicy?.autoResumeEnabled !== true) return `: it sleeps, and only \`lull resume ${microvmIdentifier}\` wakes it`;
  return ': its image has none or was built by an older Lull, or it has ended or may not be woken (lull ps)';
}

/** Section 1.6: the text alone tells it from other refusals. */
const isWithoutShells = (error: unknown): error is ApiRefusal => error instanceof ApiRefusal && error.message.includes('SHELL_INGRESS');

/** Joins keyboard, screen and shell. @returns how it ended; undefined where it was left by the keys for that */
async function attend(shell: OpenShell, { keyboard }: Terminal): Promise<ShellEnd | undefined> {
  if (keyboard === undefined) return shell.ended;
  using stack = new DisposableStack();
  const left = Promise.withResolvers<undefined>();
  if (keyboard.isTerminal) {
    stack.use(keyboard.raw());
    stack.use(keyboard.onResize((size) => shell.resize(size)));
  }
  const typing = type(keyboard, shell, left.resolve);
  // What cannot be typed any more says nothing that the end of the session does not say better.
  typing.catch(() => undefined);
  const end = await Promise.race([shell.ended, left.promise]);
  if (end === undefined) shell.hangUp();
  return end;
}

/** Passes keys on, or what is piped in and then `exit`. */
async function type(keyboard: Keyboard, shell: OpenShell, leave: (nothing: undefined) => void): Promise<void> {
  const keys = new EscapeKeys();
  for await (const bytes of keyboard.input as AsyncIterable<Buffer>) {
    const typed = keyboard.isTerminal ? keys.pass(bytes) : bytes;
    if (typed === 'leave') return leave(undefined);
    if (typed.length > 0 && !shell.keyboard.write(typed)) await Promise.race([typedOn(shell), shell.ended]);
  }
  shell.keyboard.write(END_OF_PIPE);
}

const typedOn = ({ keyboard }: OpenShell) => new Promise((resolve) => keyboard.once('drain', resolve));
