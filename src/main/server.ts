/** The server: everything made, wired and started in one place, released in the reverse order. */
import { existsSync, mkdirSync, realpathSync } from 'node:fs';
import type { Server } from 'node:http';
import { Server as TlsServer } from 'node:tls';
import { pino, type Logger } from 'pino';
import { createGuestServer, type GuestServer } from '../api/guest-server.ts';
import { closeMetrics, createMetricsServer } from '../api/metrics-server.ts';
import { createApi } from '../api/server.ts';
import { createConnectorUseCases } from '../control/connectors/use-cases.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import { createKeyUseCases } from '../control/keys.ts';
import { LogCatalogue } from '../control/logs/log-catalogue.ts';
import { LogRetention } from '../control/logs/log-retention.ts';
import { createLogUseCases } from '../control/logs/log-use-cases.ts';
import type { Traffic } from '../control/microvms/traffic.ts';
import type { Microvms } from '../control/microvms/use-cases.ts';
import { createQuotaUseCases } from '../control/quota-use-cases.ts';
import type { Reconciler } from '../control/reconciler.ts';
import { createIntegrityUseCases } from '../control/integrity.ts';
import { createGarbageUseCases } from '../control/garbage.ts';
import { createRoleUseCases } from '../control/roles/role-use-cases.ts';
import { createTagUseCases } from '../control/tags.ts';
import { defaultHookTimeoutScale } from '../domain/hooks.ts';
import { quotasOf, ratesOf } from '../domain/quotas.ts';
import type { Clock, EndpointTokens, Store } from '../domain/ports.ts';
import { createBuildLogFiles } from '../image/build-log-files.ts';
import { DiskSpace } from '../host/disk-space.ts';
import { ServerMetrics } from '../metrics/server-metrics.ts';
import type { Effects } from '../lib/effects.ts';
import { Files } from '../lib/files.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { TLS_TERMS } from '../lib/tls-terms.ts';
import { awsAllowance } from '../proxy/allowance.ts';
import { createProxy, type Proxy } from '../proxy/server.ts';
import { createEndpointTokens } from '../proxy/tokens.ts';
import { FileInspection } from '../runtime/file-inspection.ts';
import { hostToolPath } from '../setup/confinement.ts';
import { loadPlatform } from '../setup/platform.ts';
import { noteUser } from '../setup/platform-users.ts';
import { lockDataFolder } from '../store/data-lock.ts';
import type { Driver } from '../vmm/driver.ts';
import type { CertificateWatch } from './certificate-watch.ts';
import { chooseDriver } from './choose-driver.ts';
import { lazyContainerBuilder, type LazyContainerBuilder } from './container-builder.ts';
import { openEngine, type EngineGround, type Outward } from './engine.ts';
import { garbageSources } from './garbage-sources.ts';
import { listenApi, listenEndpoints, listenMetrics } from './listeners.ts';
import type { ServerOptions } from './options.ts';
import { MetricsTokenWatch } from './metrics-token.ts';
import { openCertificates, type ServedCertificates } from './served-certificates.ts';
import { announceServer, ensureCredentials, realmOf } from './server-files.ts';
import { defaultMemoryQuotaMib, hostCapacity, systemClock, systemRandom } from './system-ports.ts';
import { VERSION } from './version.ts';

/** What a started server can be asked. */
export interface RunningServer {
  readonly apiUrl: string;
  readonly endpointPort: number;
  readonly driver: Driver;
  /** Resolves when `lull down` has been obeyed: the server should then be stopped. */
  readonly stopRequested: Promise<void>;
  /** Looks now whether the operator's certificates and token have been renewed. */
  reload(): Promise<void>;
  /** How many microVMs would run on. */
  runningMicrovms(): Promise<number>;
  /** Stops serving; microVMs run on. */
  stop(): Promise<void>;
}

export interface ServerEnvironment {
  /** Log lines go here (a file descriptor's number or a stream); nowhere without. */
  readonly logTo?: NodeJS.WritableStream;
  /** Whether KVM runs guests on this machine. */
  readonly kvmWorks: () => Promise<boolean>;
  /** Who hears of what leaves a mark; nobody without. No option leads here: tests start a server of their own. */
  readonly effects?: Effects;
  /** The system's without. */
  readonly clock?: Clock;
}

