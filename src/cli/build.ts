/** `lull build`: a folder with a Dockerfile becomes an image. */
import { InvalidArgumentError } from 'commander';
import type { BuildEventLine } from '../contract/extensions.ts';
import { createImageInput } from '../contract/images.ts';
import type { CommandContext, Terminal } from './command-line.ts';
import { buildImage } from './image-build.ts';
import type { BuildOutcome } from './image-build.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { duration, json, size } from './table.ts';

interface BuildChoice extends ServerChoice {
  readonly name: string;
  readonly memory?: number;
  readonly env?: Record<string, string>;
  readonly verbose?: boolean;
}

export function addBuild({ program, terminal, action }: CommandContext): void {
  const command = program.command('build').description('make an image from a folder with a Dockerfile').argument('<dir>', 'the folder');
  withDataAndJson(command)
    .requiredOption('--name <name>', 'name of the image; one that exists gets a new version', imageName)
    .option('--memory <mib>', 'baseline memory: 128, 256, 512, 1024, 2048, 4096 or 8192', mib)
    .option('--env <name=value>', 'environment variable of the application; may be repeated', pair)
    .option('--verbose', 'show the output of the steps')
    .action(
      action(async (folder: string, choice: BuildChoice) => {
        const installation = await findInstallation(terminal, choice);
        const startMs = performance.now();
        const outcome = await buildImage(installation, {
          folder,
          name: choice.name,
          memoryMib: choice.memory,
          environment: choice.env,
          signal: terminal.signal,
          onUpload: ({ files, sizeBytes }) => terminal.say(`uploading ${files} file${files === 1 ? '' : 's'} (${size(sizeBytes)} zipped)`),
          onEvent: (event) => showEvent(terminal, event, choice.verbose === true),
        });
        return tellOutcome(terminal, outcome, { name: choice.name, json: choice.json, startMs });
      }),
    );
}

/** Says how a build ended. @returns the exit status */
export function tellOutcome(terminal: Terminal, outcome: BuildOutcome, about: { name: string; json: boolean | undefined; startMs: number }): number {
  const ms = Math.round(performance.now() - about.startMs);
  if (about.json === true) terminal.out(json({ ...outcome, ms }));
  if (outcome.state === 'FAILED') {
    for (const line of outcome.logTail) terminal.say(`  ${line}`);
    terminal.say(`version ${outcome.imageVersion} of ${about.name} failed: ${outcome.stateReason ?? 'no reason given'}`);
    return 1;
  }
  if (about.json !== true) terminal.out(`${about.name}:${outcome.imageVersion} is ready (${duration(ms)})\n`);
  return 0;
}

/** Says what a build does while it goes. */
export function showEvent(terminal: Terminal, event: BuildEventLine, verbose: boolean): void {
  if (event.type === 'line') {
    if (verbose) terminal.say(`  ${event.text}`);
  } else if (event.state !== 'started') {
    terminal.say(`${event.step} ${event.state}${event.ms === undefined ? '' : ` in ${duration(event.ms)}`}`);
  }
}

/** Refused here, for the API would refuse it after the upload. */
function imageName(text: string): string {
  if (!createImageInput.shape.name.safeParse(text).success) throw new InvalidArgumentError('Write 1 to 64 of a-z, A-Z, 0-9, - and _.');
  return text;
}

function mib(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Write a number of MiB.');
  return Number(text);
}

function pair(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
