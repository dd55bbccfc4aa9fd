/** `lull ps` and `lull images`. */
import type { LullClient } from '../client/client.ts';
import { ApiRefusal } from '../client/transport.ts';
import type { MicrovmItem } from '../contract/microvms.ts';
import { atMost } from '../lib/at-most.ts';
import type { CommandContext } from './command-line.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { reasonLine } from './microvm-end.ts';
import { addRebuild } from './rebuild.ts';
import { json, moment, table } from './table.ts';

const MICROVM_COLUMNS = ['MICROVM', 'STATE', 'IMAGE', 'STARTED (UTC)'];
/** Reasons that are asked for at the same time. */
const REASONS_AT_ONCE = 4;

export function addListings({ program, terminal, action }: CommandContext): void {
  withDataAndJson(program.command('ps').description('list microVMs'))
    .option('--all', 'also those that have been terminated, and why')
    .action(
      action(async (choice: ServerChoice & { all?: boolean }) => {
        const { client } = await findInstallation(terminal, choice);
        const listed = await Array.fromAsync(client.list('ListMicrovms', {}));
        if (choice.all !== true) {
          const living = listed.filter(({ state }) => state !== 'TERMINATED');
          terminal.out(choice.json === true ? json(living) : table(MICROVM_COLUMNS, living.map(microvmRow)));
          return;
        }
        const all = await withReasons(client, listed);
        const rows = all.map((one) => [...microvmRow(one), reasonLine(one.stateReason) ?? '-']);
        terminal.out(choice.json === true ? json(all) : table([...MICROVM_COLUMNS, 'REASON'], rows));
      }),
    );
  const images = program.command('images').description('list images');
  addRebuild(images, { terminal, action });
  withDataAndJson(images).action(
    action(async (choice: ServerChoice) => {
      const { client } = await findInstallation(terminal, choice);
      const listed = await Array.fromAsync(client.list('ListMicrovmImages', {}));
      if (choice.json === true) {
        terminal.out(json(listed));
        return;
      }
      const rows = listed.map((one) => [
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

const microvmRow = (one: MicrovmItem) => [one.microvmId, one.state, `${nameOf(one.imageArn)}:${one.imageVersion}`, moment(one.startedAt)];

/** Adds why those that have ended did so, which listings do not have (section 1.3). */
async function withReasons(client: LullClient, listed: readonly MicrovmItem[]): Promise<(MicrovmItem & { stateReason: string | null })[]> {
  const all = listed.map((one): MicrovmItem & { stateReason: string | null } => ({ ...one, stateReason: null }));
  const ended = all.filter(({ state }) => state === 'TERMINATED');
  await atMost(REASONS_AT_ONCE, ended, async (one) => {
    // One that is forgotten since, or a rate that is used up, does not spoil the listing.
    const microvm = await client.call('GetMicrovm', { microvmIdentifier: one.microvmId }).catch(unlessRefused);
    one.stateReason = microvm?.stateReason ?? null;
  });
  return all;
}

function unlessRefused(error: unknown): undefined {
  if (!(error instanceof ApiRefusal)) throw error;
}

const nameOf = (arn: string) => arn.slice(arn.lastIndexOf(':') + 1);
