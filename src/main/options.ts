/** The options of `lull up`: one table for flag, environment variable, default and description. */
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { defaultDataFolder } from '../client/data-folder.ts';
import { LullError } from '../domain/errors.ts';
import { platformFolder } from '../setup/platform.ts';

/** An address to listen on; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Files of a certificate chain and its key (PEM). */
export interface CertificateFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** Everything that a server is started with. */
export interface ServerOptions {
  readonly dataFolder: string;
  /** Short, for Unix sockets: their paths hold 107 bytes. */
  readonly runtimeFolder: string;
  readonly platformFolder: string;
  readonly listen: ListenAddress;
  readonly endpointListen: readonly ListenAddress[];
  /** Nobody named the endpoints' listeners: one that the machine does not have (`::1`) is a warning, not an error. */
  readonly endpointListenIsDefault: boolean;
  readonly driver: 'auto' | 'qemu' | 'firecracker';
  readonly accel: 'auto' | 'kvm' | 'tcg';
  /** Parent of the endpoints' host names. */
  readonly domain: string;
  /** The API's certificate; plain HTTP without. */
  readonly apiCertificate: CertificateFiles | undefined;
  readonly insecureListen: boolean;
  /** The operator's own wildcard certificate for the endpoints; one of the local CA without. */
  readonly endpointCertificate: CertificateFiles | undefined;
  /** Sum of the baselines that may exist at once, in MiB; from the host's memory without. */
  readonly memoryQuotaMib: number | undefined;
  /** Proxy variables of `RUN`. */
  readonly buildEnvironment: Readonly<Record<string, string>>;
  /** Files that every `RUN` sees, by path here: their path there. */
  readonly buildFiles: Readonly<Record<string, string>>;
  /** Private networks (CIDR) that `RUN` may reach. */
  readonly buildNetworks: readonly string[];
  /** What a name in `FROM` stands for instead: `public.ecr.aws/lambda/python:3.13` → `lull/python`. */
  readonly baseMap: Readonly<Record<string, string>>;
  readonly logLevel: (typeof LOG_LEVELS)[number];
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export const DEFAULT_DOMAIN = 'microvm.localhost';
export const DEFAULT_API_PORT = 8470;
export const DEFAULT_ENDPOINT_PORT = 8443;

const MAX_PORT = 65_535;

const address = z.string().transform((text, context): ListenAddress => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match !== null && port <= MAX_PORT) return { host: match[1] ?? match[2]!, port };
  context.addIssue({ code: 'custom', message: `must be HOST:PORT (an IPv6 address in brackets), not ${text}` });
  return z.NEVER;
});
const addresses = z.string().transform((text) => text.split(',')).pipe(z.array(address));
const network = z.string().refine(isNetwork, { error: ({ input }) => `must be a network such as 10.1.0.0/16, not ${String(input)}` });
// Nothing can be kept there, and Node's mkdir does not come back from an attempt.
const KERNEL_FOLDERS = /^\/(proc|sys)(\/|$)/;
const path = z
  .string()
  .min(1)
  .transform((text) => resolve(text))
  .refine((text) => !KERNEL_FOLDERS.test(text), { error: ({ input }) => `${String(input)} is no place for files` });
const switchedOn = z.enum(['1', 'true', 'yes', '0', 'false', 'no', '']).transform((text) => ['1', 'true', 'yes'].includes(text));
const pairs = z.string().transform((text, context) => {
  const entries = text.split(',').filter((entry) => entry !== '').map((entry) => entry.split(/=(.*)/s));
  for (const [name, value] of entries) {
    if (value === undefined || name === '') context.addIssue({ code: 'custom', message: `must be NAME=VALUE, not ${name}` });
  }
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? '']));
});

/** An IPv4 or IPv6 network in CIDR notation, with its length of prefix. */
function isNetwork(text: string): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits;
}

/** One row of the table; several values of one option are joined by commas. */
interface OptionRow<S extends z.ZodType = z.ZodType> {
  /** As commander writes it. */
  readonly flag: string;
  readonly env: string;
  readonly schema: S;
  readonly description: string;
  /** For `--help`. */
  readonly shownDefault?: string;
  /** May be given more than once. */
  readonly repeatable?: true;
}

const row = <S extends z.ZodType>(options: OptionRow<S>) => options;