const MIB = 1024 ** 2;

/**
 * Starts a server.
 * @throws LullError where the data folder is in use, an address is taken, or the machine is not set up
 */
export async function startServer(given: ServerOptions, environment: ServerEnvironment): Promise<RunningServer> {
  const options = withRealFolders(given);
  const { clock = systemClock } = environment;
  await using stack = new AsyncDisposableStack();
  const platform = await loadPlatform(options.platformFolder);
  stack.use(lockDataFolder(options.dataFolder));
  const log = pino({ level: options.logLevel }, environment.logTo ?? { write: () => undefined });
  const drivers = await chooseDriver(options, platform, environment.kvmWorks);
  const driver = drivers.current;
  const watching = { clock, log };
  const certificates = stack.use(await openCertificates(options, watching));
  const { tokenFile } = options.metrics;
  const metricsToken = tokenFile && stack.use(await MetricsTokenWatch.open(tokenFile, watching));
  const realm = await realmOf(options.dataFolder, options.realm);
  const quotas = quotasOf(options.quotas, defaultMemoryQuotaMib());
  const hookTimeoutScale = options.hookTimeoutScale ?? defaultHookTimeoutScale(driver.accelerator);
  const containers = stack.use(lazyContainerBuilder(options, platform, log));
  const ground = { options, realm, quotas, hookTimeoutScale, platform, drivers, containers, space: new DiskSpace(), files: new Files(environment.effects), clock, log };
  const parts = await openParts(stack, { ...ground, certificates, metricsToken });
  const listeners = await listen(stack, parts);
  const held = stack.move();
  return {
    ...listeners,
    driver,
    stopRequested: parts.stopRequested,
    runningMicrovms: async () => (await parts.store.microvms.inStates(['RUNNING'])).length,
    reload: async () => void (await Promise.all([certificates.reload(), metricsToken?.check()])),
    stop: () => held.disposeAsync(),
  };
}

interface Ground extends EngineGround {
  readonly containers: LazyContainerBuilder;
  readonly certificates: ServedCertificates;
  readonly metricsToken: MetricsTokenWatch | undefined;
  readonly log: Logger;
}

type Parts = Awaited<ReturnType<typeof openParts>>;

/** Made in the course of opening the engine, and asked for only once there are microVMs. */
interface Front {
  metrics?: ServerMetrics;
  proxy?: Proxy;
  guests?: GuestServer;
  microvms?: Microvms;
}

async function openParts(stack: AsyncDisposableStack, ground: Ground) {
  const { options, drivers, files, log } = ground;
  const front: Front = {};
  const engine = await openEngine(stack, ground, outwardOf(ground, front));
  const { store, blobs, layout, applicationLogs, tokens, microvms, images, reconciler, recover } = engine;
  const metrics = front.metrics!;
  front.microvms = microvms;
  const proxy = (front.proxy = makeProxy(ground, { tokens, metrics, traffic: () => microvms.traffic }));
  const ports = { store, realm: ground.realm, clock: ground.clock, random: systemRandom };
  const ownKeyId = await ensureCredentials({ ...ports, files, dataFolder: options.dataFolder, keys: store.accessKeys });
  const buildLogs = createBuildLogFiles(files, (snapshotId) => layout.snapshot(snapshotId).dir);
  const catalogue = new LogCatalogue({ streams: store.logs, files: { microvm: applicationLogs, build: buildLogs } });
  const logRetention = stack.use(logRetentionOf(ground, catalogue));
  // It reads every manifest, which nobody who starts has to wait for.
  const noted = noteUser(options.platformFolder, options.dataFolder, ground.platform).catch((err: unknown) => log.warn({ err }, 'the platform folder takes no note of its users'));
  stack.defer(() => noted);
  const { control, stopRequested } = controlPlane({
    images,
    microvms,
    driver: drivers.current,
    metrics,
    reconciler,
    disks: disksOf(ground),
    connectors: createConnectorUseCases(ports),
    tags: createTagUseCases(ports),
    keys: createKeyUseCases({ ...ports, ownKeyId }),
    roles: createRoleUseCases({ ...ports, roles: store.roles }),
    logs: createLogUseCases(catalogue, ground.clock),
    integrity: createIntegrityUseCases({ ...ports, inspect: () => new FileInspection({ layout, hostTool: hostToolPath(ground.platform) }) }),
    garbage: createGarbageUseCases({ sources: garbageSources(ground, { ...engine, containers: ground.containers, logRetention, catalogue }), log }),
    quotas: createQuotaUseCases({ quotas: ground.quotas, hostMemoryMib: defaultMemoryQuotaMib() }),
  });
  const completions = new KeyedQueue();
  const guests = (front.guests = await createGuestServer({ ...ports, microvms: control.microvms, blobs, completions, log }));
  stack.defer(() => guests.close());
  return { ...ground, store, blobs, completions, proxy, recover, logRetention, control, stopRequested };
}

