/** `lull curl`: one request to a microVM. */
import type { CommandContext } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { InvalidArgumentError } from 'commander';
import { openEndpoint } from './endpoint-access.ts';
import { findInstallation, withDataAndJson } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { json } from './table.ts';

interface CurlChoice extends ServerChoice {
  readonly request?: string;
  readonly header?: Record<string, string[]>;
  readonly body?: string;
  readonly include?: boolean;
  readonly fail?: boolean;
}

const FIRST_ERROR_STATUS = 400;
const MAX_PORT = 65_535;
const BAD_GATEWAY = 502;
const DEFAULT_PORT = 8080;

export function addCurl({ program, terminal, action }: CommandContext): void {
  const command = program
    .command('curl')
    .description('send a request to a microVM over HTTPS, with a fresh token')
    .argument('<microvm[:port]>', 'where to; the port is 8080 where none is given')
    .argument('<path>', 'path and query');
  withDataAndJson(command)
    .option('-X, --request <method>', 'GET, or POST with a body')
    .option('-H, --header <name: value>', 'request header; may be repeated', header)
    .option('-d, --body <text>', 'request body')
    .option('-i, --include', 'print status and headers too')
    .option('-f, --fail', 'end with status 1 where the answer is 400 or above')
    .action(
      action(async (where: string, path: string, choice: CurlChoice) => {
        const match = /^(microvm-[^:]+)(?::(\d{1,5}))?$/.exec(where);
        const port = match?.[2] === undefined ? undefined : Number(match[2]);
        if (match === null || (port !== undefined && (port < 1 || port > MAX_PORT))) {
          throw new CommandFailure(`Not a microVM with a port: ${where}. Write its id (microvm-…, see lull ps), with :PORT from 1 to 65535 where it is not 8080.`);
        }
        const access = await openEndpoint(await findInstallation(terminal, choice), match[1]!, port);
        const answer = await access.request({
          method: choice.request ?? (choice.body === undefined ? 'GET' : 'POST'),
          path: path.startsWith('/') ? path : `/${path}`,
          headers: choice.header ?? {},
          body: choice.body,
          signal: terminal.signal,
        });
        const status = answer.statusCode ?? 0;
        if (choice.json === true) {
          const body = Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>)).toString('utf8');
          terminal.out(json({ status, headers: answer.headers, body }));
        } else {
          if (choice.include === true) terminal.out(head(status, answer.statusMessage, answer.rawHeaders));
          for await (const chunk of answer as AsyncIterable<Buffer>) terminal.out(chunk);
        }
        if (status >= FIRST_ERROR_STATUS && choice.json !== true) terminal.say(`${status} ${answer.statusMessage ?? ''}${hint(status, port)}`.trim());
        return choice.fail === true && status >= FIRST_ERROR_STATUS ? 1 : 0;
      }),
    );
}

/** The endpoint's own refusals have no words: these are the likely reasons. */
function hint(status: number, port: number | undefined): string {
  if (status !== BAD_GATEWAY) return '';
  const where = port === undefined ? `port ${DEFAULT_PORT} (write MICROVM:PORT for another)` : `port ${port}`;
  return `: nothing answers on ${where}, or the microVM has ended or may not be woken by requests (lull ps)`;
}

function head(status: number, message: string | undefined, raw: readonly string[]): string {
  const lines = raw.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${raw[at + 1]}\n`] : []));
  return `HTTP/1.1 ${status} ${message ?? ''}\n${lines.join('')}\n`;
}

function header(text: string, before: Record<string, string[]> | undefined): Record<string, string[]> {
  const at = text.indexOf(':');
  if (at < 1) throw new InvalidArgumentError('Write "Name: value".');
  const name = text.slice(0, at).trim();
  return { ...before, [name]: [...(before?.[name] ?? []), text.slice(at + 1).trim()] };
}
