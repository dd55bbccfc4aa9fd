/** `lull suspend`, `lull resume` and `lull rm`. */
import type { LullClient } from '../client/client.ts';
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
      for (const id of ids) {
        const startMs = performance.now();
        const { text, facts } = await about.work(id, installation);
        const ms = Math.round(performance.now() - startMs);
        if (choice.json !== true) terminal.out(`${id} ${text} (${duration(ms)})\n`);
        done.push({ id, ms, ...facts });
      }
      if (choice.json === true) terminal.out(json(done));
    }),
  );
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
  await client.call('DeleteMicrovmImage', { imageIdentifier: imageArnOf(credentials, id) });
  return { text: 'is being deleted', facts: {} };
}
