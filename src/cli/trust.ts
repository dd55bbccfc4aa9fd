/** `lull trust`: has this machine and its browsers trust the local authority, after saying what that means. */
import type { CommandContext, TrustPlan, TrustStep } from './command-line.ts';
import { UsageError } from './command-line.ts';
import { dataFolder, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { caFiles } from '../client/data-folder.ts';
import { json } from './table.ts';

interface TrustChoice extends ServerChoice {
  readonly uninstall?: boolean;
  readonly yes?: boolean;
  readonly print?: boolean;
}

export function addTrust({ program, terminal, machine, action }: CommandContext): void {
  const command = program.command('trust').description('have this machine and its browsers trust the local authority; says first what it will do');
  withDataAndJson(command)
    .option('--uninstall', 'take it out again')
    .option('--yes', 'do it without asking')
    .option('--print', "print the path of the authority's certificate, and do nothing")
    .action(
      action(async (choice: TrustChoice) => {
        const folder = dataFolder(terminal, choice);
        const files = caFiles(folder);
        if (choice.print === true) return terminal.out(`${files.ca}\n`);
        const request = { caPath: files.ca, uninstall: choice.uninstall === true };
        const plan = await machine.planTrust(request);
        const isYes = choice.yes === true;
        if (choice.json !== true) {
          terminal.out(explanation({ files, plan, uninstall: request.uninstall }));
        }
        const isAgreed = plan.steps.length > 0 && (isYes || (choice.json !== true && (await agreed(machine))));
        if (isAgreed) await machine.trust(plan, { ...request, signal: terminal.signal });
        if (choice.json === true) terminal.out(json({ ...files, ...plan, done: isAgreed }));
        else if (plan.steps.length > 0) terminal.say(isAgreed ? 'done; browsers see it once they are started again' : 'nothing was changed');
      }),
    );
}

async function agreed(machine: CommandContext['machine']): Promise<boolean> {
  const answer = await machine.confirm('Do this? [y/N] ');
  if (answer === undefined) throw new UsageError('nothing was changed: there is no terminal to ask on, and no --yes');
  return answer;
}

interface Explained {
  readonly files: { readonly ca: string; readonly bundle: string };
  readonly plan: TrustPlan;
  readonly uninstall: boolean;
}

function explanation({ files, plan: { fingerprint, names, steps, notes }, uninstall }: Explained): string {
  const about = [
    `${files.ca} is the authority that this server's certificates come from.`,
    `SHA-256 ${fingerprint}`,
    `It can vouch for these and what is below them, and for nothing else (name constraints): ${names.join(', ')}.`,
    'Its key never leaves the data folder.',
  ];
  const tools = [
    'Programs with lists of their own are told by variables; `lull env` sets them in one shell:',
    `  NODE_EXTRA_CA_CERTS=${files.ca}`,
    ...['REQUESTS_CA_BUNDLE', 'SSL_CERT_FILE', 'CURL_CA_BUNDLE', 'AWS_CA_BUNDLE'].map((name) => `  ${name}=${files.bundle}`),
  ];
  const nothing = uninstall ? 'It is in no store that can be changed here.' : 'There is nothing to do.';
  return [
    ...about,
    ...(uninstall ? [] : ['', ...tools]),
    '',
    ...(steps.length === 0 ? [nothing] : ['This will be done:', ...steps.map((step) => `  ${stepText(step)}`)]),
    ...(notes.length === 0 ? [] : ['This will not:', ...notes.map((note) => `  ${note}`)]),
    '',
  ].join('\n');
}

function stepText(step: TrustStep): string {
  switch (step.kind) {
    case 'write':
      return `write  ${step.path}`;
    case 'remove':
      return `remove ${step.path}`;
    case 'run':
      return `run    ${step.argv.map(quoted).join(' ')}   (changes ${step.changes})`;
  }
  return step satisfies never;
}

const quoted = (word: string) => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
