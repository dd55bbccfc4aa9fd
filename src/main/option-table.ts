/** The options of `lull up`: one table for flag, environment variable, key of the configuration file, default and description. */
import { z } from 'zod';
import { defaultDataFolder } from '../client/data-folder.ts';
import { ROLE_CHECKS } from '../control/roles/pass-role.ts';
import { MAX_HOOK_TIMEOUT_SCALE, SUSPEND_HOOK_FAILURES } from '../domain/hooks.ts';
import { DEFAULT_REALM } from '../domain/ids.ts';
import { ADJUSTABLE_QUOTAS } from '../domain/quotas.ts';
import { platformFolder } from '../setup/platform.ts';
import { defaultRuntimeFolder } from './default-folders.ts';
import { address, count, countUpTo, hostName, network, pairs, path, type Shape } from './option-values.ts';

/** The surroundings that defaults come from. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
}

/** One row of the table. */
export interface OptionRow {
  /** As commander writes it. */
  readonly flag: string;
  readonly env: string;
  /** Its place in the configuration file: `table.key`, or a key of the top. */
  readonly key: string;
  readonly shape: Shape;
  /** Takes the value as the file would say it. */
  readonly schema: z.ZodType;
  readonly description: string;
  /** As the file would say it. */
  readonly default?: unknown;
  /** For `--help`, where the default needs words. */
  readonly shownDefault?: string;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export const DEFAULT_API_PORT = 8470;
export const DEFAULT_ENDPOINT_PORT = 8443;

const file = { shape: 'path', schema: path } as const;

/** Every option of `lull up`, in the order of its help and of the file. */
export const SERVER_OPTIONS = {
  data: {
    ...file,
    flag: '--data <folder>',
    env: 'LULL_DATA',
    key: 'data',
    description: 'where images, microVMs and keys are kept',
    default: ({ env, uid }: Surroundings) => defaultDataFolder(env, uid),
    shownDefault: '/var/lib/lull as root, else ~/.local/share/lull',
  },
  runtime: {
    ...file,
    flag: '--runtime <folder>',
    env: 'LULL_RUNTIME',
    key: 'runtime',
    description: 'where sockets are made',
    default: ({ env, uid }: Surroundings) => defaultRuntimeFolder(env, uid),
    shownDefault: '/run/lull as root, else $XDG_RUNTIME_DIR/lull',
  },
  platform: {
    ...file,
    flag: '--platform <folder>',
    env: 'LULL_PLATFORM',
    key: 'platform',
    description: 'where `lull setup` keeps kernel, agent and base images',
    default: ({ env, uid }: Surroundings) => platformFolder(env, uid),
    shownDefault: '/var/cache/lull as root, else ~/.cache/lull',
  },
  region: {
    flag: '--region <name>',
    env: 'LULL_REGION',
    key: 'region',
    shape: 'text',
    schema: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d{1,2}$/, { error: 'must be a region such as us-east-1' }),
    description: "region of every ARN and signature; a data folder keeps the one that it was made with",
    shownDefault: `the data folder's, else ${DEFAULT_REALM.region}`,
  },
  account: {
    flag: '--account <id>',
    env: 'LULL_ACCOUNT',
    key: 'account',
    shape: 'text',
    schema: z.string().regex(/^\d{12}$/, { error: 'must be an account id of 12 digits' }),
    description: 'account of every ARN; a data folder keeps the one that it was made with',
    shownDefault: `the data folder's, else ${DEFAULT_REALM.account}`,
  },
  listen: {
    flag: '--listen <host:port>',
    env: 'LULL_LISTEN',
    key: 'api.listen',
    shape: 'text',
    schema: address,
    description: 'address of the API',
    default: `127.0.0.1:${DEFAULT_API_PORT}`,
  },
  apiHost: {
    flag: '--api-host <name>',
    env: 'LULL_API_HOST',
    key: 'api.hosts',
    shape: 'list',
    schema: z.array(hostName),
    description: 'name under which clients reach the API besides localhost and s3.localhost, so that BUCKET.NAME is a bucket; may be repeated',
    default: [],
    shownDefault: '',
  },
  apiCert: { ...file, flag: '--api-cert <file>', env: 'LULL_API_CERT', key: 'api.cert', description: 'certificate chain of the API (PEM)' },
  apiKey: { ...file, flag: '--api-key <file>', env: 'LULL_API_KEY', key: 'api.key', description: 'its key (PEM)' },
  apiCa: {
    ...file,
    flag: '--api-ca <file>',
    env: 'LULL_API_CA',
    key: 'api.ca',
    description: 'CA of your own that signed it (PEM): `lull env` and the commands here trust it then',
  },
  insecureListen: {
    flag: '--insecure-listen',
    env: 'LULL_INSECURE_LISTEN',
    key: 'api.insecure-listen',
    shape: 'switch',
    schema: z.boolean(),
    description: 'allow the API on an address that is not loopback without a certificate',
    default: false,
    shownDefault: '',
  },
  endpointListen: {
    flag: '--endpoint-listen <host:port>',
    env: 'LULL_ENDPOINT_LISTEN',
    key: 'endpoints.listen',
    shape: 'list',
    schema: z.array(address),
    description: "address of the microVMs' endpoints; may be repeated",
    default: [`127.0.0.1:${DEFAULT_ENDPOINT_PORT}`, `[::1]:${DEFAULT_ENDPOINT_PORT}`],
    shownDefault: `127.0.0.1:${DEFAULT_ENDPOINT_PORT} and [::1]:${DEFAULT_ENDPOINT_PORT}`,
  },
  domain: {
    flag: '--domain <name>',
    env: 'LULL_DOMAIN',
    key: 'endpoints.domain',
    shape: 'text',
    schema: hostName,
    description: "parent of the endpoints' host names",
    default: 'microvm.localhost',
  },
  endpointCert: {
    ...file,
    flag: '--endpoint-cert <file>',
    env: 'LULL_ENDPOINT_CERT',
    key: 'endpoints.cert',
    description: 'your wildcard certificate chain for the endpoints (PEM)',
    shownDefault: 'one of a local CA',
  },
  endpointKey: { ...file, flag: '--endpoint-key <file>', env: 'LULL_ENDPOINT_KEY', key: 'endpoints.key', description: 'its key (PEM)' },
  metricsListen: {
    flag: '--metrics-listen <host:port>',
    env: 'LULL_METRICS_LISTEN',
    key: 'metrics.listen',
    shape: 'text',
    schema: address,
    description: 'address that serves the metrics and nothing else; the API has them at /lull/v1/metrics in any case',
    shownDefault: '',
  },
  metricsTokenFile: {
    ...file,
    flag: '--metrics-token-file <file>',
    env: 'LULL_METRICS_TOKEN_FILE',
    key: 'metrics.token-file',
    description: 'file (0600) with the bearer token that opens the metrics; without, only this machine reads them',
  },
  metricsMicrovms: {
    flag: '--metrics-microvms <n>',
    env: 'LULL_METRICS_MICROVMS',
    key: 'metrics.microvms',
    shape: 'count',
    schema: countUpTo(1000),
    description: 'how many microVMs have series of their own, up to 1000',
    shownDefault: 'none',
  },
  driver: {
    flag: '--driver <name>',
    env: 'LULL_DRIVER',
    key: 'driver',
    shape: 'text',
    schema: z.enum(['auto', 'qemu', 'firecracker']),
    description: 'hypervisor: auto, qemu or firecracker',
    default: 'auto',
  },
  accel: {
    flag: '--accel <name>',
    env: 'LULL_ACCEL',
    key: 'accel',
    shape: 'text',
    schema: z.enum(['auto', 'kvm', 'tcg']),
    description: 'auto, kvm (hardware) or tcg (emulation: for development, no security boundary)',
    default: 'auto',
  },
  buildEnv: {
    flag: '--build-env <name=value>',
    env: 'LULL_BUILD_ENV',
    key: 'build.env',
    shape: 'map',
    schema: pairs,
    description: 'proxy variable of RUN in builds (http_proxy, https_proxy, no_proxy, …); may be repeated',
    default: {},
  },
  buildFile: {
    flag: '--build-file <file=target>',
    env: 'LULL_BUILD_FILE',
    key: 'build.files',
    shape: 'map',
    schema: pairs,
    description: 'show a file of this machine to every RUN (apt.conf, pip.conf, .npmrc, certificates); may be repeated',
    default: {},
  },
  buildNetwork: {
    flag: '--build-network <cidr>',
    env: 'LULL_BUILD_NETWORK',
    key: 'build.networks',
    shape: 'list',
    schema: z.array(network),
    description: 'let RUN reach a private network, such as that of a registry; may be repeated',
    default: [],
  },
  egress: {
    flag: '--egress <how>',
    env: 'LULL_EGRESS',
    key: 'egress.mode',
    shape: 'text',
    schema: z.enum(['auto', 'none']),
    description: 'whether microVMs with INTERNET_EGRESS reach the internet (needs root and nftables): auto or none',
    default: 'auto',
  },
  egressNetwork: {
    flag: '--egress-network <cidr>',
    env: 'LULL_EGRESS_NETWORK',
    key: 'egress.networks',
    shape: 'list',
    schema: z.array(network),
    description: 'let microVMs reach a private network by TCP; may be repeated',
    default: [],
  },
  egressResolver: {
    flag: '--egress-resolver <address>',
    env: 'LULL_EGRESS_RESOLVER',
    key: 'egress.resolver',
    shape: 'text',
    schema: z.ipv4(),
    description: 'where microVMs ask for names',
    shownDefault: "the host's first resolver that is not on its loopback",
  },
  baseMap: {
    flag: '--base-map <from=image>',
    env: 'LULL_BASE_MAP',
    key: 'build.base-map',
    shape: 'map',
    schema: pairs,
    description: 'build on another image than FROM names; may be repeated',
    default: {},
  },
  buildsAtOnce: {
    flag: '--builds-at-once <n>',
    env: 'LULL_BUILDS_AT_ONCE',
    key: 'build.at-once',
    shape: 'count',
    schema: count,
    description: 'builds that run at the same time; the others wait',
    // Each is a `buildah` and a virtual machine: two keep a small host usable.
    default: 2,
  },
  roleCheck: {
    flag: '--role-check <which>',
    env: 'LULL_ROLE_CHECK',
    key: 'role-check',
    shape: 'text',
    schema: z.enum(ROLE_CHECKS),
    description: 'roles that must exist where they are named: off, own-account, or strict (those of other accounts are refused)',
    default: 'own-account',
  },
  logRetentionDays: {
    flag: '--log-retention-days <n>',
    env: 'LULL_LOG_RETENTION_DAYS',
    key: 'logs.retention-days',
    shape: 'count',
    schema: count,
    description: 'how long the logs of microVMs that have ended and of builds are kept',
    default: 30,
  },
  logMaxMib: {
    flag: '--log-max-mib <mib>',
    env: 'LULL_LOG_MAX_MIB',
    key: 'logs.max-mib',
    shape: 'count',
    schema: count,
    description: 'how much they may take; the oldest go first',
    default: 1024,
  },
  architecture: {
    flag: '--architecture <rule>',
    env: 'LULL_ARCHITECTURE',
    key: 'build.architecture',
    shape: 'text',
    schema: z.enum(['host', 'strict']),
    description: "host builds every image for this machine; strict refuses cpuConfigurations that are not this machine's",
    default: 'host',
  },
  hookTimeoutScale: {
    flag: '--hook-timeout-scale <n>',
    env: 'LULL_HOOK_TIMEOUT_SCALE',
    key: 'hooks.timeout-scale',
    shape: 'count',
    schema: countUpTo(MAX_HOOK_TIMEOUT_SCALE),
    description: `factor on the time-outs of hooks, up to ${MAX_HOOK_TIMEOUT_SCALE}`,
    shownDefault: '1 with KVM, 10 without',
  },
  onSuspendHookFailure: {
    flag: '--on-suspend-hook-failure <what>',
    env: 'LULL_ON_SUSPEND_HOOK_FAILURE',
    key: 'hooks.on-suspend-failure',
    shape: 'text',
    schema: z.enum(SUSPEND_HOOK_FAILURES),
    description: 'a microVM whose suspend hook fails: terminate ends it, as AWS does; keepRunning lets it run on',
    default: 'terminate',
  },
  limits: {
    flag: '--limits <whose>',
    env: 'LULL_LIMITS',
    key: 'limits',
    shape: 'text',
    schema: z.enum(['none', 'aws']),
    description: "calls per second, and what endpoints carry: none is unlimited, aws is AWS's figures",
    default: 'none',
  },
  quota: {
    flag: '--quota <name=value>',
    env: 'LULL_QUOTA',
    key: 'quotas',
    shape: 'map',
    schema: z.partialRecord(z.enum(ADJUSTABLE_QUOTAS), count),
    description: `quota of its own: ${ADJUSTABLE_QUOTAS.join(', ')}; may be repeated`,
    default: {},
    shownDefault: "memory (MiB) from the host's, images=100, versions=50, builds=22",
  },
  logLevel: {
    flag: '--log-level <level>',
    env: 'LULL_LOG_LEVEL',
    key: 'log-level',
    shape: 'text',
    schema: z.enum(LOG_LEVELS),
    description: LOG_LEVELS.join(', '),
    default: 'info',
  },
} as const satisfies Record<string, OptionRow>;

type Rows = typeof SERVER_OPTIONS;
export type OptionName = keyof Rows;
type Value<R extends OptionRow> = R extends { readonly default: unknown } ? z.output<R['schema']> : z.output<R['schema']> | undefined;
/** The value of each option, checked. */
export type OptionValue<N extends OptionName> = Value<Rows[N]>;

export const OPTION_ROWS: readonly (readonly [OptionName, OptionRow])[] = Object.entries(SERVER_OPTIONS) as [OptionName, OptionRow][];

/** The default as the file would say it; undefined where there is none. */
export function defaultOf(row: OptionRow, surroundings: Surroundings): unknown {
  return typeof row.default === 'function' ? (row.default as (from: Surroundings) => unknown)(surroundings) : row.default;
}

/** May be given more than once. */
export const isRepeatable = ({ shape }: OptionRow) => shape === 'list' || shape === 'map';

/** The default in the words of `--help`; undefined where there is nothing to tell. */
export function defaultText(row: OptionRow): string | undefined {
  if (row.shownDefault !== undefined) return row.shownDefault === '' ? undefined : row.shownDefault;
  return typeof row.default === 'string' || typeof row.default === 'number' ? String(row.default) : undefined;
}
