/** The engine of a server: its store, its microVMs and its images, without anything that listens. */
import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { createImageUseCases, type ImageControl } from '../control/images/image-use-cases.ts';
import type { ImageLimits } from '../control/images/context.ts';
import { managedImages } from '../control/images/managed.ts';
import type { OperationEnded } from '../control/microvms/lifecycle.ts';
import { Microvms } from '../control/microvms/use-cases.ts';
import { Reconciler } from '../control/reconciler.ts';
import { createPassRole, type PassRole } from '../control/roles/pass-role.ts';
import { LullError } from '../domain/errors.ts';
import type { GuestService } from '../domain/guest-service.ts';
import type { Realm } from '../domain/ids.ts';
import type { Platform } from '../domain/platform.ts';
import type { Clock, EndpointTokens, ImageBuilder, RuntimeObserver, Store } from '../domain/ports.ts';
import type { Quotas } from '../domain/quotas.ts';
import type { DiskSpace } from '../host/disk-space.ts';
import { createBuildLogs } from '../image/build-log.ts';
import { createImageBuilder } from '../image/builder.ts';
import { RootDiskPool } from '../image/root-disk-pool.ts';
import type { Files } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import { ApplicationLogs } from '../runtime/application-logs.ts';
import { DataLayout, shortName } from '../runtime/data-layout.ts';
import { HostRuntime } from '../runtime/host-runtime.ts';
import { GuestNetworks } from '../network/guest-networks.ts';
import { MemoryWorkers } from '../runtime/memory-workers.ts';
import { SnapshotMaker } from '../runtime/snapshot-maker.ts';
import { Snapshots } from '../runtime/snapshots.ts';
import { hostToolPath } from '../setup/confinement.ts';
import { openBlobs } from '../store/blobs.ts';
import { openStore } from '../store/store.ts';
import type { Driver, Drivers } from '../vmm/driver.ts';
import { driversWithEffects } from '../vmm/driver-effects.ts';
import type { LazyContainerBuilder } from './container-builder.ts';
import type { ServerOptions } from './options.ts';
import { hostCapacity, systemRandom } from './system-ports.ts';

/** What an engine stands on. */
export interface EngineGround {
  readonly options: ServerOptions;
  readonly realm: Realm;
  readonly quotas: Quotas;
  readonly hookTimeoutScale: number;
  readonly platform: Platform;
  readonly drivers: Drivers;
  readonly containers: Pick<LazyContainerBuilder, 'build' | 'contextsDir'>;
  readonly space: DiskSpace;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
}

/** Who stands by what an engine does. */
export interface Attendants {
  readonly tokens: EndpointTokens;
  readonly microvmEnded: (microvmId: string) => void;
  readonly operationEnded: OperationEnded;
  /** The same builder, its builds counted. */
  readonly counted: (builder: ImageBuilder) => ImageBuilder;
}

/** What an engine calls in the part of the server that listens. */
export interface Outward {
  /** Called as soon as the store is open. */
  readonly attend: (store: Store) => Attendants;
  readonly forgetConnections: (microvmId: string) => void;
  readonly guestConnected: (microvmId: string, service: GuestService, connection: Duplex) => void;
}

export type Engine = Awaited<ReturnType<typeof openEngine>>;

/** S3 keeps unfinished uploads for ever, or as long as a rule says; a week is the rule that its console proposes. */
const UPLOAD_LIFE_MS = 7 * 24 * 3_600_000;

/** Opens an engine, released with `stack`. Nothing runs by itself before `recover`, which brings the store and the world together. */
export async function openEngine(stack: AsyncDisposableStack, ground: EngineGround, outward: Outward) {
  const { options, space, files, clock, log } = ground;
  const layout = new DataLayout(options.dataFolder, runtimeFolderOf(options, files));
  await files.makeFolder(layout.microvmsDir);
  const store = stack.use(await openStore({ path: join(options.dataFolder, 'lull.db'), files, log }));
  await store.uploads.forgetBefore(clock.nowMs() - UPLOAD_LIFE_MS);
  const blobs = await openBlobs(join(options.dataFolder, 'objects'), { keep: await store.objects.blobIds(), files });
  const workers = stack.use(new MemoryWorkers({ effects: files.effects }));
  const drivers = driversWithEffects(ground.drivers, files.effects);
  const snapshots = new Snapshots(layout, drivers);
  const networks = await openNetworks(ground, layout);
  stack.defer(() => networks.close());
  const applicationLogs = new ApplicationLogs(layout, clock);
  const runtime = new HostRuntime({
    layout,
    files,
    logs: applicationLogs,
    drivers,
    workers,
    space,
    snapshots,
    clock,
    random: systemRandom,
    observer: observerOf(() => microvms, outward),
    network: (egress) => networks.connect(egress),
  });
  stack.defer(() => runtime.detach());
  const attendants = outward.attend(store);
  const { tokens } = attendants;
  const passRole = createPassRole({ roles: store.roles, realm: ground.realm, check: options.roleCheck });
  const microvms: Microvms = stack.use(
    new Microvms({
      store,
      runtime,
      tokens,
      log,
      clock,
      random: systemRandom,
      realm: ground.realm,
      passRole,
      capacity: hostCapacity,
      memoryQuotaMib: ground.quotas.memory,
      hookTimeoutScale: ground.hookTimeoutScale,
      onSuspendHookFailure: options.onSuspendHookFailure,
      forgetConnections: outward.forgetConnections,
      onEnd: ({ microvmId, snapshotId }) => {
        attendants.microvmEnded(microvmId);
        images.microvmEnded(snapshotId);
      },
      onOperation: attendants.operationEnded,
    }),
  );
  const rootDisks = new RootDiskPool({ files, folder: join(options.dataFolder, 'root-disks'), hash: (path) => workers.run('hash', { path }) });
  const images: ImageControl = stack.use(imageControl(ground, { layout, workers, rootDisks, driver: drivers.current, snapshots, store, blobs, passRole, counted: attendants.counted }));
  const reconciler = stack.use(new Reconciler({ reconciliations: [() => microvms.reconcile(), () => images.reconcile(), async () => pruned(await rootDisks.prune()), () => networks.reconcile()], clock, log }));
  const recover = async () => {
    await microvms.recover();
    await images.recover();
    reconciler.start();
    await reconciler.idle();
  };
  return { layout, store, blobs, rootDisks, applicationLogs, tokens, microvms, images, reconciler, recover };
}

