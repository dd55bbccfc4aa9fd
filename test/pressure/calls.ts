/** Calls in any order, and what the table of states says of them: `src/domain/microvm.ts`. */
import assert from 'node:assert/strict';
import { MICROVM_REQUESTS, MICROVM_TRANSITIONS, type MicrovmRequest, type MicrovmState } from '../../src/domain/microvm.ts';
import { SeededRandom } from '../../src/lib/seeded-random.ts';

export type PressedRequest = Exclude<MicrovmRequest, 'token'>;

/** One call on one of a few microVMs. */
export interface PressedCall {
  readonly microvm: number;
  readonly request: PressedRequest;
}

/** The seed of this run: `LULL_SEED` makes an earlier one again. */
export const seedOfRun = () => Number(process.env['LULL_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

/** An end comes once in so many calls, so that most microVMs live through many. */
const END_IN = 60;

/** So many calls on so many microVMs, by a seed. */
export function callsOf({ seed, calls, microvms }: { seed: number; calls: number; microvms: number }): readonly PressedCall[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: calls }, () => ({
    microvm: random.below(microvms),
    request: random.below(END_IN) === 0 ? 'terminate' : random.pick(['suspend', 'resume'] as const),
  }));
}

const AFTER: Readonly<Record<PressedRequest, MicrovmState>> = { suspend: 'SUSPENDED', resume: 'RUNNING', terminate: 'TERMINATED' };

/** Microvms as the table says they are: one call after the other, each having ended before the next begins. */
export class Model {
  readonly #states = new Map<number, MicrovmState>();

  state(microvm: number): MicrovmState {
    return this.#states.get(microvm) ?? 'RUNNING';
  }

  /** @returns what has to come of the call */
  apply({ microvm, request }: PressedCall) {
    const outcome = MICROVM_REQUESTS[this.state(microvm)][request];
    if (outcome === 'do') this.#states.set(microvm, AFTER[request]);
    return outcome;
  }
}

/** Fails where a state follows another that no event leads to. @param states of one microVM, in order, after PENDING */
export function assertLegalLife(states: readonly string[], because: string): void {
  let before: MicrovmState = 'PENDING';
  for (const state of states as readonly MicrovmState[]) {
    assert.ok(Object.values(MICROVM_TRANSITIONS[before]).includes(state), `${because}: ${['PENDING', ...states].join(' ')}`);
    before = state;
  }
}
