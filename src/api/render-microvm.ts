/** MicroVM records as AWS shows them: contract reference, sections 1.3 and 1.10 (explicit nulls, numbers as timestamps). */
import type { MicrovmAnswer, MicrovmItem } from '../contract/microvms.ts';
import type { Microvm } from '../domain/microvm.ts';
import { wireState } from '../domain/microvm.ts';

/** Epoch seconds with milliseconds as fraction: section 1.1. */
export const epochSeconds = (atMs: number) => atMs / 1000;

/** @param endpoint host name, with the port where it is not 443 */
export function renderMicrovm(microvm: Microvm, endpoint: string): MicrovmAnswer {
  return {
    microvmId: microvm.microvmId,
    state: wireState(microvm.state),
    endpoint,
    imageArn: microvm.imageArn,
    imageVersion: microvm.imageVersion,
    maximumDurationInSeconds: microvm.maximumDurationSeconds,
    startedAt: epochSeconds(microvm.startedAtMs),
    terminatedAt: microvm.terminatedAtMs === null ? null : epochSeconds(microvm.terminatedAtMs),
    stateReason: microvm.stateReason,
    terminationReasonCode: null,
    executionRoleArn: microvm.executionRoleArn,
    idlePolicy: microvm.idlePolicy,
    ingressNetworkConnectors: [...microvm.ingressConnectors],
    egressNetworkConnectors: [...microvm.egressConnectors],
  };
}

/** Exactly five members: section 1.3, ListMicrovms. */
export const renderMicrovmItem = (microvm: Microvm): MicrovmItem => ({
  microvmId: microvm.microvmId,
  state: wireState(microvm.state),
  imageArn: microvm.imageArn,
  imageVersion: microvm.imageVersion,
  startedAt: epochSeconds(microvm.startedAtMs),
});