function outwardOf(ground: Ground, front: Front): Outward {
  return {
    attend: (store) => {
      const counts = { connections: () => front.proxy!.connections(), stoppedByDisk: () => front.microvms!.stoppedByDisk.count };
      const metrics = (front.metrics = makeMetrics(ground, store, counts));
      return {
        tokens: createEndpointTokens({ keys: store.tokenKeys, clock: ground.clock, random: systemRandom }),
        microvmEnded: (microvmId) => metrics.microvmEnded(microvmId),
        operationEnded: (operation, steps) => metrics.operationEnded(operation, steps),
        counted: (builder) => metrics.counted(builder),
      };
    },
    forgetConnections: (microvmId) => front.proxy!.forget(microvmId),
    guestConnected: (microvmId, service, connection) => front.guests!.connect(microvmId, service, connection),
  };
}

function logRetentionOf({ options, clock, log }: Ground, catalogue: LogCatalogue): LogRetention {
  const { retentionDays: daysKept, maxMib } = options.logs;
  return new LogRetention({ catalogue, log, clock, daysKept, maxBytes: maxMib * MIB });
}

type ControlParts = Omit<ControlPlane, 'microvms' | 'server'> & { readonly microvms: Microvms; readonly driver: Driver; readonly metrics: ServerMetrics; readonly reconciler: Reconciler; readonly disks: Disks };

function controlPlane({ microvms, driver, metrics, reconciler, disks, ...rest }: ControlParts) {
  const stop = Promise.withResolvers<void>();
  const control: ControlPlane = {
    ...rest,
    microvms: microvms.useCases,
    server: {
      health: async () => {
        const [data, platform] = await Promise.all([disks.data(), disks.platform()]);
        const { name, accelerator } = driver;
        const { count: stoppedByDisk } = microvms.stoppedByDisk;
        return { status: 'ok', version: VERSION, driver: name, accelerator, reconciler: reconciler.figures, disks: { data, platform }, stoppedByDisk };
      },
      metrics: () => metrics.text(),
      suspendAllAndStop: async () => {
        const suspended = await microvms.suspendAll();
        stop.resolve();
        return { suspended };
      },
    },
  };
  return { control, stopRequested: stop.promise };
}

/** The disks that fill up. */
type Disks = ReturnType<typeof disksOf>;

const disksOf = ({ options, space }: Pick<Ground, 'options' | 'space'>) => ({
  data: () => space.figures(options.dataFolder),
  platform: () => space.figures(options.platformFolder),
});

/** Counted elsewhere, and asked for only once there are microVMs. */
interface Counts {
  readonly connections: () => number;
  readonly stoppedByDisk: () => number;
}

function makeMetrics({ options, certificates, quotas, drivers: { current: driver }, space, log }: Ground, store: Store, { connections, stoppedByDisk }: Counts): ServerMetrics {
  const { api, endpoint } = certificates;
  return new ServerMetrics({
    about: { version: VERSION, driver: driver.name, accelerator: driver.accelerator },
    microvms: store.microvms,
    memoryQuotaMib: quotas.memory,
    disks: disksOf({ options, space }),
    stoppedByDisk: () => stoppedByDisk(),
    availableMib: () => hostCapacity.availableMib(),
    certificates: () => ({ endpoint: endpoint.expiresAtMs, ...(api === undefined ? {} : { api: api.expiresAtMs }) }),
    connections,
    maxSeries: options.metrics.maxSeries,
    log,
  });
}

