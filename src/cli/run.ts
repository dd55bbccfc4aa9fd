/** `lull run`: launches a microVM. */
import { InvalidArgumentError } from 'commander';
import { ApiRefusal } from '../client/transport.ts';
import { CommandFailure } from './command-line.ts';
import type { CommandContext } from './command-line.ts';
import { findInstallation, imageArnOf, parseImageReference, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { launchMicrovm } from './microvm-launch.ts';
import { json } from './table.ts';

interface RunChoice extends ServerChoice {
  readonly idle: number | false;
  readonly asleep: number;
  readonly autoResume: boolean;
  readonly life: number;
  readonly payload?: string;
  readonly shell?: boolean;
}

/** So that what is started by hand costs nothing when it is forgotten, and wakes when it is remembered. */
const DEFAULT_IDLE_SECONDS = 900;
/** Sections 3.2 and 3.3: these are refused here, in the options' words, before the API refuses them in its members'. */
const MIN_IDLE_SECONDS = 60;
const MAX_LIFE_SECONDS = 28_800;
/** Section 5.7. */
const WITH_SHELL = ['HTTP_INGRESS', 'SHELL_INGRESS'] as const;

export function addRun({ program, terminal, action }: CommandContext): void {
  const command = program
    .command('run')
    .description('launch a microVM, wait until it runs, print its id and URL')
    .argument('<image>', 'NAME or NAME:VERSION');
  withDataAndJson(command)
    .option(
      '--idle <seconds>',
      `suspend after so long without traffic, ${MIN_IDLE_SECONDS} to ${MAX_LIFE_SECONDS}`,
      seconds({ min: MIN_IDLE_SECONDS, max: MAX_LIFE_SECONDS }),
      DEFAULT_IDLE_SECONDS,
    )
    .option('--no-idle', 'never suspend it by itself, and never wake it by a request')
    .option('--asleep <seconds>', `terminate after so long asleep, 0 to ${MAX_LIFE_SECONDS}`, seconds({ min: 0, max: MAX_LIFE_SECONDS }), MAX_LIFE_SECONDS)
    .option('--no-auto-resume', 'requests do not wake it')
    .option(
      '--life <seconds>',
      `terminate after so long in all, sleep included, 1 to ${MAX_LIFE_SECONDS}`,
      seconds({ min: 1, max: MAX_LIFE_SECONDS }),
      MAX_LIFE_SECONDS,
    )
    .option('--payload <text>', "given to the image's run hook")
    .option('--shell', 'let `lull shell` in too: whoever may make tokens for it is root beside the application')
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
            ingressNetworkConnectors: choice.shell === true ? WITH_SHELL.map((name) => connectorArn(credentials, name)) : undefined,
          },
          terminal.signal,
        ).catch((error: unknown) => {
          throw notLaunchable(error, image);
        });
        const url = `https://${microvm.endpoint}/`;
        terminal.out(choice.json === true ? json({ ...microvm, url }) : `${microvm.microvmId}\n${url}\n`);
      }),
    );
}

const connectorArn = ({ region }: { region: string }, name: string) => `arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:${name}`;

/** Takes whole seconds within limits. */
function seconds({ min, max }: { min: number; max: number }): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Write a number of seconds from ${min} to ${max}.`);
  };
}

/** Section 1.6; the text alone tells it from other refusals: an image that is not there, or one that has not been built. */
function notLaunchable(error: unknown, image: string): unknown {
  if (!(error instanceof ApiRefusal && error.message.startsWith('No active version found'))) return error;
  return new CommandFailure(`${error.message}. \`lull images\` shows what there is; \`lull logs ${image}\` shows why a build failed.`, { cause: error });
}
