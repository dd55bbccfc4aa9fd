/** `lull suspend`, `lull resume` and `lull rm`. */
import type { LullClient } from '../client/client.ts';
import { ApiRefusal } from '../client/transport.ts';
import { CommandFailure } from './command-line.ts';
import type { CommandContext } from './command-line.ts';
import { findInstallation, imageArnOf, withDataAndJson } from './installation.ts';
import type { Installation, ServerChoice } from './installation.ts';
import { duration, json, size } from './table.ts';

/** What is told of one: `text` to people, the rest to programs. */
interface Told {
  readonly text: string;
  readonly facts: object;
}

export function addLife(context: CommandContext): void {
  addOne(context, 'suspend', {
    description: 'put microVMs to sleep: memory and disk are kept, the process goes',
    argument: '<microvm...>',
    work: (id, { client }) => suspend(client, id),
  });
  addOne(context, 'resume', {
    description: 'wake microVMs',
    argument: '<microvm...>',
    work: async (id, { client }) => {
      await client.call('ResumeMicrovm', { microvmIdentifier: id });
      return { text: 'runs', facts: {} };
    },
  });
  addOne(context, 'rm', { description: 'terminate microVMs; delete images', argument: '<microvm|image...>', work: remove });
}

function addOne(
  { program, terminal, action }: CommandContext,
  name: string,
  about: { description: string; argument: string; work: (id: string, installation: Installation) => Promise<Told> },
): void {
  withDataAndJson(program.command(name).description(about.description).argument(about.argument)).action(
    action(async (ids: readonly string[], choice: ServerChoice) => {
      const installation = await findInstallation(terminal, choice);
      const done: object[] = [];
      let status = 0;
      for (const id of ids) {
        const startMs = performance.now();
        const told = await about.work(id, installation).catch(refusal);
        if (told instanceof Error) {
          terminal.say(`${id}: ${told.message}`);
          status = 1;
          continue;
        }
        const { text, facts } = told;
        const ms = Math.round(performance.now() - startMs);
        if (choice.json !== true) terminal.out(`${id} ${text} (${duration(ms)})\n`);
        done.push({ id, ms, ...facts });
      }
      if (choice.json === true) terminal.out(json(done));
      return status;
    }),
  );
}

/** What is refused of one says nothing of the next; a server that is gone is gone for all. */
function refusal(error: unknown): Error {
  if (error instanceof ApiRefusal || error instanceof CommandFailure) return error;
  throw error;
}

async function suspend(client: LullClient, id: string): Promise<Told> {
  await client.call('SuspendMicrovm', { microvmIdentifier: id });
  const { suspend: report } = await client.report(id);
  if (report === null) return { text: 'sleeps', facts: {} };
  return { text: `sleeps, ${size(report.bytesWritten)} written`, facts: report };
}

async function remove(id: string, { client, credentials }: Installation): Promise<Told> {
  if (id.startsWith('microvm-')) {
    await client.call('TerminateMicrovm', { microvmIdentifier: id });
    return { text: 'is gone', facts: {} };
  }
  await client.call('DeleteMicrovmImage', { imageIdentifier: imageArnOf(credentials, id) }).catch((error: unknown) => {
    throw isImageInUse(error) ? new CommandFailure(`${error.message} \`lull ps\` shows them, \`lull rm MICROVM\` ends one.`, { cause: error }) : error;
  });
  return { text: 'is being deleted', facts: {} };
}

/** Section 1.6: the text alone tells it from other refusals. */
const isImageInUse = (error: unknown): error is ApiRefusal => error instanceof ApiRefusal && error.message.includes('with running microvms');
