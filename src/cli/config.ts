/** `lull config`: the settings that `lull up` would start with, and where each comes from. */
import type { CommandContext, OptionValues } from './command-line.ts';
import { addServerOptions } from './server-options.ts';
import { json } from './table.ts';

export function addConfig({ program, terminal, machine, action }: CommandContext): void {
  const command = program
    .command('config')
    .description('print the settings that `lull up` would start with, as a configuration file, and where each comes from')
    .option('--json', 'print JSON');
  addServerOptions(command, machine.serverOptions);
  command.action(
    action(async ({ json: asJson, ...values }: OptionValues) => {
      const { settings, file } = await machine.configuration(values);
      terminal.out(asJson === true ? json(Object.fromEntries(settings.map(({ key, ...setting }) => [key, setting]))) : file);
    }),
  );
}
