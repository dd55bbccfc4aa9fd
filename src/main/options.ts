/** What a server is started with, put together from its settings. */
import type { RoleCheck } from '../control/roles/pass-role.ts';
import { LullError } from '../domain/errors.ts';
import type { OnSuspendHookFailure } from '../domain/hooks.ts';
import type { QuotaChoice } from '../domain/quotas.ts';
import type { CertificateFiles, NamedFile } from './certificate-files.ts';
import type { ListenAddress } from './option-values.ts';
import type { LOG_LEVELS, Surroundings } from './option-table.ts';
import { askedRealm, type AskedRealm } from './server-files.ts';
import { DEFAULT, gatherSettings, type OptionValues, type Setting, type Settings } from './settings.ts';

/** Everything that a server is started with. */
export interface ServerOptions {
  readonly dataFolder: string;
  /** Short, for Unix sockets: their paths hold 107 bytes. */
  readonly runtimeFolder: string;
  readonly platformFolder: string;
  /** As given; what is left out is the data folder's own. */
  readonly realm: AskedRealm;
  readonly listen: ListenAddress;
  /** Names of the API besides its own, below which the first label is a bucket. */
  readonly apiHosts: readonly string[];
  readonly endpointListen: readonly ListenAddress[];
  /** Nobody named the endpoints' listeners: one that the machine does not have (`::1`) is a warning, not an error. */
  readonly endpointListenIsDefault: boolean;
  readonly driver: 'auto' | 'qemu' | 'firecracker';
  readonly accel: 'auto' | 'kvm' | 'tcg';
  /** Parent of the endpoints' host names. */
  readonly domain: string;
  /** The API's certificate; plain HTTP without. */
  readonly apiCertificate: CertificateFiles | undefined;
  /** Who signed it, where nobody knows that without being told. */
  readonly apiAuthority: NamedFile | undefined;
  readonly insecureListen: boolean;
  /** The operator's own wildcard certificate for the endpoints; one of the local CA without. */
  readonly endpointCertificate: CertificateFiles | undefined;
  readonly metrics: {
    /** The API's listener alone without. */
    readonly listen: ListenAddress | undefined;
    readonly tokenFile: NamedFile | undefined;
    /** How many microVMs may have series of their own. */
    readonly maxSeries: number;
  };
  /** Proxy variables of `RUN`. */
  readonly buildEnvironment: Readonly<Record<string, string>>;
  /** Files that every `RUN` sees, by path here: their path there. */
  readonly buildFiles: Readonly<Record<string, string>>;
  /** Private networks (CIDR) that `RUN` may reach. */
  readonly buildNetworks: readonly string[];
  readonly egress: 'auto' | 'none';
  readonly egressNetworks: readonly string[];
  readonly egressResolver: string | undefined;
  /** What a name in `FROM` stands for instead: `public.ecr.aws/lambda/python:3.13` → `lull/python`. */
  readonly baseMap: Readonly<Record<string, string>>;
  /** Which roles must be there where they are named. */
  readonly roleCheck: RoleCheck;
  readonly logs: { readonly retentionDays: number; readonly maxMib: number };
  readonly buildsAtOnce: number;
  readonly architecture: 'host' | 'strict';
  /** From the accelerator without. */
  readonly hookTimeoutScale: number | undefined;
  readonly onSuspendHookFailure: OnSuspendHookFailure;
  readonly quotas: QuotaChoice;
  readonly logLevel: (typeof LOG_LEVELS)[number];
}

/** @throws LullError validation: one line that names the option */
export const parseServerOptions = (values: OptionValues, surroundings: Surroundings): ServerOptions =>
  serverOptions(gatherSettings(values, surroundings));

/** Settings as the server takes them. @throws LullError validation where two of them do not fit together */
export function serverOptions(settings: Settings): ServerOptions {
  const apiCertificate = certificate(settings, 'api');
  if (settings.apiCa.value !== undefined && apiCertificate === undefined) {
    throw new LullError('validation', '--api-ca belongs to --api-cert and --api-key.');
  }
  const { host } = settings.listen.value;
  if (!isLoopback(host) && apiCertificate === undefined && !settings.insecureListen.value) {
    throw new LullError('validation', `--listen ${host} is not a loopback address: give --api-cert and --api-key, or --insecure-listen.`);
  }
  return {
    dataFolder: settings.data.value,
    runtimeFolder: settings.runtime.value,
    platformFolder: settings.platform.value,
    realm: askedRealm(settings),
    listen: settings.listen.value,
    apiHosts: settings.apiHost.value,
    endpointListen: settings.endpointListen.value,
    endpointListenIsDefault: settings.endpointListen.source === DEFAULT,
    driver: settings.driver.value,
    accel: settings.accel.value,
    domain: settings.domain.value,
    apiCertificate,
    apiAuthority: named(settings.apiCa),
    insecureListen: settings.insecureListen.value,
    endpointCertificate: certificate(settings, 'endpoint'),
    metrics: metricsOptions(settings),
    buildEnvironment: settings.buildEnv.value,
    buildFiles: settings.buildFile.value,
    buildNetworks: settings.buildNetwork.value,
    egress: settings.egress.value,
    egressNetworks: settings.egressNetwork.value,
    egressResolver: settings.egressResolver.value,
    baseMap: settings.baseMap.value,
    roleCheck: settings.roleCheck.value,
    logs: { retentionDays: settings.logRetentionDays.value, maxMib: settings.logMaxMib.value },
    buildsAtOnce: settings.buildsAtOnce.value,
    architecture: settings.architecture.value,
    hookTimeoutScale: settings.hookTimeoutScale.value,
    onSuspendHookFailure: settings.onSuspendHookFailure.value,
    quotas: { limits: settings.limits.value, given: settings.quota.value },
    logLevel: settings.logLevel.value,
  };
}

const named = ({ value, label }: Setting<string | undefined>): NamedFile | undefined => (value === undefined ? undefined : { path: value, option: label });

/** A listener that others reach takes the API's certificate, and a token. */
function metricsOptions(settings: Settings): ServerOptions['metrics'] {
  const { metricsListen, metricsTokenFile, metricsMicrovms, insecureListen, apiCert } = settings;
  const tokenFile = named(metricsTokenFile);
  const listen = metricsListen.value;
  if (listen !== undefined && !isLoopback(listen.host)) {
    const refused = `--metrics-listen ${listen.host} is not a loopback address:`;
    if (tokenFile === undefined) throw new LullError('validation', `${refused} give --metrics-token-file.`);
    if (apiCert.value === undefined && !insecureListen.value) {
      throw new LullError('validation', `${refused} give --api-cert and --api-key, or --insecure-listen.`);
    }
  }
  return { listen, tokenFile, maxSeries: metricsMicrovms.value ?? 0 };
}

function certificate(settings: Settings, which: 'api' | 'endpoint'): CertificateFiles | undefined {
  const [cert, key] = [settings[`${which}Cert`], settings[`${which}Key`]];
  if (cert.value !== undefined && key.value !== undefined) {
    return { cert: { path: cert.value, option: cert.label }, key: { path: key.value, option: key.label } };
  }
  if (cert.value === undefined && key.value === undefined) return undefined;
  throw new LullError('validation', `--${which}-cert and --${which}-key belong together.`);
}

/** True for addresses and names that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
