/** The server: everything made, wired and started in one place, released in the reverse order. */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { Server } from 'node:http';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Server as TlsServer } from 'node:tls';
import { pino, type Logger } from 'pino';
import { createGuestServer, type GuestServer } from '../api/guest-server.ts';
import { closeMetrics, createMetricsServer } from '../api/metrics-server.ts';
import { createApi } from '../api/server.ts';
import { createConnectorUseCases } from '../control/connectors/use-cases.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import { createImageUseCases, type ImageControl } from '../control/images/image-use-cases.ts';
import type { ImageLimits } from '../control/images/context.ts';
import { managedImages } from '../control/images/managed.ts';
import { createKeyUseCases } from '../control/keys.ts';
import { LogCatalogue } from '../control/logs/log-catalogue.ts';
import { LogRetention } from '../control/logs/log-retention.ts';
import { createLogUseCases } from '../control/logs/log-use-cases.ts';
import type { Traffic } from '../control/microvms/traffic.ts';
import { Microvms } from '../control/microvms/use-cases.ts';
import { createQuotaUseCases } from '../control/quota-use-cases.ts';
import { createPassRole, type PassRole } from '../control/roles/pass-role.ts';
import { createRoleUseCases } from '../control/roles/role-use-cases.ts';
import { createTagUseCases } from '../control/tags.ts';
import { LullError } from '../domain/errors.ts';
import type { Realm } from '../domain/ids.ts';
import type { Platform } from '../domain/platform.ts';
import { defaultHookTimeoutScale } from '../domain/hooks.ts';
import { quotasOf, ratesOf, type Quotas } from '../domain/quotas.ts';
import type { EndpointTokens, RuntimeObserver, Store } from '../domain/ports.ts';
import { createBuildLogs } from '../image/build-log.ts';
import { createBuildLogFiles } from '../image/build-log-files.ts';
import { createImageBuilder } from '../image/builder.ts';
import { ServerMetrics } from '../metrics/server-metrics.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { TLS_TERMS } from '../lib/tls-terms.ts';
import { awsAllowance } from '../proxy/allowance.ts';
import { createProxy, type Proxy } from '../proxy/server.ts';
import { createEndpointTokens } from '../proxy/tokens.ts';
import { ApplicationLogs } from '../runtime/application-logs.ts';
import { DataLayout } from '../runtime/data-layout.ts';
import { HostRuntime } from '../runtime/host-runtime.ts';
import { MemoryWorkers } from '../runtime/memory-workers.ts';
import { SnapshotMaker } from '../runtime/snapshot-maker.ts';
import { Snapshots } from '../runtime/snapshots.ts';
import { loadPlatform } from '../setup/platform.ts';
import { openBlobs } from '../store/blobs.ts';
import { lockDataFolder } from '../store/data-lock.ts';
import { openStore } from '../store/store.ts';
import type { Driver } from '../vmm/driver.ts';
import type { CertificateWatch } from './certificate-watch.ts';
import { chooseDriver, hostToolPath } from './choose-driver.ts';
import { lazyContainerBuilder } from './container-builder.ts';
import { listenApi, listenEndpoints, listenMetrics } from './listeners.ts';
import type { ServerOptions } from './options.ts';
import { readMetricsToken } from './metrics-token.ts';
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
  /** Looks now whether the operator's certificates have been renewed. */
  reloadCertificates(): Promise<void>;
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
}

/** S3 keeps unfinished uploads for ever, or as long as a rule says; a week is the rule that its console proposes. */
const UPLOAD_LIFE_MS = 7 * 24 * 3_600_000;
const MIB = 1024 ** 2;

/**
 * Starts a server.
 * @throws LullError where the data folder is in use, an address is taken, or the machine is not set up
 */
