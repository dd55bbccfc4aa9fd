/** `lull env`: sh lines that point AWS clients at the server, and lines that undo it. */
import type { CommandContext } from './command-line.ts';
import { dataFolder, withData } from './installation.ts';
import type { ServerChoice } from './installation.ts';
import { caFiles, readCredentials, readServerAddress } from '../client/data-folder.ts';
import type { InstallationCredentials } from '../client/data-folder.ts';

/** The API's address where no server has ever told another. */
const DEFAULT_API_URL = 'http://127.0.0.1:8470';
const DEFAULT_DOMAIN = 'microvm.localhost';

/** Set while our lines are in force. */
const MARK = 'LULL_ENV';
/** Keeps what a variable was before. */
const SAVED = 'LULL_ENV_WAS_';

/** What would win over our settings, or change what an SDK asks for. */
const IN_THE_WAY = [
  'AWS_SESSION_TOKEN',
  'AWS_SECURITY_TOKEN',
  'AWS_CREDENTIAL_EXPIRATION',
  'AWS_CREDENTIAL_SCOPE',
  'AWS_ACCOUNT_ID',
  'AWS_PROFILE',
  'AWS_DEFAULT_PROFILE',
  'AWS_IGNORE_CONFIGURED_ENDPOINT_URLS',
  'AWS_USE_FIPS_ENDPOINT',
  'AWS_USE_DUALSTACK_ENDPOINT',
  'AWS_S3_US_EAST_1_REGIONAL_ENDPOINT',
] as const;
const SERVICE_ENDPOINT = /^AWS_ENDPOINT_URL_[A-Z0-9_]+$/;

/** Names that no proxy should see. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '::1', '.localhost'];

/** What the lines are made from. */
export interface EnvironmentSource {
  readonly apiUrl: string;
  readonly domain: string;
  readonly folder: string;
  readonly credentials: InstallationCredentials;
}

export function addEnv({ program, terminal, action }: CommandContext): void {
  const command = program.command('env').description('print sh lines that point AWS clients at the server: eval "$(lull env)"');
  withData(command)
    .option('--unset', 'print lines that undo it')
    .action(
      action(async (choice: ServerChoice & { unset?: boolean }) => {
        if (choice.unset === true) {
          terminal.out(unsetLines(terminal.env));
          return;
        }
        const folder = dataFolder(terminal, choice);
        const credentials = await readCredentials(folder);
        const server = await readServerAddress(folder);
        const source = { apiUrl: server?.apiUrl ?? DEFAULT_API_URL, domain: server?.domain ?? DEFAULT_DOMAIN, folder, credentials };
        terminal.out(exportLines(source, terminal.env));
      }),
    );
}

/** The variables that are in force afterwards. */
function settings({ apiUrl, domain, folder, credentials }: EnvironmentSource, env: NodeJS.ProcessEnv): Record<string, string> {
  const { bundle } = caFiles(folder);
  const noProxy = withLoopback(env['NO_PROXY'] ?? env['no_proxy'] ?? '', domain);
  return {
    AWS_ENDPOINT_URL: apiUrl,
    AWS_REGION: credentials.region,
    AWS_DEFAULT_REGION: credentials.region,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    // Node has authorities of its own; the system's may be others (a proxy's), and a variable of before named them.
    NODE_EXTRA_CA_CERTS: bundle,
    REQUESTS_CA_BUNDLE: bundle,
    SSL_CERT_FILE: bundle,
    CURL_CA_BUNDLE: bundle,
    AWS_CA_BUNDLE: bundle,
    NO_PROXY: noProxy,
    no_proxy: noProxy,
  };
}

function withLoopback(noProxy: string, domain: string): string {
  const names = noProxy.split(',').map((name) => name.trim()).filter((name) => name !== '');
  const wanted = domain.endsWith('.localhost') ? LOOPBACK_NAMES : [...LOOPBACK_NAMES, `.${domain}`];
  return [...new Set([...names, ...wanted])].join(',');
}

/** Lines for `eval`; they also keep what they replace, for `--unset`. */
export function exportLines(source: EnvironmentSource, env: NodeJS.ProcessEnv): string {
  const set = settings(source, env);
  const removed = [...IN_THE_WAY, ...Object.keys(env).filter((name) => SERVICE_ENDPOINT.test(name))];
  // Evaluated twice: what is there now is ours, and what was before is kept already.
  const first = env[MARK] === undefined;
  const kept = [...Object.keys(set), ...removed].filter((name) => env[name] !== undefined && (first || !(name in set)));
  return lines([
    ...kept.map((name) => assignment(`${SAVED}${name}`, env[name]!)),
    `unset ${removed.join(' ')}`,
    ...Object.entries(set).map(([name, value]) => assignment(name, value)),
    assignment(MARK, source.folder),
  ]);
}

/** Lines for `eval` that bring back what was before. */
export function unsetLines(env: NodeJS.ProcessEnv): string {
  if (env[MARK] === undefined) return '';
  const source = { apiUrl: '', domain: DEFAULT_DOMAIN, folder: '', credentials: { region: '', account: '', accessKeyId: '', secretAccessKey: '' } };
  const saved = Object.keys(env).filter((name) => name.startsWith(SAVED));
  return lines([
    `unset ${[...Object.keys(settings(source, {})), MARK, ...saved].join(' ')}`,
    ...saved.map((name) => assignment(name.slice(SAVED.length), env[name]!)),
  ]);
}

const assignment = (name: string, value: string) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`;
const lines = (all: readonly string[]) => all.map((line) => `${line}\n`).join('');
