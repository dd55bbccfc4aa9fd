/** `lull run`: launches a microVM. */
import { InvalidArgumentError } from 'commander';
import type { CommandContext } from './command-line.ts';
import { findInstallation, imageArnOf, parseImageReference, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { launchMicrovm } from './microvm-launch.ts';
import { json } from './table.ts';

interface RunChoice extends ServerChoice {
  readonly idle: number | false;
  readonly asleep: number;
  readonly autoResume: boolean;
  readonly life?: number;
  readonly payload?: string;
}

/** So that what is started by hand costs nothing when it is forgotten, and wakes when it is remembered. */
const DEFAULT_IDLE_SECONDS = 900;
/** As long as a life may be (seconds). */
const LONGEST_SLEEP_SECONDS = 28_800;

export function addRun({ program, terminal, action }: CommandContext): void {
  const command = program
    .command('run')
    .description('launch a microVM, wait until it runs, print its id and URL')
    .argument('<image>', 'NAME or NAME:VERSION');
  withDataAndJson(command)
    .option('--idle <seconds>', 'suspend after so long without traffic (60 or more)', seconds, DEFAULT_IDLE_SECONDS)
    .option('--no-idle', 'never suspend it by itself, and never wake it by a request')
    .option('--asleep <seconds>', 'terminate after so long asleep', seconds, LONGEST_SLEEP_SECONDS)
    .option('--no-auto-resume', 'requests do not wake it')
    .option('--life <seconds>', 'terminate after so long in all', seconds)
    .option('--payload <text>', "given to the image's run hook")
    .action(
      action(async (image: string, choice: RunChoice) => {
        const { client, credentials } = await findInstallation(terminal, choice);
        const { name, version } = parseImageReference(image);
        const idlePolicy =
          choice.idle === false
            ? undefined
            : { maxIdleDurationSeconds: choice.idle, suspendedDurationSeconds: choice.asleep, autoResumeEnabled: choice.autoResume };
        const microvm = await launchMicrovm(
          client,
          {
            imageIdentifier: imageArnOf(credentials, name),
            imageVersion: version,
            idlePolicy,
            maximumDurationInSeconds: choice.life,
            runHookPayload: choice.payload,
          },
          terminal.signal,
        );
        const url = `https://${microvm.endpoint}/`;
        terminal.out(choice.json === true ? json({ ...microvm, url }) : `${microvm.microvmId}\n${url}\n`);
      }),
    );
}

function seconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Write a number of seconds.');
  return Number(text);
}
