/** Records with nothing special about them, to fill a store with. */
import { DEFAULT_REALM, imageArn, microvmId } from '../domain/ids.ts';
import type { Image, ImageVersion } from '../domain/image.ts';
import type { Microvm, MicrovmState } from '../domain/microvm.ts';
import type { Random } from '../domain/ports.ts';

const BASELINE_MIB = 512;
const PROCESS = { pid: 1, startTicks: 1, bootId: 'none' };

/** Makes records, all of one moment. */
export class Records {
  readonly #random: Random;
  readonly #atMs: number;

  constructor(random: Random, atMs: number) {
    this.#random = random;
    this.#atMs = atMs;
  }

  image(name: string): Image {
    return {
      id: this.#random.uuid(),
      name,
      imageArn: imageArn(DEFAULT_REALM, name),
      state: 'CREATED',
      createdAtMs: this.#atMs,
      updatedAtMs: this.#atMs,
      latestActiveVersion: '1.0',
      latestFailedVersion: null,
      tags: {},
    };
  }

  /** The version of that image that can be launched. */
  version(imageName: string): ImageVersion {
    return {
      imageName,
      version: '1.0',
      snapshotId: this.#random.uuid(),
      state: 'SUCCESSFUL',
      status: 'ACTIVE',
      config: {
        baseImageArn: `arn:aws:lambda:${DEFAULT_REALM.region}:aws:microvm-image:al2023-1`,
        baseImageVersion: '1.0',
        buildRoleArn: `arn:aws:iam::${DEFAULT_REALM.account}:role/build`,
        codeArtifactUri: 's3://artifacts/app.zip',
        description: null,
        logging: null,
        egressConnectors: [],
        cpuArchitectures: null,
        minimumMemoryMib: BASELINE_MIB,
        additionalOsCapabilities: null,
        hooks: null,
        environmentVariables: null,
      },
      createdAtMs: this.#atMs,
      updatedAtMs: this.#atMs,
      artifactBlobId: null,
      build: { buildId: this.#random.uuid(), state: 'SUCCESSFUL', stateReason: null, sizes: null, createdAtMs: this.#atMs },
    };
  }

  microvm({ imageName, version, snapshotId }: ImageVersion, state: MicrovmState): Microvm {
    const generation = state === 'SUSPENDED' ? 1 : 0;
    return {
      microvmId: microvmId(this.#random.uuid()),
      endpointId: this.#random.uuid(),
      state,
      stateReason: null,
      imageName,
      imageArn: imageArn(DEFAULT_REALM, imageName),
      imageVersion: version,
      snapshotId,
      baselineMib: BASELINE_MIB,
      executionRoleArn: null,
      idlePolicy: null,
      maximumDurationSeconds: 28_800,
      ingressConnectors: [],
      egressConnectors: [],
      logging: null,
      runHookPayload: null,
      clientToken: this.#random.uuid(),
      requestFingerprint: this.#random.uuid(),
      startedAtMs: this.#atMs,
      suspendedAtMs: state === 'SUSPENDED' ? this.#atMs : null,
      terminatedAtMs: state === 'TERMINATED' ? this.#atMs : null,
      generation,
      lastGeneration: generation,
      process: state === 'RUNNING' ? PROCESS : null,
    };
  }
}