/** Every option of `lull up`. */
export const SERVER_OPTIONS = {
  data: row({
    flag: '--data <folder>',
    env: 'LULL_DATA',
    schema: path,
    description: 'where images, microVMs and keys are kept',
    shownDefault: '/var/lib/lull as root, else ~/.local/share/lull',
  }),
  runtime: row({
    flag: '--runtime <folder>',
    env: 'LULL_RUNTIME',
    schema: path,
    description: 'where sockets are made',
    shownDefault: '/run/lull as root, else $XDG_RUNTIME_DIR/lull',
  }),
  platform: row({
    flag: '--platform <folder>',
    env: 'LULL_PLATFORM',
    schema: path,
    description: 'where `lull setup` keeps kernel, agent and base images',
    shownDefault: '/var/cache/lull as root, else ~/.cache/lull',
  }),
  listen: row({
    flag: '--listen <host:port>',
    env: 'LULL_LISTEN',
    schema: address,
    description: 'address of the API',
    shownDefault: `127.0.0.1:${DEFAULT_API_PORT}`,
  }),
  endpointListen: row({
    flag: '--endpoint-listen <host:port>',
    env: 'LULL_ENDPOINT_LISTEN',
    schema: addresses,
    description: "address of the microVMs' endpoints; may be repeated",
    shownDefault: `127.0.0.1:${DEFAULT_ENDPOINT_PORT} and [::1]:${DEFAULT_ENDPOINT_PORT}`,
    repeatable: true,
  }),
  driver: row({
    flag: '--driver <name>',
    env: 'LULL_DRIVER',
    schema: z.enum(['auto', 'qemu', 'firecracker']),
    description: 'hypervisor: auto, qemu or firecracker',
    shownDefault: 'auto',
  }),
  accel: row({
    flag: '--accel <name>',
    env: 'LULL_ACCEL',
    schema: z.enum(['auto', 'kvm', 'tcg']),
    description: 'auto, kvm (hardware) or tcg (emulation: for development, no security boundary)',
    shownDefault: 'auto',
  }),
  domain: row({
    flag: '--domain <name>',
    env: 'LULL_DOMAIN',
    schema: z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/, { error: 'must be a host name' }),
    description: "parent of the endpoints' host names",
    shownDefault: DEFAULT_DOMAIN,
  }),
  apiCert: row({ flag: '--api-cert <file>', env: 'LULL_API_CERT', schema: path, description: 'certificate chain of the API (PEM)' }),
  apiKey: row({ flag: '--api-key <file>', env: 'LULL_API_KEY', schema: path, description: 'its key (PEM)' }),
  insecureListen: row({
    flag: '--insecure-listen',
    env: 'LULL_INSECURE_LISTEN',
    schema: switchedOn,
    description: 'allow the API on an address that is not loopback without a certificate',
  }),
  endpointCert: row({
    flag: '--endpoint-cert <file>',
    env: 'LULL_ENDPOINT_CERT',
    schema: path,
    description: 'your wildcard certificate chain for the endpoints (PEM)',
    shownDefault: 'one of a local CA',
  }),
  endpointKey: row({ flag: '--endpoint-key <file>', env: 'LULL_ENDPOINT_KEY', schema: path, description: 'its key (PEM)' }),
  memoryQuota: row({
    flag: '--memory-quota <mib>',
    env: 'LULL_MEMORY_QUOTA',
    schema: z.string().regex(/^[1-9]\d{0,8}$/, { error: 'must be a number of MiB' }).transform(Number),
    description: 'sum of the baseline memory of all microVMs',
    shownDefault: "from the host's memory",
  }),
  buildEnv: row({
    flag: '--build-env <name=value>',
    env: 'LULL_BUILD_ENV',
    schema: pairs,
    description: 'proxy variable of RUN in builds (http_proxy, https_proxy, no_proxy, …); may be repeated',
    repeatable: true,
  }),
  buildFile: row({
    flag: '--build-file <file=target>',
    env: 'LULL_BUILD_FILE',
    schema: pairs,
    description: 'show a file of this machine to every RUN (apt.conf, pip.conf, .npmrc, certificates); may be repeated',
    repeatable: true,
  }),
  buildNetwork: row({
    flag: '--build-network <cidr>',
    env: 'LULL_BUILD_NETWORK',
    schema: z.string().transform((text) => text.split(',')).pipe(z.array(network)),
    description: 'let RUN reach a private network, such as that of a registry; may be repeated',
    repeatable: true,
  }),
  baseMap: row({
    flag: '--base-map <from=image>',
    env: 'LULL_BASE_MAP',
    schema: pairs,
    description: 'build on another image than FROM names; may be repeated',
    repeatable: true,
  }),
  logLevel: row({
    flag: '--log-level <level>',
    env: 'LULL_LOG_LEVEL',
    schema: z.enum(LOG_LEVELS),
    description: LOG_LEVELS.join(', '),
    shownDefault: 'info',
  }),
} as const satisfies Record<string, OptionRow>;

