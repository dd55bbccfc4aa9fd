/** Why microVMs ended. */
import type { MicrovmAnswer } from '../contract/microvms.ts';

/** What is told of a microVM that has ended, in one line; undefined while it has not. */
export function endOf({ microvmId, state, stateReason }: Pick<MicrovmAnswer, 'microvmId' | 'state' | 'stateReason'>): string | undefined {
  return state === 'TERMINATED' ? `${microvmId} has ended: ${stateReason?.replaceAll(/\s+/g, ' ') ?? 'no reason given'}` : undefined;
}
