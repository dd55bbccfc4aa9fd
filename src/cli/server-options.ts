/** The options of a server, as `lull up` and `lull config` take them. */
import { Option } from 'commander';
import type { Command } from 'commander';
import type { ServerOptionText } from './command-line.ts';

/** Adds every option; a repeatable one becomes a list. */
export function addServerOptions(command: Command, options: readonly ServerOptionText[]): void {
  for (const { flag, description, env, shownDefault, repeatable } of options) {
    const notes = [env, ...(shownDefault === undefined ? [] : [`default: ${shownDefault}`])].join('; ');
    const option = new Option(flag, `${description} (${notes})`);
    if (repeatable === true) option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
    command.addOption(option);
  }
}
