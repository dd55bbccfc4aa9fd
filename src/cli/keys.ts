/** `lull keys create`, `lull keys list` and `lull keys revoke`. */
import type { CommandContext } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json, moment, table } from './table.ts';

const SECOND_MS = 1000;

export function addKeys({ program, terminal, action }: CommandContext): void {
  const keys = program.command('keys').description('make, list and revoke access keys of the API');
  withDataAndJson(keys.command('create').description('make an access key; its secret is shown this once'))
    .option('--description <text>', 'what it is for')
    .action(
      action(async (choice: ServerChoice & { description?: string }) => {
        const { client } = await findInstallation(terminal, choice);
        const key = await client.createKey(choice.description ?? null);
        if (choice.json === true) terminal.out(json(key));
        else terminal.out(`access key  ${key.accessKeyId}\nsecret      ${key.secretAccessKey}\n`);
        terminal.say('The secret is not shown again.');
      }),
    );
  withDataAndJson(keys.command('list').description('list access keys, without their secrets')).action(
    action(async (choice: ServerChoice) => {
      const { client } = await findInstallation(terminal, choice);
      const found = await client.keys();
      if (choice.json === true) {
        terminal.out(json(found));
        return;
      }
      const rows = found.map((key) => [
        key.accessKeyId,
        moment(key.createdAtMs / SECOND_MS),
        key.isOwn ? 'credentials.json' : '-',
        key.description ?? '-',
      ]);
      terminal.out(table(['ACCESS KEY', 'CREATED (UTC)', 'KEPT IN', 'DESCRIPTION'], rows));
    }),
  );
  withDataAndJson(keys.command('revoke').description('revoke an access key: what it signs is refused from now on').argument('<key-id>')).action(
    action(async (accessKeyId: string, choice: ServerChoice) => {
      const { client } = await findInstallation(terminal, choice);
      await client.revokeKey(accessKeyId);
      terminal.out(choice.json === true ? json({ accessKeyId }) : `${accessKeyId} is revoked\n`);
    }),
  );
}
