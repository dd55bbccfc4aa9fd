/**
 * The engine of a server as a process of its own, on fake VMMs, led by messages of its parent. It imports everything first and
 * says `standby`, so that a start on the folders of one that was killed costs what a start costs.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DEFAULT_REALM } from '../../src/domain/ids.ts';
import { createIntegrityUseCases } from '../../src/control/integrity.ts';
import type { VerifiedFile } from '../../src/domain/integrity.ts';
import { quotasOf } from '../../src/domain/quotas.ts';
import { DiskSpace } from '../../src/host/disk-space.ts';
import { Files } from '../../src/lib/files.ts';
import type { Log } from '../../src/lib/log.ts';
import { openEngine, type Engine } from '../../src/main/engine.ts';
import { parseServerOptions } from '../../src/main/options.ts';
import { FileInspection } from '../../src/runtime/file-inspection.ts';
import { LoopLag, type LagReport } from '../pressure/loop-lag.ts';
import { answerCalls } from './calls.ts';
import { fakeDriver } from './fake-driver.ts';
import { DONE_NAME, FaultPort, type Done, type Fault } from './fault-port.ts';
import { MovedClock } from './moved-clock.ts';
import { rowsOf, type Rows, type ServerFolders } from './strays.ts';

/** Folders of one engine. */
export interface EngineFolders extends ServerFolders {
  /** Fake platform, and what is noted of this engine. */
  readonly work: string;
}

/** What the parent may ask, and what it gets. */
export interface EngineCalls {
  open(folders: EngineFolders, fault: Fault | null): { done: Done[] };
  begin(fault: Fault | null): void;
  /** Steps since the last `begin`, and whether the fault was met. */
  traced(): { done: Done[]; wasHit: boolean };
  putArtifact(base64: string): void;
  build(name: string): void;
  update(name: string): void;
  removeImage(name: string): void;
  removeVersion(name: string, version: string): void;
  run(image: string): string;
  /** Resolves when nothing is under way. */
  idle(): void;
  suspend(microvmId: string): void;
  resume(microvmId: string): void;
  terminate(microvmId: string): void;
  ask(microvmId: string, path: string): string;
  /** Moves the clock on by a minute, and waits for what that does. */
  aMinute(): void;
  rows(): Rows;
  /** Of everything at rest. */
  verify(): VerifiedFile[];
  /** Changes of state so far, in order. */
  changes(): readonly { readonly microvmId: string; readonly state: string }[];
  /** Measures its event loop from now on. */
  watchLoop(): void;
  /** Ends {@link watchLoop}. */
  loopLag(): LagReport;
  stop(): void;
}

const REPLY_LIMIT_MS = 10_000;
const PORT = 8080;
const BUCKET = 'artifacts';

/** `lull-host extents FILE`. */
const EXTENTS_TOOL = `#!/usr/bin/env -S python3 -I -S
import os, sys
file, at = os.open(sys.argv[2], os.O_RDONLY), 0
end = os.fstat(file).st_size
while at < end:
    try:
        start = os.lseek(file, at, os.SEEK_DATA)
    except OSError:
        break
    at = os.lseek(file, start, os.SEEK_HOLE)
    print(start, at - start)
`;

class Server {
  readonly #stack = new AsyncDisposableStack();
  readonly #done: Done[] = [];
  #port!: FaultPort;
  #engine!: Engine;
  readonly #clock = new MovedClock();
  #donePath = '';
  #hostTool = '';
  readonly #changes: { microvmId: string; state: string }[] = [];
  #loop: LoopLag | undefined;

