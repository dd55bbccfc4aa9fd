/** From a folder to a finished image version, through the public API alone. */
import { setTimeout as delay } from 'node:timers/promises';
import { ARTIFACT_BUCKET, type BuildEventLine } from '../contract/extensions.ts';
import type { LullClient } from '../client/client.ts';
import { ApiRefusal } from '../client/transport.ts';
import { CommandFailure } from './command-line.ts';
import { imageArnOf } from './installation.ts';
import type { Installation } from './installation.ts';
import { packSource } from './source-archive.ts';

/** Every data folder is made with it; whoever deletes it has to make it again, or to switch the check of roles off. */
const BUILD_ROLE = 'build';
const BUILD_ROLE_TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}';
const POLL_MS = 100;
/** Lines of the failing step's log that an error shows. */
const LOG_TAIL_LINES = 20;

export interface BuildOrder {
  readonly folder: string;
  readonly name: string;
  /** Baseline memory in MiB; the API's default where undefined. */
  readonly memoryMib: number | undefined;
  readonly environment: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
  readonly onUpload: (archive: { files: number; sizeBytes: number }) => void;
  readonly onEvent: (event: BuildEventLine) => void;
}

/** How a build ended. */
export interface BuildOutcome {
  readonly imageArn: string;
  readonly imageVersion: string;
  readonly state: 'SUCCESSFUL' | 'FAILED';
  readonly stateReason: string | null;
  /** The end of the failing step's log. */
  readonly logTail: readonly string[];
  /** As far as the build has come. */
  readonly sizes: { readonly memoryBytes: number | null; readonly codeBytes: number; readonly diskBytes: number | null } | null;
}

/** Packs, uploads, creates or updates the image, and follows the build to its end. */
export async function buildImage({ client, credentials }: Installation, order: BuildOrder): Promise<BuildOutcome> {
  await using archive = await packSource(order.folder);
  order.onUpload(archive);
  const key = `${order.name}/${archive.sha256}.zip`;
  await client.createBucket(ARTIFACT_BUCKET);
  await client.putObject({ bucket: ARTIFACT_BUCKET, key }, archive);
  const config = {
    baseImageArn: `arn:aws:lambda:${credentials.region}:aws:microvm-image:lull-base`,
    buildRoleArn: `arn:aws:iam::${credentials.account}:role/${BUILD_ROLE}`,
    codeArtifact: { uri: `s3://${ARTIFACT_BUCKET}/${key}` },
    ...(order.memoryMib === undefined ? {} : { resources: [{ minimumMemoryInMiB: order.memoryMib }] }),
    ...(order.environment === undefined ? {} : { environmentVariables: { ...order.environment } }),
  };
  const imageIdentifier = imageArnOf(credentials, order.name);
  const exists = await client.call('GetMicrovmImage', { imageIdentifier }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ApiRefusal && error.status === 404) return false;
      throw error;
    },
  );
  const asked = exists
    ? client.call('UpdateMicrovmImage', { imageIdentifier, ...config })
    : client.call('CreateMicrovmImage', { name: order.name, ...config });
  const { imageArn, imageVersion } = await asked.catch((error: unknown) => {
    throw isRoleMissing(error) ? roleMissing(error) : error;
  });
  return await followBuild(client, { imageArn, imageVersion }, order);
}

/** Section 1.11: AWS does not say that a role is not there, but that it may not be passed. */
const isRoleMissing = (error: unknown) => error instanceof ApiRefusal && error.status === 403 && error.message.includes('iam:PassRole');

function roleMissing(cause: unknown): CommandFailure {
  const mend = `aws iam create-role --role-name ${BUILD_ROLE} --assume-role-policy-document '${BUILD_ROLE_TRUST}'`;
  return new CommandFailure(`There is no role ${BUILD_ROLE}, with which \`lull build\` builds. Make it: ${mend} (or start the server with --role-check off).`, { cause });
}

/** Follows a build to its end. */
export async function followBuild(
  client: LullClient,
  { imageArn, imageVersion }: { imageArn: string; imageVersion: string },
  order: Pick<BuildOrder, 'signal' | 'onEvent'>,
): Promise<BuildOutcome> {
  const image = { imageIdentifier: imageArn, imageVersion };
  const tail: string[] = [];
  for await (const event of client.buildEvents(image, { follow: true, signal: order.signal })) {
    if (event.type === 'line') tail.push(event.text);
    else if (event.state === 'started') tail.length = 0;
    if (tail.length > LOG_TAIL_LINES) tail.shift();
    order.onEvent(event);
  }
  // The log ends a moment before the outcome is committed.
  for (;;) {
    order.signal.throwIfAborted();
    const { state } = await client.call('GetMicrovmImageVersion', image);
    if (state === 'SUCCESSFUL' || state === 'FAILED') {
      const { items } = await client.call('ListMicrovmImageBuilds', image);
      const build = items[0] === undefined ? undefined : await client.call('GetMicrovmImageBuild', { ...image, buildId: items[0].buildId });
      const snapshot = build?.snapshotBuild ?? null;
      return {
        imageArn,
        imageVersion,
        state,
        stateReason: build?.stateReason ?? null,
        logTail: state === 'FAILED' ? tail : [],
        sizes: snapshot && {
          memoryBytes: snapshot.memorySnapshotSizeInBytes,
          codeBytes: snapshot.codeInstallSizeInBytes,
          diskBytes: snapshot.diskSnapshotSizeInBytes,
        },
      };
    }
    await delay(POLL_MS, undefined, { signal: order.signal });
  }
}
