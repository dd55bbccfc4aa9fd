/** `lull setup`, `lull doctor`, `lull test`, `lull soak` and `lull bench`: what concerns the machine, not a server. */
import type { CommandContext, OptionValues } from './command-line.ts';
import { json } from './table.ts';

export function addMachineCommands({ program, terminal, machine, action }: CommandContext): void {
  program
    .command('setup')
    .description('prepare this machine: packages, kernel, agent, base images; does only what is missing')
    .option('--refresh', 'fetch kernel and base images anew, for the updates in them')
    .action(
      action(async ({ refresh }: { refresh?: boolean }) => {
        const did = await machine.setUp({ refresh: refresh === true, say: terminal.say, signal: terminal.signal });
        terminal.say(did ? 'this machine is set up' : 'this machine is set up already');
      }),
    );
  program
    .command('doctor')
    .description('say what this machine can and cannot do, and the mend')
    .option('--json', 'print JSON')
    .action(
      action(async (choice: { json?: boolean }) => {
        const findings = await machine.doctor({ signal: terminal.signal });
        if (choice.json === true) terminal.out(json(findings));
        else for (const { need, state, detail, mend } of findings) terminal.out(findingText({ need, state, detail, mend }));
        return findings.some(({ state }) => state === 'missing') ? 1 : 0;
      }),
    );
  program
    .command('test')
    .description('run every test of this checkout')
    .action(
      action(async () => {
        await machine.setUp({ refresh: false, say: terminal.say, signal: terminal.signal });
        return await machine.test({ say: terminal.say, signal: terminal.signal });
      }),
    );
  program
    .command('soak')
    .description('keep microVMs busy for long on a server of its own, and check every byte of them')
    .argument('<what>', 'cycles: one, suspended and resumed again and again; many: suspended and woken at random')
    .option('--n <cycles>', 'of cycles: how many (1000)')
    .option('--microvms <count>', 'of many (100)')
    .option('--clients <count>', 'of many: how many wake and suspend them at the same time (8)')
    .option('--minutes <minutes>', 'of many: for how long (10); of cycles: begin no further ones then')
    .option('--seed <number>', 'of many: for the same choices again')
    .option('--json', 'print JSON, with every figure')
    .action(action((what: string, choice: OptionValues) => machine.soak(what, choice, terminal)));
  program
    .command('bench')
    .description('measure this machine')
    .argument('<what>', 'launch: launch, suspend and wake against raw QEMU; api: the API over many microVMs against few; proxy: the endpoints against nginx; checksums: suspend and wake with them and without')
    .option('--n <rounds>', 'how often each is measured (launch and checksums: 20, api: 300, proxy: 5)')
    .option('--driver <name>', 'hypervisor of launch: qemu')
    .option('--profile', 'of launch: print where the time goes, too')
    .option('--native', 'of proxy: without microVMs')
    .option('--quick', 'measure a little, to see that it works')
    .option('--json', 'print JSON, with every figure and step')
    .action(action((what: string, choice: OptionValues) => machine.bench(what, choice, terminal)));
}

const STATE_WIDTH = 9;
const NEED_WIDTH = 24;

function findingText(finding: { need: string; state: string; detail: string; mend: string | undefined }): string {
  const line = `${finding.state.padEnd(STATE_WIDTH)}${finding.need.padEnd(NEED_WIDTH)}${finding.detail}\n`;
  return finding.mend === undefined ? line : `${line}${' '.repeat(STATE_WIDTH + NEED_WIDTH)}mend: ${finding.mend}\n`;
}
