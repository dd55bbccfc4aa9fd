/** The real server, as its own process on folders of its own, with AWS's SDKs pointed at it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudWatchLogs } from '@aws-sdk/client-cloudwatch-logs';
import { LambdaMicrovms, type GetMicrovmImageBuildCommandOutput } from '@aws-sdk/client-lambda-microvms';
import { S3 } from '@aws-sdk/client-s3';
import { packSource } from '../../src/cli/source-archive.ts';
import { LullClient } from '../../src/client/client.ts';
import { caFiles, readCredentials, readServerAddress } from '../../src/client/data-folder.ts';
import { processesWithArgument, endProcess } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';
import { missingBuildPrograms } from '../../src/image/build-user.ts';
import { loadPlatform, platformFolder } from '../../src/setup/platform.ts';
import type { ProcessIdentity } from '../../src/domain/microvm.ts';
import { LullProcess, plainEnvironment } from './server-process.ts';
import { TestMicrovm, type RunInput } from './test-microvm.ts';

const BUCKET = 'artifacts';
const BASE_IMAGE = 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1';
const BUILD_ROLE = 'arn:aws:iam::000000000000:role/build';
/** Of the sizes that Lull has beside AWS's: quick to save under emulation. */
const SMALL_MIB = 128;
/** Two files of tests may build at once on an emulating machine with two cores. */
const BUILD_LIMIT_MS = 180_000;
const STOP_LIMIT_MS = 30_000;

