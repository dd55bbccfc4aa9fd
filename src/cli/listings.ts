/** `lull ps` and `lull images`. */
import type { CommandContext } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json, moment, table } from './table.ts';

export function addListings({ program, terminal, action }: CommandContext): void {
  withDataAndJson(program.command('ps').description('list microVMs'))
    .option('--all', 'also those that have been terminated')
    .action(
      action(async (choice: ServerChoice & { all?: boolean }) => {
        const { client } = await findInstallation(terminal, choice);
        const all = await Array.fromAsync(client.list('ListMicrovms', {}));
        const shown = all.filter(({ state }) => choice.all === true || state !== 'TERMINATED');
        if (choice.json === true) {
          terminal.out(json(shown));
          return;
        }
        const rows = shown.map((one) => [one.microvmId, one.state, `${nameOf(one.imageArn)}:${one.imageVersion}`, moment(one.startedAt)]);
        terminal.out(table(['MICROVM', 'STATE', 'IMAGE', 'STARTED (UTC)'], rows));
      }),
    );
  withDataAndJson(program.command('images').description('list images')).action(
    action(async (choice: ServerChoice) => {
      const { client } = await findInstallation(terminal, choice);
      const images = await Array.fromAsync(client.list('ListMicrovmImages', {}));
      if (choice.json === true) {
        terminal.out(json(images));
        return;
      }
      const rows = images.map((one) => [
        one.name,
        one.state,
        one.latestActiveImageVersion ?? '-',
        one.latestFailedImageVersion ?? '-',
        moment(one.createdAt),
      ]);
      terminal.out(table(['IMAGE', 'STATE', 'ACTIVE', 'FAILED', 'CREATED (UTC)'], rows));
    }),
  );
}

const nameOf = (arn: string) => arn.slice(arn.lastIndexOf(':') + 1);
