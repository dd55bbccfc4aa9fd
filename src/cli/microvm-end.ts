/** Why microVMs ended. */
import type { MicrovmAnswer } from '../contract/microvms.ts';

/** A `stateReason` in one line: it may hold the words of what failed. */
export const reasonLine = (stateReason: string | null) => stateReason?.replaceAll(/\s+/g, ' ');

/** What is told of a microVM that has ended, in one line; undefined while it has not. */
export function endOf({ microvmId, state, stateReason }: Pick<MicrovmAnswer, 'microvmId' | 'state' | 'stateReason'>): string | undefined {
  return state === 'TERMINATED' ? `${microvmId} has ended: ${reasonLine(stateReason) ?? 'no reason given'}` : undefined;
}