type OptionName = keyof typeof SERVER_OPTIONS;
type Given = { -readonly [N in OptionName]?: z.output<(typeof SERVER_OPTIONS)[N]['schema']> };
/** As the command line gives them. */
export type OptionValues = { readonly [N in OptionName]?: string | boolean | readonly string[] | undefined };

/** The surroundings that defaults come from. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
}

/**
 * Puts together what the command line, then the environment, then the defaults say.
 * @throws LullError validation: one line that names the option
 */
export function parseServerOptions(values: OptionValues, { env, uid }: Surroundings): ServerOptions {
  const given = parseGiven(values, env);
  const listen = given.listen ?? { host: '127.0.0.1', port: DEFAULT_API_PORT };
  const apiCertificate = certificate(given.apiCert, given.apiKey, 'api');
  const insecureListen = given.insecureListen ?? false;
  if (!isLoopback(listen.host) && apiCertificate === undefined && !insecureListen) {
    throw new LullError('validation', `--listen ${listen.host} is not a loopback address: give --api-cert and --api-key, or --insecure-listen.`);
  }
  const bothLoopbacks = ['127.0.0.1', '::1'].map((host) => ({ host, port: DEFAULT_ENDPOINT_PORT }));
  return {
    dataFolder: given.data ?? defaultDataFolder(env, uid),
    runtimeFolder: given.runtime ?? defaultRuntimeFolder(env, uid),
    platformFolder: given.platform ?? platformFolder(env, uid),
    listen,
    endpointListen: given.endpointListen ?? bothLoopbacks,
    endpointListenIsDefault: given.endpointListen === undefined,
    driver: given.driver ?? 'auto',
    accel: given.accel ?? 'auto',
    domain: given.domain ?? DEFAULT_DOMAIN,
    apiCertificate,
    insecureListen,
    endpointCertificate: certificate(given.endpointCert, given.endpointKey, 'endpoint'),
    memoryQuotaMib: given.memoryQuota,
    buildEnvironment: given.buildEnv ?? {},
    buildFiles: given.buildFile ?? {},
    buildNetworks: given.buildNetwork ?? [],
    baseMap: given.baseMap ?? {},
    logLevel: given.logLevel ?? 'info',
  };
}

function parseGiven(values: OptionValues, env: NodeJS.ProcessEnv): Given {
  const given: Record<string, unknown> = {};
  for (const [name, { flag, env: variable, schema }] of Object.entries(SERVER_OPTIONS) as [OptionName, OptionRow][]) {
    const onCommandLine = values[name];
    const text = onCommandLine === undefined ? env[variable] : asText(onCommandLine);
    // An empty variable is as good as none.
    if (text === undefined || (onCommandLine === undefined && text === '')) continue;
    const parsed = schema.safeParse(text);
    const source = onCommandLine === undefined ? variable : flag.split(' ')[0]!;
    if (!parsed.success) throw new LullError('validation', `${source}: ${wordIssue(parsed.error.issues[0]!)}`, { cause: parsed.error });
    given[name] = parsed.data;
  }
  return given;
}

const asText = (value: string | boolean | readonly string[]) => (typeof value === 'object' ? value.join(',') : String(value));

function wordIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.filter((value) => value !== '').join(', ')}`;
  return issue.message;
}

function certificate(certPath: string | undefined, keyPath: string | undefined, which: string): CertificateFiles | undefined {
  if (certPath !== undefined && keyPath !== undefined) return { certPath, keyPath };
  if (certPath === undefined && keyPath === undefined) return undefined;
  throw new LullError('validation', `--${which}-cert and --${which}-key belong together.`);
}

/** True for addresses and names that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function defaultRuntimeFolder(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/run/lull';
  const runtime = env['XDG_RUNTIME_DIR'];
  return runtime?.startsWith('/') ? join(runtime, 'lull') : `/tmp/lull-${uid}`;
}
