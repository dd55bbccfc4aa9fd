/** `lull status`: how the server and its disks stand. */
import type { HealthAnswer } from '../contract/extensions.ts';
import type { CommandContext } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json, size } from './table.ts';

export function addStatus({ program, terminal, action }: CommandContext): void {
  withDataAndJson(program.command('status').description('say how the server and its disks stand')).action(
    action(async (choice: ServerChoice) => {
      const { client, server } = await findInstallation(terminal, choice);
      const health = await client.health();
      terminal.out(choice.json === true ? json(health) : statusText(server.apiUrl, health));
    }),
  );
}

function statusText(apiUrl: string, { version, driver, accelerator, disks, reconciler, stoppedByDisk }: HealthAnswer): string {
  const disk = ({ availableBytes, sizeBytes, reservedBytes }: HealthAnswer['disks']['data']) =>
    `${size(availableBytes)} of ${size(sizeBytes)} free${reservedBytes === 0 ? '' : `, ${size(reservedBytes)} of it promised to what is under way`}`;
  const line = (what: string, how: string) => `${what.padEnd(LABEL_WIDTH)}${how}\n`;
  const stopped = line('standing still', `${stoppedByDisk} microVM${stoppedByDisk === 1 ? '' : 's'}, until their disk has room or works again`);
  return [
    line('server', `Lull ${version} at ${apiUrl}, ${driver} (${accelerator})`),
    line('disk of data', disk(disks.data)),
    line('disk of the platform', disk(disks.platform)),
    line('brought into order', `${reconciler.mended} since the start`),
    ...(stoppedByDisk === 0 ? [] : [stopped]),
  ].join('');
}

const LABEL_WIDTH = 22;