  async open(folders: EngineFolders, fault: Fault | null) {
    const { data, runtime, work, contexts: contextsDir } = folders;
    mkdirSync(join(work, 'platform'), { recursive: true });
    this.#donePath = join(work, DONE_NAME);
    const tool = (this.#hostTool = join(work, 'platform/lull-host'));
    await writeFile(tool, EXTENTS_TOOL, { mode: 0o755 });
    const options = parseServerOptions({ data, runtime, platform: join(work, 'platform'), config: 'none', egress: 'none' }, { env: {}, uid: process.getuid!() });
    this.#port = new FaultPort({ folders: [data, runtime, work], runtimeFolder: runtime, onDone: (done) => this.#noteDone(done) });
    this.#port.begin(fault ?? undefined);
    const files = new Files(this.#port);
    mkdirSync(contextsDir, { recursive: true });
    const file = { id: 'fake', path: tool };
    this.#engine = await openEngine(
      this.#stack,
      {
        options,
        realm: DEFAULT_REALM,
        quotas: quotasOf(options.quotas, 100_000),
        hookTimeoutScale: 1,
        platform: { arch: 'x86_64', createdAtMs: 0, kernel: { ...file, release: 'none' }, initramfs: file, agent: file, qemu: { id: 'fake', version: '9.0', path: '/', argv: [] }, baseImages: [] },
        drivers: { current: fakeDriver, withVmm: async () => fakeDriver },
        containers: { contextsDir, build: async () => container },
        space: new DiskSpace(),
        files,
        clock: this.#clock,
        log: this.#log(join(work, 'engine.log')),
      },
      {
        attend: () => ({
          tokens: { issue: async () => 'token', open: async () => undefined },
          microvmEnded: () => undefined,
          operationEnded: () => undefined,
          counted: (builder) => builder,
        }),
        forgetConnections: () => undefined,
        guestConnected: (_id, _service, connection) => connection.destroy(),
      },
    );
    await this.#engine.recover();
    await this.#idle();
    return { done: this.#done.splice(0) };
  }

  /** Also in a file, for whoever looks at what a killed one had done. */
  #noteDone(done: Done): void {
    this.#done.push(done);
    appendFileSync(this.#donePath, `${JSON.stringify(done)}\n`);
  }

  begin(fault: Fault | null): void {
    this.#done.length = 0;
    writeFileSync(this.#donePath, '');
    this.#port.begin(fault ?? undefined);
  }

  traced = () => ({ done: [...this.#done], wasHit: this.#port.wasHit });

  async putArtifact(base64: string): Promise<void> {
    const { store, blobs } = this.#engine;
    const { blobId, size, md5 } = await blobs.write(Readable.from([Buffer.from(base64, 'base64')]));
    await store.objects.createBucket(BUCKET, 1);
    const described = { contentType: 'application/zip', systemMetadata: {}, metadata: {} };
    await store.objects.put({ ...described, bucket: BUCKET, key: 'app.zip', blobId, size, etag: md5, checksums: {}, checksumType: 'FULL_OBJECT', modifiedAtMs: 1, multipart: null });
  }

  async build(name: string): Promise<void> {
    await this.#engine.images.create({ name, config, tags: {}, clientToken: null });
    await this.#engine.images.idle();
  }

  async update(name: string): Promise<void> {
    await this.#engine.images.update({ imageIdentifier: name, config, clientToken: null });
    await this.#engine.images.idle();
  }

  async removeImage(name: string): Promise<void> {
    await this.#engine.images.delete(name);
    await this.#engine.images.idle();
  }

  async removeVersion(name: string, version: string): Promise<void> {
    await this.#engine.images.deleteVersion(name, version);
    await this.#engine.images.idle();
  }

  async run(imageIdentifier: string): Promise<string> {
    const idlePolicy = { maxIdleDurationSeconds: 28_000, suspendedDurationSeconds: 28_000, autoResumeEnabled: true };
    const given = { executionRoleArn: null, runHookPayload: null, ingressConnectors: null, egressConnectors: null, logging: null, clientToken: null };
    const { microvmId } = await this.#engine.microvms.useCases.run({ ...given, imageIdentifier, imageVersion: null, idlePolicy, maximumDurationSeconds: 28_800 });
    return microvmId;
  }

  idle = () => this.#idle();
  suspend = (microvmId: string) => this.#engine.microvms.useCases.suspend(microvmId);
  resume = (microvmId: string) => this.#engine.microvms.useCases.resume(microvmId);
  terminate = (microvmId: string) => this.#engine.microvms.useCases.terminate(microvmId);

  async ask(microvmId: string, path: string): Promise<string> {
    const stream = await this.#engine.microvms.traffic.connect(microvmId, PORT, AbortSignal.timeout(REPLY_LIMIT_MS));
    stream.end(`GET ${path} HTTP/1.1\r\nhost: app\r\n\r\n`);
    const answer = Buffer.concat(await stream.toArray()).toString();
    return answer.slice(answer.indexOf('\r\n\r\n') + 4);
  }

  async aMinute(): Promise<void> {
    this.#clock.moveOn(60_000);
    await this.#idle();
  }

  rows = () => rowsOf(this.#engine.store);

  async verify(): Promise<VerifiedFile[]> {
    const { store, layout } = this.#engine;
    const integrity = createIntegrityUseCases({ store, realm: DEFAULT_REALM, inspect: () => new FileInspection({ layout, hostTool: this.#hostTool }) });
    return Array.fromAsync(await integrity.verify({ images: [], microvms: [] }, AbortSignal.timeout(REPLY_LIMIT_MS)));
  }

  changes = () => this.#changes;

  watchLoop(): void {
    this.#loop = new LoopLag();
  }

  loopLag(): LagReport {
    using loop = this.#loop!;
    return loop.report();
  }

  stop = () => this.#stack.disposeAsync();

  #log(path: string): Log {
    const write = (level: string) => (fields: object, message: string) => {
      if ('microvmId' in fields && 'state' in fields && message === 'microVM changed state') this.#changes.push(fields as { microvmId: string; state: string });
      const told = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value instanceof Error ? value.stack : value]));
      appendFileSync(path, `${process.pid} ${level} ${message} ${JSON.stringify(told)}\n`);
    };
    return { debug: () => undefined, info: write('info'), warn: write('warn'), error: write('error') };
  }

  /** Nothing is under way when this resolves. */
  async #idle(): Promise<void> {
    await this.#engine.reconciler.idle();
    await this.#engine.microvms.idle();
    await this.#engine.images.idle();
  }
}

const config: Parameters<Engine['images']['create']>[0]['config'] = {
  codeArtifactUri: `s3://${BUCKET}/app.zip`,
  baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1',
  baseImageVersion: null,
  buildRoleArn: 'arn:aws:iam::000000000000:role/build',
  description: null,
  egressConnectors: null,
  logging: null,
  minimumMemoryMib: 128,
  cpuArchitectures: null,
  additionalOsCapabilities: null,
  hooks: null,
  environmentVariables: null,
};

const container = {
  config: { entrypoint: [], cmd: ['app'], env: [], workingDir: '/', user: '', exposedTcpPorts: [PORT] },
  writeRootDisk: async (path: string) => {
    const bytes = `the root disk ${randomUUID()}`;
    await writeFile(path, bytes, { flag: 'wx', mode: 0o600 });
    return bytes.length;
  },
  [Symbol.asyncDispose]: async () => undefined,
};

answerCalls(new Server());
process.send!('standby');
