/** `lull images rebuild`: a new version of an image from the code and the configuration that the server has kept. */
import type { Command } from 'commander';
import { showEvent, tellOutcome } from './build.ts';
import type { CommandContext } from './command-line.ts';
import { followBuild } from './image-build.ts';
import { findInstallation, imageArnOf, parseImageReference, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';

/** @param images the command that it is a part of */
export function addRebuild(images: Command, { terminal, action }: Pick<CommandContext, 'terminal' | 'action'>): void {
  const command = images.command('rebuild').description('make an image anew from the code that it was made from, with what `lull setup` has today');
  withDataAndJson(command.argument('<image>', 'NAME or NAME:VERSION; the newest version where none is named'))
    .option('--verbose', 'show the output of the steps')
    .action(
      action(async (reference: string) => {
        // What `images` has too ends up there.
        const choice: ServerChoice & { verbose?: boolean } = command.optsWithGlobals();
        const { client, credentials } = await findInstallation(terminal, choice);
        const { name, version } = parseImageReference(reference);
        const startMs = performance.now();
        const begun = await client.rebuild({ imageIdentifier: imageArnOf(credentials, name), imageVersion: version ?? null });
        const onEvent = (event: Parameters<typeof showEvent>[1]) => showEvent(terminal, event, choice.verbose === true);
        const outcome = await followBuild(client, begun, { signal: terminal.signal, onEvent });
        return tellOutcome(terminal, outcome, { name, json: choice.json, startMs });
      }),
    );
}
