/** The command line on the data folder of a listening server. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Machine, Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { CREDENTIALS, startApi } from '../api/bed.ts';
import type { ApiBed } from '../api/bed.ts';

const NO_MACHINE = { version: '1.2.3', self: ['lull'], serverOptions: [] } as unknown as Machine;

export interface CommandBed extends AsyncDisposable {
  readonly api: ApiBed;
  /** Runs one command. `said` is what stands on standard error. */
  lull(...argv: readonly string[]): Promise<{ status: number; stdout: string; said: readonly string[] }>;
}

export async function startCommandBed(): Promise<CommandBed> {
  const api = await startApi();
  const folder = await mkdtemp(join(tmpdir(), 'lull-cli-'));
  await writeFile(join(folder, 'credentials.json'), JSON.stringify({ region: 'us-east-1', account: '000000000000', ...CREDENTIALS }));
  await writeFile(join(folder, 'server.json'), JSON.stringify({ pid: 1, apiUrl: api.origin, endpointPort: 1, domain: 'd', version: '1' }));
  return {
    api,
    async lull(...argv) {
      let stdout = '';
      const said: string[] = [];
      const terminal: Terminal = {
        env: {},
        uid: 1000,
        dataFolder: () => folder,
        out: (text) => void (stdout += text.toString()),
        say: (line) => void said.push(line),
        signal: new AbortController().signal,
      };
      return { status: await runCommandLine(argv, { terminal, machine: NO_MACHINE }), stdout, said };
    },
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}
