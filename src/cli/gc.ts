/** `lull gc`: removes what nobody owns or uses any more. */
import type { CommandContext } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json, size, table } from './table.ts';

const SIZE_COLUMN = 2;

export function addGc({ program, terminal, action }: CommandContext): void {
  withDataAndJson(program.command('gc').description('remove what nobody uses: bytes of objects, root disks, logs beyond what is kept, copies of QEMU, layers'))
    .option('--dry-run', 'only say what would be removed')
    .action(
      action(async (choice: ServerChoice & { dryRun?: boolean }) => {
        const { client } = await findInstallation(terminal, choice);
        const dryRun = choice.dryRun === true;
        const garbage = await client.collectGarbage(dryRun);
        const sizeBytes = garbage.reduce((sum, one) => sum + one.sizeBytes, 0);
        if (choice.json === true) return terminal.out(json({ dryRun, sizeBytes, garbage }));
        if (garbage.length > 0) terminal.out(table(['KIND', 'NAME', 'SIZE'], garbage.map((one) => [one.kind, one.name, size(one.sizeBytes)]), new Set([SIZE_COLUMN])));
        terminal.say(garbage.length === 0 ? 'nothing to remove' : `${size(sizeBytes)} ${dryRun ? 'would be' : 'were'} removed`);
      }),
    );
}