/** Why there can be no server on this machine, or false. */
export async function cannotServe(): Promise<string | false> {
  try {
    await loadPlatform(platformFolder(process.env, process.getuid!()));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const missing = await missingBuildPrograms();
  return missing.length === 0 ? false : `not installed: ${missing.join(', ')}`;
}

export interface BuildOutcome {
  readonly imageArn: string;
  readonly imageState: string | undefined;
  /** The build's, where it failed. */
  readonly stateReason: string | undefined;
  /** As far as the build has come. */
  readonly snapshotBuild: GetMicrovmImageBuildCommandOutput['snapshotBuild'];
  /** Lines of the build's log, each with its step. */
  readonly log: readonly { readonly step: string; readonly text: string }[];
  /** Steps that ended in failure. */
  readonly failedSteps: readonly string[];
}

/** What a build is made from beside its artifact. */
type BuildInput = Partial<Parameters<LambdaMicrovms['createMicrovmImage']>[0]>;

/** What a server is started with beside its options. */
interface Surroundings {
  /** More of its environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** What to start in place of `lull up`. */
  readonly program?: string;
}

/** Parts that change with every start. */
interface Session {
  readonly process: LullProcess;
  readonly lambda: LambdaMicrovms;
  readonly s3: S3;
  readonly logs: CloudWatchLogs;
  readonly client: LullClient;
  readonly apiUrl: string;
  readonly endpointPort: number;
  readonly ca: string;
}

/** See the file's head. Disposing ends the server and every VMM of its runtime folder, and fails where one stays. */
export class LullServer implements AsyncDisposable {
  readonly data: string;
  readonly runtime: string;
  readonly #options: readonly string[];
  readonly #surroundings: Surroundings;
  #session: Session | undefined;

  private constructor(folders: { data: string; runtime: string }, options: readonly string[], surroundings: Surroundings) {
    this.data = folders.data;
    this.runtime = folders.runtime;
    this.#options = options;
    this.#surroundings = surroundings;
  }

  /**
   * Starts one on new folders.
   * @param options more words of `lull up`
   * @param place.below where the data folder is made
   */
  static async start(options: readonly string[] = [], { below = '/var/tmp', ...surroundings }: { below?: string } & Surroundings = {}): Promise<LullServer> {
    // Images are large: not under /tmp, which may be memory. Sockets want a short path.
    const server = new LullServer({ data: await mkdtemp(join(below, 'lull-e2e-')), runtime: await mkdtemp('/tmp/lr-') }, options, surroundings);
    try {
      await server.up();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get process(): LullProcess {
    return this.#required().process;
  }

  get lambda(): LambdaMicrovms {
    return this.#required().lambda;
  }

  get s3(): S3 {
    return this.#required().s3;
  }

  get logs(): CloudWatchLogs {
    return this.#required().logs;
  }

  get apiUrl(): string {
    return this.#required().apiUrl;
  }

  /** For what AWS's API does not have. */
  get client(): LullClient {
    return this.#required().client;
  }

  get endpointPort(): number {
    return this.#required().endpointPort;
  }

  /** PEM of the local CA. */
  get ca(): string {
    return this.#required().ca;
  }

  /** The words of `lull up` on the folders of this server. */
  get words(): readonly string[] {
    return ['up', '--data', this.data, '--runtime', this.runtime, '--listen', '127.0.0.1:0', '--endpoint-listen', '127.0.0.1:0', ...this.#options];
  }

  /** Starts the server on its folders, and waits until it says that it serves. @param more options for this time */
  async up(more: readonly string[] = []): Promise<void> {
    const { env = {}, program } = this.#surroundings;
    const process = new LullProcess([...this.words, ...more], { env: { ...plainEnvironment(), ...env }, ...(program === undefined ? {} : { program }) });
    try {
      await process.said('the server to be ready', (line) => (line.startsWith('lull: serving ') ? true : undefined));
      this.#session = await this.#open(process);
    } catch (error) {
      process.kill('SIGKILL');
      await process.ended;
      throw error;
    }
  }

  /** Ends the server process by a signal and waits until it is gone; microVMs run on. @returns all that it said */
  async stop(signal: NodeJS.Signals): Promise<readonly string[]> {
    const { process, lambda, s3, logs } = this.#required();
    process.kill(signal);
    await within(`the server's end by ${signal}`, STOP_LIMIT_MS, process.ended);
    lambda.destroy();
    s3.destroy();
    logs.destroy();
    return process.lines;
  }

  /** Kills the server in whatever it does, and starts another on the same folders. */
  async crash(): Promise<void> {
    await this.stop('SIGKILL');
    await this.up();
  }

  /** Every VMM process of this server's, whoever started it. */
  vmms(): Promise<readonly ProcessIdentity[]> {
    return processesWithArgument(`socket,id=agent,path=${this.runtime}/`);
  }

  /** Builds an image from a folder, and follows it to its end, whatever that is. */
  async build(name: string, folder: string, input: BuildInput = {}): Promise<BuildOutcome> {
    await using archive = await packSource(folder);
    return await this.buildBytes(name, await readFile(archive.path), input);
  }

  /** Builds from the bytes of an artifact; with null there is no object under its key. */
  async buildBytes(name: string, artifact: Uint8Array | null, input: BuildInput = {}): Promise<BuildOutcome> {
    const key = `${name}.zip`;
    await this.client.createBucket(BUCKET);
    if (artifact !== null) await this.s3.putObject({ Bucket: BUCKET, Key: key, Body: artifact });
    const { imageArn, imageVersion } = await this.lambda.createMicrovmImage({
      name,
      baseImageArn: BASE_IMAGE,
      buildRoleArn: BUILD_ROLE,
      codeArtifact: { uri: `s3://${BUCKET}/${key}` },
      resources: [{ minimumMemoryInMiB: SMALL_MIB }],
      ...input,
    });
    return within(`the build of ${name}`, BUILD_LIMIT_MS, this.#follow(imageArn!, imageVersion!));
  }

  /** Builds an image that has to succeed. @returns its ARN */
  async image(name: string, folder: string, input: BuildInput = {}): Promise<string> {
    const { imageArn, imageState, stateReason, log } = await this.build(name, folder, input);
    assert.equal(imageState, 'CREATED', `${stateReason}\n${log.map(({ step, text }) => `${step}: ${text}`).join('\n')}`);
    return imageArn;
  }

  /** Makes a new version of an image from the artifact that it was made from, and follows its build. */
  async update(name: string, input: Partial<Parameters<LambdaMicrovms['updateMicrovmImage']>[0]> = {}): Promise<BuildOutcome> {
    const { imageArn, imageVersion } = await this.lambda.updateMicrovmImage({
      imageIdentifier: name,
      baseImageArn: BASE_IMAGE,
      buildRoleArn: BUILD_ROLE,
      codeArtifact: { uri: `s3://${BUCKET}/${name}.zip` },
      resources: [{ minimumMemoryInMiB: SMALL_MIB }],
      ...input,
    });
    return within(`the build of ${name}`, BUILD_LIMIT_MS, this.#follow(imageArn!, imageVersion!));
  }

  /** Launches a microVM, which may still be PENDING. */
  async run(imageIdentifier: string, input: RunInput = {}): Promise<TestMicrovm> {
    const { microvmId, endpoint, state } = await this.lambda.runMicrovm({ imageIdentifier, ...input });
    return new TestMicrovm(this, { id: microvmId!, endpoint: endpoint!, firstState: state! });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const session = this.#session;
    if (session !== undefined && !session.process.isOver) await this.stop('SIGTERM').catch(() => this.stop('SIGKILL'));
    for (const identity of await this.vmms()) await endProcess(identity);
    const left = await this.vmms();
    await Promise.all([this.data, this.runtime].map((folder) => rm(folder, { recursive: true, force: true })));
    assert.deepEqual(left, [], 'no VMM process is left behind');
  }

  async #open(process: LullProcess): Promise<Session> {
    const address = await readServerAddress(this.data);
    assert.ok(address !== undefined && address.pid === process.pid, 'server.json is the running server\'s');
    const { accessKeyId, secretAccessKey, region } = await readCredentials(this.data);
    const common = { endpoint: address.apiUrl, region, credentials: { accessKeyId, secretAccessKey } };
    return {
      process,
      lambda: new LambdaMicrovms({ ...common, maxAttempts: 1 }),
      s3: new S3({ ...common, forcePathStyle: true, maxAttempts: 1 }),
      logs: new CloudWatchLogs({ ...common, maxAttempts: 1 }),
      client: new LullClient({ apiUrl: address.apiUrl, region, credentials: { accessKeyId, secretAccessKey } }),
      apiUrl: address.apiUrl,
      endpointPort: address.endpointPort,
      ca: readFileSync(caFiles(this.data).ca, 'utf8'),
    };
  }

  async #follow(imageIdentifier: string, imageVersion: string): Promise<BuildOutcome> {
    const log: { step: string; text: string }[] = [];
    const failedSteps: string[] = [];
    const events = this.client.buildEvents({ imageIdentifier, imageVersion }, { follow: true, signal: new AbortController().signal });
    for await (const event of events) {
      if (event.type === 'line') log.push({ step: event.step, text: event.text });
      else if (event.state === 'failed') failedSteps.push(event.step);
    }
    const imageState = await this.#settledImage(imageIdentifier);
    const { items = [] } = await this.lambda.listMicrovmImageBuilds({ imageIdentifier, imageVersion });
    const { stateReason, snapshotBuild } = await this.lambda.getMicrovmImageBuild({ imageIdentifier, imageVersion, buildId: items[0]!.buildId });
    return { imageArn: imageIdentifier, imageState, stateReason: stateReason ?? undefined, snapshotBuild, log, failedSteps };
  }

  /** The log ends a moment before the outcome is committed. */
  async #settledImage(imageIdentifier: string): Promise<string> {
    for (;;) {
      const { state } = await this.lambda.getMicrovmImage({ imageIdentifier });
      if (state !== 'CREATING' && state !== 'UPDATING') return state!;
    }
  }

  #required(): Session {
    assert.ok(this.#session !== undefined, 'the server was started');
    return this.#session;
  }
}

/** True where the folder of a microVM's files is there. */
export const hasFiles = (server: LullServer, microvmId: string) => existsSync(`${server.data}/microvms/${microvmId}`);

/** The names in the folders of the snapshots. */
export const snapshotFiles = (server: LullServer): string[][] =>
  readdirSync(`${server.data}/images`).map((snapshotId) => readdirSync(`${server.data}/images/${snapshotId}`).toSorted());