/** For the {@link Reconciler}. */
const pruned = (disks: Awaited<ReturnType<RootDiskPool['prune']>>) => new Map(disks.map(({ path }) => [shortName(path), ['unused']]));

async function openNetworks({ options, files, log }: EngineGround, layout: DataLayout): Promise<GuestNetworks> {
  const { egress, egressNetworks, egressResolver } = options;
  const mark = basename(layout.runtimeFolder);
  const networks = await GuestNetworks.open({ wanted: egress, mark, allowedNetworks: egressNetworks, resolver: egressResolver, uid: process.getuid?.() ?? -1, effects: files.effects });
  if (networks.missing !== undefined) log.warn({ reason: networks.missing }, 'microVMs have no network of their own');
  return networks;
}

/** @param microvms asked for only once there are some, when everything is wired */
const observerOf = (microvms: () => Microvms, outward: Outward): RuntimeObserver => ({
  vmmDied: (id, process) => microvms().vmmDied(id, process),
  agentLost: (id) => microvms().agentLost(id),
  diskFailed: (id) => microvms().stoppedByDisk.note(id),
  applicationExited: (id, code) => microvms().applicationExited(id, code),
  guestConnected: (id, service, connection) => outward.guestConnected(id, service, connection),
});

interface ImageGround {
  readonly layout: DataLayout;
  readonly workers: MemoryWorkers;
  readonly rootDisks: RootDiskPool;
  readonly driver: Driver;
  readonly snapshots: Snapshots;
  readonly store: Store;
  readonly blobs: Awaited<ReturnType<typeof openBlobs>>;
  readonly passRole: PassRole;
  readonly counted: Attendants['counted'];
}

function imageControl(ground: EngineGround, { layout, workers, rootDisks, driver, snapshots, store, blobs, passRole, counted }: ImageGround): ImageControl {
  const { options, realm, platform, containers, space, files, clock, log } = ground;
  const snapshotter = new SnapshotMaker({
    layout,
    files,
    driver,
    workers,
    platform,
    hostTool: hostToolPath(platform),
    timeoutScale: ground.hookTimeoutScale,
    clock,
    random: systemRandom,
  });
  const builder = createImageBuilder({
    files,
    space,
    rootDisks,
    containers,
    snapshotter,
    logs: createBuildLogs({ clock }),
    imagesDir: layout.imagesDir,
    snapshotDir: (snapshotId) => layout.snapshot(snapshotId).dir,
    contextsDir: containers.contextsDir,
    hostCores: availableParallelism(),
    architecture: platform.arch,
    onRemove: (snapshotId) => snapshots.forget(snapshotId),
  });
  return createImageUseCases({
    store,
    builder: counted(builder),
    blobs,
    log,
    clock,
    random: systemRandom,
    realm,
    passRole,
    architecture: { host: platform.arch, isStrict: options.architecture === 'strict' },
    limits: imageLimits(ground),
    managed: managedImages(realm, platform.baseImages),
  });
}

/** Builds that run count against the quota too. */
function imageLimits({ options, quotas }: EngineGround): ImageLimits {
  const buildsAtOnce = Math.min(options.buildsAtOnce, quotas.builds);
  return { buildsAtOnce, buildsWaiting: quotas.builds - buildsAtOnce, images: quotas.images, versionsPerImage: quotas.versions };
}

const WRITABLE_BY_OTHERS = 0o022;

/** Sockets of different data folders must not meet: each has a folder of its own, with a short name. */
function runtimeFolderOf(options: ServerOptions, files: Files): string {
  const mark = createHash('sha256').update(options.dataFolder).digest('hex').slice(0, 8);
  const folder = join(options.runtimeFolder, mark);
  for (const path of [options.runtimeFolder, folder]) {
    files.makeFolderNow(path);
    const found = lstatSync(path);
    // It may be in /tmp, where anybody could have made it first.
    if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new LullError('validation', `${path} is not a folder that only you can write to: remove it, or give another with --runtime.`);
    }
  }
  return folder;
}