export async function startServer(given: ServerOptions, environment: ServerEnvironment): Promise<RunningServer> {
  const options = withRealFolders(given);
  await using stack = new AsyncDisposableStack();
  const platform = await loadPlatform(options.platformFolder);
  stack.use(lockDataFolder(options.dataFolder));
  const log = pino({ level: options.logLevel }, environment.logTo ?? { write: () => undefined });
  const driver = await chooseDriver(options, platform, environment.kvmWorks);
  const certificates = stack.use(await openCertificates(options, { clock: systemClock, log }));
  const metricsToken = options.metrics.tokenFile && (await readMetricsToken(options.metrics.tokenFile));
  const realm = await realmOf(options.dataFolder, options.realm);
  const quotas = quotasOf(options.quotas, defaultMemoryQuotaMib());
  const hookTimeoutScale = options.hookTimeoutScale ?? defaultHookTimeoutScale(driver.accelerator);
  const parts = await openParts(stack, { options, certificates, metricsToken, realm, quotas, hookTimeoutScale, platform, driver, log });
  const listeners = await listen(stack, parts);
  const held = stack.move();
  return {
    ...listeners,
    driver,
    stopRequested: parts.stopRequested,
    runningMicrovms: async () => (await parts.store.microvms.inStates(['RUNNING'])).length,
    reloadCertificates: () => certificates.reload(),
    stop: () => held.disposeAsync(),
  };
}

interface Ground {
  readonly options: ServerOptions;
  readonly certificates: ServedCertificates;
  readonly metricsToken: string | undefined;
  readonly realm: Realm;
  readonly quotas: Quotas;
  readonly hookTimeoutScale: number;
  readonly platform: Platform;
  readonly driver: Driver;
  readonly log: Logger;
}

type Parts = Awaited<ReturnType<typeof openParts>>;

async function openParts(stack: AsyncDisposableStack, ground: Ground) {
  const { options, driver, log } = ground;
  const runtimeFolder = runtimeFolderOf(options);
  const layout = new DataLayout(options.dataFolder, runtimeFolder);
  await mkdir(layout.microvmsDir, { recursive: true, mode: 0o700 });
  const store = stack.use(await openStore({ path: join(options.dataFolder, 'lull.db'), log }));
  await store.uploads.forgetBefore(systemClock.nowMs() - UPLOAD_LIFE_MS);
  const blobs = await openBlobs(join(options.dataFolder, 'objects'), { keep: await store.objects.blobIds() });
  const workers = stack.use(new MemoryWorkers());
  const snapshots = new Snapshots(layout, driver.placement);
  const applicationLogs = new ApplicationLogs(layout, systemClock);
  const runtime = new HostRuntime({
    layout,
    logs: applicationLogs,
    driver,
    workers,
    snapshots,
    clock: systemClock,
    random: systemRandom,
    observer: observerOf(() => ({ microvms, guests })),
    network: () => ({ kind: 'none' }),
  });
  stack.defer(() => runtime.detach());
  const tokens = createEndpointTokens({ keys: store.tokenKeys, clock: systemClock, random: systemRandom });
  const metrics = makeMetrics(ground, store, () => proxy.connections());
  const proxy = makeProxy(ground, { tokens, metrics, traffic: () => microvms.traffic });
  const { realm } = ground;
  const ports = { store, realm, clock: systemClock, random: systemRandom };
  const passRole = createPassRole({ roles: store.roles, realm, check: options.roleCheck });
  const microvms: Microvms = stack.use(
    new Microvms({
      ...ports,
      runtime,
      tokens,
      log,
      passRole,
      capacity: hostCapacity,
      memoryQuotaMib: ground.quotas.memory,
      hookTimeoutScale: ground.hookTimeoutScale,
      onSuspendHookFailure: options.onSuspendHookFailure,
      forgetConnections: (microvmId) => proxy.forget(microvmId),
      onEnd: ({ microvmId, snapshotId }) => {
        metrics.microvmEnded(microvmId);
        images.microvmEnded(snapshotId);
      },
      onOperation: (operation, steps) => metrics.operationEnded(operation, steps),
    }),
  );
  const ownKeyId = await ensureCredentials({ ...ports, dataFolder: options.dataFolder, keys: store.accessKeys });
  const images: ImageControl = stack.use(imageControl(stack, ground, { layout, workers, snapshots, store, blobs, passRole, metrics }));
  const buildLogs = createBuildLogFiles((snapshotId) => layout.snapshot(snapshotId).dir);
  const catalogue = new LogCatalogue({ streams: store.logs, files: { microvm: applicationLogs, build: buildLogs } });
  const logRetention = stack.use(logRetentionOf(ground, catalogue));
  const { control, stopRequested } = controlPlane({
    images,
    microvms,
    driver,
    metrics,
    connectors: createConnectorUseCases(ports),
    tags: createTagUseCases(ports),
    keys: createKeyUseCases({ ...ports, ownKeyId }),
    roles: createRoleUseCases({ ...ports, roles: store.roles }),
    logs: createLogUseCases(catalogue, systemClock),
    quotas: createQuotaUseCases({ quotas: ground.quotas, hostMemoryMib: defaultMemoryQuotaMib() }),
  });
  const completions = new KeyedQueue();
  const guests: GuestServer = await createGuestServer({ ...ports, microvms: control.microvms, blobs, completions, log });
  stack.defer(() => guests.close());
  return { ...ground, store, blobs, completions, proxy, microvms, images, logRetention, control, stopRequested };
}

