/** `lull up`: serves in the foreground. */
import type { CommandContext, OptionValues } from './command-line.ts';
import { addServerOptions } from './server-options.ts';

export function addUp({ program, terminal, machine, action }: CommandContext): void {
  const command = program.command('up').description('serve in the foreground until SIGTERM, SIGINT or `lull down`');
  addServerOptions(command, machine.serverOptions);
  command.action(
    action(async (values: OptionValues) => {
      const serving = await machine.serve(values);
      for (const warning of serving.warnings) terminal.say(`warning: ${warning}`);
      terminal.say(`serving ${serving.apiUrl} (${serving.driver}, ${serving.accelerator}); microVMs at ${serving.endpointPattern}`);
      // Other commands find it by themselves, but for what only this command line said.
      const isFoundElsewhere = values['data'] === undefined && values['config'] === undefined;
      const data = isFoundElsewhere ? '' : ` --data '${serving.dataFolder}'`;
      terminal.say(`point AWS clients here with: eval "$(lull env${data})"`);
      await Promise.race([serving.ended, aborted(terminal.signal)]);
      if (!terminal.signal.aborted) {
        terminal.say('stopped');
        return;
      }
      const { microvmsLeftRunning: left } = await serving.stop();
      terminal.say(left === 0 ? 'stopped' : `stopped; ${left} microVM${left === 1 ? ' runs' : 's run'} on (\`lull up\` takes over again)`);
    }),
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
