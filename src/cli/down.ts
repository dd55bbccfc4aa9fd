/** `lull down`: puts every microVM to sleep and stops the server. */
import { setTimeout as delay } from 'node:timers/promises';
import type { CommandContext } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json } from './table.ts';

/** The server has answered that all sleep: it only closes files then. */
const END_LIMIT_MS = 30_000;
const POLL_MS = 20;

export function addDown({ program, terminal, action }: CommandContext): void {
  withDataAndJson(program.command('down').description('suspend every running microVM and stop the server')).action(
    action(async (choice: ServerChoice) => {
      const { client, server } = await findInstallation(terminal, choice);
      const { suspended } = await client.shutdown();
      await processEnd(server.pid);
      if (choice.json === true) terminal.out(json({ suspended }));
      else terminal.out(`${suspended} microVM${suspended === 1 ? '' : 's'} suspended, server stopped\n`);
    }),
  );
}

/** Waits for a process that is not our child, of whose end there is no event. */
async function processEnd(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < END_LIMIT_MS; waitedMs += POLL_MS) {
    try {
      process.kill(pid, 0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
    }
    await delay(POLL_MS);
  }
  throw new CommandFailure(`All microVMs sleep, but the server (process ${pid}) has not ended after ${END_LIMIT_MS / 1000} s.`);
}