function logRetentionOf({ options, log }: Ground, catalogue: LogCatalogue): LogRetention {
  const { retentionDays: daysKept, maxMib } = options.logs;
  return new LogRetention({ catalogue, log, clock: systemClock, daysKept, maxBytes: maxMib * MIB });
}

/** @param parts asked for only once there are microVMs, when everything is wired */
const observerOf = (parts: () => { microvms: Microvms; guests: GuestServer }): RuntimeObserver => ({
  vmmDied: (id, process) => parts().microvms.vmmDied(id, process),
  agentLost: (id) => parts().microvms.agentLost(id),
  applicationExited: (id, code) => parts().microvms.applicationExited(id, code),
  guestConnected: (id, service, connection) => parts().guests.connect(id, service, connection),
});

interface ImageGround {
  readonly layout: DataLayout;
  readonly workers: MemoryWorkers;
  readonly snapshots: Snapshots;
  readonly store: Awaited<ReturnType<typeof openStore>>;
  readonly blobs: Awaited<ReturnType<typeof openBlobs>>;
  readonly passRole: PassRole;
  readonly metrics: ServerMetrics;
}

function imageControl(stack: AsyncDisposableStack, ground: Ground, { layout, workers, snapshots, store, blobs, passRole, metrics }: ImageGround) {
  const { options, realm, platform, driver, log } = ground;
  const containers = stack.use(lazyContainerBuilder(options, platform, log));
  const snapshotter = new SnapshotMaker({
    layout,
    driver,
    workers,
    kernelPath: platform.kernel.path,
    initramfsPath: platform.initramfs.path,
    hostTool: hostToolPath(platform),
    timeoutScale: ground.hookTimeoutScale,
    clock: systemClock,
    random: systemRandom,
  });
  const builder = createImageBuilder({
    containers,
    snapshotter,
    logs: createBuildLogs({ clock: systemClock }),
    snapshotDir: (snapshotId) => layout.snapshot(snapshotId).dir,
    contextsDir: containers.contextsDir,
    hostCores: availableParallelism(),
    architecture: platform.arch,
    onRemove: (snapshotId) => snapshots.forget(snapshotId),
  });
  return createImageUseCases({
    store,
    builder: metrics.counted(builder),
    blobs,
    log,
    clock: systemClock,
    random: systemRandom,
    realm,
    passRole,
    architecture: { host: platform.arch, isStrict: options.architecture === 'strict' },
    limits: imageLimits(ground),
    managed: managedImages(realm, platform.baseImages),
  });
}

