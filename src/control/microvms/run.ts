/** RunMicrovm: contract reference, sections 1.3, 1.6 and 1.8. */
import { imageArn, imageNameOf, isImageName, microvmId, parseImageArn, type Realm } from '../../domain/ids.ts';
import type { ClientRequest, ImageVersion } from '../../domain/image.ts';
import type { Microvm } from '../../domain/microvm.ts';
import type { Clock, Random, Store } from '../../domain/ports.ts';
import { malformedArn, memoryQuotaReached, noActiveVersion, runHookRequired } from '../../domain/refusals.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import { clientRequest, requireSameRequest } from '../client-request.ts';
import { checkedConnectors, defaultConnectors } from '../connectors/named-connectors.ts';
import type { RunMicrovmInput } from '../control-plane.ts';
import type { PassRole } from '../roles/pass-role.ts';
import { requireRoom, type HostCapacity } from './capacity.ts';

export interface AdmissionParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly realm: Realm;
  readonly passRole: PassRole;
  readonly capacity: HostCapacity;
  /** Sum of the baselines of RUNNING and SUSPENDED microVMs, in MiB (section 7.2). */
  readonly memoryQuotaMib: number;
}

/** Decides whether a microVM may be launched, and writes its record. */
export class Admission {
  readonly #parts: AdmissionParts;
  /** Quota and idempotency are read and then written: one at a time. */
  readonly #queue = new KeyedQueue();

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /**
   * @returns the PENDING record, or the earlier one of the same client token
   * @throws LullError in AWS's words
   */
  admit(input: RunMicrovmInput): Promise<{ microvm: Microvm; isNew: boolean }> {
    const request = clientRequest('RunMicrovm', input);
    return this.#queue.run('admission', async () => {
      const earlier = await this.#replayed(request);
      if (earlier !== undefined) return { microvm: earlier, isNew: false };
      const version = await this.#launchable(input);
      await this.#parts.passRole(input.executionRoleArn);
      await this.#checkRoom(version.config.minimumMemoryMib);
      const microvm = { ...this.#record(input, version), requestFingerprint: request?.fingerprint ?? null };
      await this.#parts.store.microvms.insert(microvm);
      return { microvm, isNew: true };
    });
  }

  async #replayed(request: ClientRequest | undefined): Promise<Microvm | undefined> {
    if (request === undefined) return undefined;
    const earlier = await this.#parts.store.microvms.byClientToken(request.clientToken);
    if (earlier !== undefined) requireSameRequest(request, earlier.requestFingerprint);
    return earlier;
  }

  async #launchable(input: RunMicrovmInput): Promise<ImageVersion> {
    if (!input.imageIdentifier.startsWith('arn:') && !isImageName(input.imageIdentifier)) throw malformedArn();
    const { images } = this.#parts.store;
    const { realm } = this.#parts;
    const arn = parseImageArn(input.imageIdentifier);
    const isForeign = arn !== undefined && (arn.account !== realm.account || arn.region !== realm.region);
    if (isForeign) throw noActiveVersion(input.imageIdentifier, input.imageVersion ?? undefined);
    const name = imageNameOf(input.imageIdentifier);
    const version = input.imageVersion === null ? await images.newestActive(name) : await images.version(name, input.imageVersion);
    if (version === undefined || version.state !== 'SUCCESSFUL' || version.status !== 'ACTIVE') {
      throw noActiveVersion(imageArn(realm, name), input.imageVersion ?? undefined);
    }
    if (input.runHookPayload !== null && version.config.hooks?.microvmHooks?.run !== 'ENABLED') throw runHookRequired();
    return version;
  }

  async #checkRoom(baselineMib: number): Promise<void> {
    const { store, memoryQuotaMib, capacity } = this.#parts;
    if ((await store.microvms.allocatedMib()) + baselineMib > memoryQuotaMib) throw memoryQuotaReached();
    // Launches that are under way do not hold their memory yet.
    const pending = await store.microvms.inStates(['PENDING']);
    const promisedMib = pending.reduce((sum, microvm) => sum + microvm.baselineMib, 0);
    requireRoom(capacity, promisedMib + baselineMib);
  }

  #record(input: RunMicrovmInput, version: ImageVersion): Omit<Microvm, 'requestFingerprint'> {
    const { random, clock, realm } = this.#parts;
    return {
      microvmId: microvmId(random.uuid()),
      endpointId: random.uuid(),
      state: 'PENDING',
      stateReason: null,
      imageName: version.imageName,
      imageArn: imageArn(realm, version.imageName),
      imageVersion: version.version,
      snapshotId: version.snapshotId,
      baselineMib: version.config.minimumMemoryMib,
      executionRoleArn: input.executionRoleArn,
      idlePolicy: input.idlePolicy,
      maximumDurationSeconds: input.maximumDurationSeconds,
      ingressConnectors: checkedConnectors(input.ingressConnectors, 'ingress') ?? defaultConnectors(realm, 'ingress'),
      // Section 1.3: left out, it is the image version's.
      egressConnectors: checkedConnectors(input.egressConnectors, 'egress') ?? version.config.egressConnectors,
      logging: input.logging,
      runHookPayload: input.runHookPayload,
      clientToken: input.clientToken,
      startedAtMs: clock.nowMs(),
      suspendedAtMs: null,
      terminatedAtMs: null,
      generation: 0,
      lastGeneration: 0,
      process: null,
    };
  }
}
