/** What a benchmark runs on: a server of its own, the images, and QEMU by hand beside it. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine, Terminal } from '../cli/command-line.ts';
import { CommandFailure } from '../cli/command-line.ts';
import { buildImage } from '../cli/image-build.ts';
import type { Installation } from '../cli/installation.ts';
import { startOwnServer } from '../cli/own-server.ts';
import { caFiles } from '../client/data-folder.ts';
import { DataLayout } from '../runtime/data-layout.ts';
import { readSnapshotManifest } from '../runtime/manifests.ts';
import type { Endpoints } from './endpoint-call.ts';
import type { RawImage, RawRecipe } from './raw-machine.ts';

/** On disk, and short: sockets lie below. */
const PARENT = '/var/tmp';
const IDLE_MEMORY_MIB = 256;
/** A guest of 2 GiB. */
const LARGE_MEMORY_MIB = 512;

/** An image, as the server knows it and as it lies on the disk. */
export interface BenchImage extends RawImage {
  readonly arn: string;
}

export interface Bed extends AsyncDisposable {
  readonly installation: Installation;
  readonly endpoints: Endpoints;
  readonly recipe: RawRecipe;
  readonly images: {
    /** `examples/counter`, 1 GiB of guest memory. */
    readonly idle: BenchImage;
    /** 2 GiB of guest memory, `touchedMib` of it written by the application before the snapshot. */
    readonly touched: BenchImage;
    /** 2 GiB of guest memory, a file of `churnMib` on its disk. */
    readonly churned: BenchImage;
  };
}

export interface BedOrder {
  readonly terminal: Terminal;
  readonly machine: Machine;
  /** QEMU as it is started by hand. */
  readonly qemu: readonly [string, ...string[]];
  readonly touchedMib: number;
  readonly churnMib: number;
}

/** Starts the server and builds the images, telling each. */
export async function makeBed({ terminal, machine, qemu, touchedMib, churnMib }: BedOrder): Promise<Bed> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(PARENT, 'lull-raw-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { installation } = stack.use(await startOwnServer(terminal, machine));
  const { accelerator } = await installation.client.health();
  const builder = new ImageBuilder(terminal, installation);
  const bench = async (settings: { touchMib: number; churnMib: number }) => {
    const source = join(folder, 'source');
    await cp(join(machine.examples, 'bench-app'), source, { recursive: true });
    await writeFile(join(source, 'settings.json'), JSON.stringify(settings));
    return source;
  };
  const idle = await builder.build('idle', { folder: join(machine.examples, 'counter'), memoryMib: IDLE_MEMORY_MIB });
  const touched = await builder.build('touched', { folder: await bench({ touchMib: touchedMib, churnMib: 0 }), memoryMib: LARGE_MEMORY_MIB });
  const churned = await builder.build('churned', { folder: await bench({ touchMib: 0, churnMib }), memoryMib: LARGE_MEMORY_MIB });
  const endpoints = await endpointsOf(installation);
  const held = stack.move();
  return {
    installation,
    endpoints,
    recipe: { command: qemu, accelerator: accelerator === 'kvm' ? 'kvm' : 'tcg', folder },
    images: { idle, touched, churned },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Where a server's endpoints are. */
export async function endpointsOf({ server, folder }: Installation): Promise<Endpoints> {
  return { port: server.endpointPort, domain: server.domain, ca: await readFile(caFiles(folder).ca, 'utf8') };
}

/** Builds an image and tells how long it took. @returns its ARN @throws CommandFailure with the end of the log where it fails */
export async function buildOrFail(terminal: Terminal, installation: Installation, image: { name: string; folder: string; memoryMib: number }): Promise<string> {
  const startMs = performance.now();
  const { signal, say } = terminal;
  const order = { ...image, environment: undefined, signal, onUpload: () => undefined, onEvent: () => undefined };
  const outcome = await buildImage(installation, order);
  if (outcome.state !== 'SUCCESSFUL') {
    throw new CommandFailure(`The build of ${image.name} failed: ${outcome.stateReason ?? 'no reason given'}\n${outcome.logTail.join('\n')}`);
  }
  say(`image ${image.name}: ${Math.round(performance.now() - startMs)} ms`);
  return outcome.imageArn;
}

class ImageBuilder {
  readonly #terminal: Terminal;
  readonly #installation: Installation;
  readonly #layout: DataLayout;
  readonly #known = new Set<string>();

  constructor(terminal: Terminal, installation: Installation) {
    this.#terminal = terminal;
    this.#installation = installation;
    this.#layout = new DataLayout(installation.folder, '/');
  }

  async build(name: string, { folder, memoryMib }: { folder: string; memoryMib: number }): Promise<BenchImage> {
    const arn = await buildOrFail(this.#terminal, this.#installation, { name, folder, memoryMib });
    // No answer of the API tells where the files are: it is the folder that was not there before.
    const folders = await readdir(join(this.#installation.folder, 'images'));
    const snapshotId = folders.find((entry) => !this.#known.has(entry));
    if (snapshotId === undefined) throw new Error('the image left no files');
    this.#known.add(snapshotId);
    const files = this.#layout.snapshot(snapshotId);
    return { arn, files, manifest: await readSnapshotManifest(files.manifest, snapshotId) };
  }
}