/** Builds that run count against the quota too. */
function imageLimits({ options, quotas }: Ground): ImageLimits {
  const buildsAtOnce = Math.min(options.buildsAtOnce, quotas.builds);
  return { buildsAtOnce, buildsWaiting: quotas.builds - buildsAtOnce, images: quotas.images, versionsPerImage: quotas.versions };
}

type ControlParts = Omit<ControlPlane, 'microvms' | 'server'> & { readonly microvms: Microvms; readonly driver: Driver; readonly metrics: ServerMetrics };

function controlPlane({ microvms, driver, metrics, ...rest }: ControlParts) {
  const stop = Promise.withResolvers<void>();
  const control: ControlPlane = {
    ...rest,
    microvms: microvms.useCases,
    server: {
      health: () => ({ status: 'ok', version: VERSION, driver: driver.name, accelerator: driver.accelerator }),
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

function makeMetrics({ options, certificates, quotas, driver, log }: Ground, store: Store, connections: () => number): ServerMetrics {
  const { api, endpoint } = certificates;
  return new ServerMetrics({
    about: { version: VERSION, driver: driver.name, accelerator: driver.accelerator },
    microvms: store.microvms,
    memoryQuotaMib: quotas.memory,
    folders: { data: options.dataFolder, platform: options.platformFolder },
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

function makeProxy({ options, certificates, log }: Ground, { tokens, metrics, traffic }: ProxyGround): Proxy {
  const proxy = createProxy({
    destinations: {
      lookup: (endpointId) => traffic().lookup(endpointId),
      connect: (microvmId, port, signal) => traffic().connect(microvmId, port, signal),
      isAsleep: (microvmId) => traffic().isAsleep(microvmId),
      touched: (microvmId) => traffic().touched(microvmId),
    },
    tokens,
    clock: systemClock,
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
  const { options, microvms, images } = parts;
  const proxy = stack.use(parts.proxy);
  // Nothing is served before the store and the world agree again.
  await microvms.recover();
  await images.recover();
  parts.logRetention.start();
  const endpointPort = await listenEndpoints(proxy, options);
  const api = makeApi(parts, endpointPort);
  stack.defer(() => api.close());
  const apiUrl = await listenApi(api, options);
  await serveMetrics(stack, parts);
  await announceServer(options.dataFolder, { pid: process.pid, apiUrl, endpointPort, domain: options.domain, version: VERSION });
  return { apiUrl, endpointPort };
}

async function serveMetrics(stack: AsyncDisposableStack, { options, certificates, metricsToken: token, control, log }: Parts): Promise<void> {
  const { listen: address } = options.metrics;
  if (address === undefined) return;
  const server = createMetricsServer({ control, token, tls: certificates.api?.current, log });
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
  const { options, certificates, metricsToken, realm, quotas, control, store, blobs, completions, log } = parts;
  const api = createApi({
    control,
    store,
    blobs,
    completions,
    log,
    clock: systemClock,
    random: systemRandom,
    realm,
    apiHosts: options.apiHosts,
    rates: ratesOf(quotas),
    endpointHost: (endpointId) => `${endpointId}.${options.domain}${endpointPort === 443 ? '' : `:${endpointPort}`}`,
    metricsToken,
    ...(certificates.api === undefined ? {} : { tls: certificates.api.current }),
  });
  renewed(api.server, certificates.api);
  return api;
}

const WRITABLE_BY_OTHERS = 0o022;

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

/** Sockets of different data folders must not meet: each has a folder of its own, with a short name. */
function runtimeFolderOf(options: ServerOptions): string {
  const mark = createHash('sha256').update(options.dataFolder).digest('hex').slice(0, 8);
  const folder = join(options.runtimeFolder, mark);
  for (const path of [options.runtimeFolder, folder]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const found = lstatSync(path);
    // It may be in /tmp, where anybody could have made it first.
    if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new LullError('validation', `${path} is not a folder that only you can write to: remove it, or give another with --runtime.`);
    }
  }
  return folder;
}
