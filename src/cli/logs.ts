/** `lull logs`: what an application wrote, or what a build said. */
import type { CommandContext, Terminal } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { findInstallation, imageArnOf, parseImageReference, withDataAndJson } from './installation.ts';
import type { Installation, ServerChoice } from './installation.ts';
import { endOf } from './microvm-end.ts';
import { duration } from './table.ts';

interface LogsChoice extends ServerChoice {
  readonly follow?: boolean;
}

export function addLogs({ program, terminal, action }: CommandContext): void {
  const command = program
    .command('logs')
    .description("print an application's output, or an image's build log")
    .argument('<microvm|image>', 'a microVM, or IMAGE[:VERSION]');
  withDataAndJson(command)
    .option('-f, --follow', 'go on as more comes')
    .action(
      action(async (of: string, choice: LogsChoice) => {
        const installation = await findInstallation(terminal, choice);
        try {
          if (of.startsWith('microvm-')) await applicationLog(terminal, installation, { id: of, choice });
          else await buildLog(terminal, installation, { of, choice });
        } catch (error) {
          // Ctrl-C is how following ends.
          if (!(terminal.signal.aborted && choice.follow === true)) throw error;
        }
      }),
    );
}

async function applicationLog(terminal: Terminal, { client }: Installation, { id, choice }: { id: string; choice: LogsChoice }): Promise<void> {
  const end = endOf(await client.call('GetMicrovm', { microvmIdentifier: id }, terminal.signal));
  // Of one that has ended no more comes.
  const stream = await client.logs(id, { follow: choice.follow === true && end === undefined, signal: terminal.signal });
  let rest = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (choice.json !== true) {
      terminal.out(chunk);
      continue;
    }
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop()!;
    for (const text of lines) terminal.out(`${JSON.stringify({ text })}\n`);
  }
  if (rest !== '') terminal.out(`${JSON.stringify({ text: rest })}\n`);
  if (end !== undefined) terminal.say(end);
}

async function buildLog(terminal: Terminal, installation: Installation, { of, choice }: { of: string; choice: LogsChoice }): Promise<void> {
  const { client, credentials } = installation;
  const { name, version } = parseImageReference(of);
  const imageIdentifier = imageArnOf(credentials, name);
  const imageVersion = version ?? (await newestVersion(installation, imageIdentifier));
  const options = { follow: choice.follow === true, signal: terminal.signal };
  for await (const event of client.buildEvents({ imageIdentifier, imageVersion }, options)) {
    if (choice.json === true) terminal.out(`${JSON.stringify(event)}\n`);
    else if (event.type === 'line') terminal.out(`${event.text}\n`);
    else if (event.state === 'started') terminal.out(`== ${event.step}\n`);
    else terminal.out(`== ${event.step} ${event.state}${event.ms === undefined ? '' : ` in ${duration(event.ms)}`}\n`);
  }
}

/** The newest version, finished or not. */
async function newestVersion({ client }: Installation, imageIdentifier: string): Promise<string> {
  const { items } = await client.call('ListMicrovmImageVersions', { imageIdentifier, maxResults: '1' });
  const version = items[0]?.imageVersion;
  if (version === undefined) throw new CommandFailure(`${imageIdentifier} has no version.`);
  return version;
}