interface ProxyGround {
  readonly tokens: EndpointTokens;
  readonly metrics: ServerMetrics;
  /** Asked for only once there are requests, when everything is wired. */
  readonly traffic: () => Traffic;
}

function makeProxy({ options, certificates, clock, log }: Ground, { tokens, metrics, traffic }: ProxyGround): Proxy {
  const proxy = createProxy({
    destinations: {
      lookup: (endpointId) => traffic().lookup(endpointId),
      connect: (microvmId, port, signal) => traffic().connect(microvmId, port, signal),
      isAsleep: (microvmId) => traffic().isAsleep(microvmId),
      openShell: (microvmId, signal) => traffic().openShell(microvmId, signal),
      touched: (microvmId) => traffic().touched(microvmId),
    },
    tokens,
    clock,
    random: systemRandom,
    domain: options.domain,
    log,
    observer: metrics.exchanges,
    tls: certificates.endpoint.current,
    ...(options.quotas.limits === 'aws' ? { allowanceOf: awsAllowance } : {}),
  });
  certificates.endpoint.onChange((renewed) => proxy.setCertificate(renewed));
  return proxy;
}

async function listen(stack: AsyncDisposableStack, parts: Parts): Promise<{ apiUrl: string; endpointPort: number }> {
  const { options } = parts;
  const proxy = stack.use(parts.proxy);
  // Nothing is served before the store and the world agree again.
  await parts.recover();
  parts.logRetention.start();
  const endpointPort = await listenEndpoints(proxy, options);
  const api = makeApi(parts, endpointPort);
  stack.defer(() => api.close());
  const apiUrl = await listenApi(api, options);
  await serveMetrics(stack, parts);
  await announceServer(parts.files, options.dataFolder, { pid: process.pid, apiUrl, endpointPort, domain: options.domain, version: VERSION });
  return { apiUrl, endpointPort };
}

async function serveMetrics(stack: AsyncDisposableStack, { options, certificates, metricsToken, control, log }: Parts): Promise<void> {
  const { listen: address } = options.metrics;
  if (address === undefined) return;
  const server = createMetricsServer({ control, token: metricsToken && (() => metricsToken.current), tls: certificates.api?.current, log });
  renewed(server, certificates.api);
  stack.defer(() => closeMetrics(server));
  await listenMetrics(server, address);
  server.on('error', (error) => log.error({ err: error }, 'the listener of the metrics failed'));
}

/** Has a server show what comes into force. */
function renewed(server: Server, watch: CertificateWatch | undefined): void {
  if (server instanceof TlsServer) watch?.onChange(({ cert, key }) => server.setSecureContext({ cert, key, ...TLS_TERMS }));
}

function makeApi(parts: Parts, endpointPort: number): ReturnType<typeof createApi> {
  const { options, certificates, metricsToken, realm, quotas, control, store, blobs, completions, clock, log } = parts;
  const api = createApi({
    control,
    store,
    blobs,
    completions,
    log,
    clock,
    random: systemRandom,
    realm,
    apiHosts: options.apiHosts,
    rates: ratesOf(quotas),
    endpointHost: (endpointId) => `${endpointId}.${options.domain}${endpointPort === 443 ? '' : `:${endpointPort}`}`,
    metricsToken: metricsToken && (() => metricsToken.current),
    ...(certificates.api === undefined ? {} : { tls: certificates.api.current }),
  });
  renewed(api.server, certificates.api);
  return api;
}

/** One name for each folder, whatever links lead there: processes and sockets are found again by it. */
function withRealFolders(options: ServerOptions): ServerOptions {
  const real = (folder: string) => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return realpathSync(folder);
  };
  return {
    ...options,
    dataFolder: real(options.dataFolder),
    runtimeFolder: real(options.runtimeFolder),
    platformFolder: existsSync(options.platformFolder) ? realpathSync(options.platformFolder) : options.platformFolder,
  };
}
