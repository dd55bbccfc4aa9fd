/** `lull verify`: reads every byte of images and sleeping microVMs and compares it with what was written. */
import type { VerifiedFileLine } from '../contract/extensions.ts';
import type { CommandContext } from './command-line.ts';
import { findInstallation, imageArnOf, parseImageReference, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json, size } from './table.ts';

export function addVerify({ program, terminal, action }: CommandContext): void {
  const command = program.command('verify').description('compare every byte of images and of sleeping microVMs with what was written');
  withDataAndJson(command.argument('[image|microvm...]', 'all that there are, where none is named')).action(
    action(async (names: readonly string[], choice: ServerChoice) => {
      const { client, credentials } = await findInstallation(terminal, choice);
      const microvms = names.filter((name) => name.startsWith('microvm-'));
      const images = names.filter((name) => !name.startsWith('microvm-')).map((reference) => {
        const { name, version } = parseImageReference(reference);
        return { imageIdentifier: imageArnOf(credentials, name), imageVersion: version ?? null };
      });
      const files: VerifiedFileLine[] = [];
      for await (const found of client.verify({ images, microvms }, terminal.signal)) {
        files.push(found);
        terminal.say(`${found.subject} ${found.file} (${size(found.sizeBytes)}): ${found.fault ?? 'whole'}`);
      }
      const faulty = files.filter(({ fault }) => fault !== null);
      const subjects = new Set(files.map(({ subject }) => subject));
      if (choice.json === true) terminal.out(json({ files, faults: faulty.length }));
      else terminal.out(faulty.length === 0 ? `${files.length} files of ${subjects.size} images and microVMs are whole\n` : `${faulty.map(mended).join('\n')}\n`);
      return faulty.length === 0 ? 0 : 1;
    }),
  );
}

/** Of a microVM nothing else is left to restore. */
function mended({ subject, file, fault }: VerifiedFileLine): string {
  const mend = subject.startsWith('microvm-') ? 'put the file back from a backup, or `lull rm` it' : `\`lull images rebuild ${subject}\``;
  return `${subject}: ${file} ${fault}; ${mend}`;
}
