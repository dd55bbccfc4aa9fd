/** The rounds of `lull bench api`: each call to the small store and to the large one in turn, so that a noisy machine is noisy for both. */
import type { OperationAnswer } from '../contract/operations.ts';
import { atMost } from '../lib/at-most.ts';
import type { ApiBed } from './api-bed.ts';
import { Samples } from './samples.ts';

/** What one call of each kind works on. */
interface Turn {
  readonly bed: ApiBed;
  readonly microvmIdentifier: string;
  readonly imageIdentifier: string;
  /** Launched by this turn, and not ended by it yet. */
  launched: string | undefined;
}

const PAGE = 50;

/** What is measured, in the order of a round: every turn leaves the states as it found them. */
const CALLS: Readonly<Record<string, (turn: Turn) => Promise<unknown>>> = {
  GetMicrovm: ({ bed, microvmIdentifier }) => bed.client.call('GetMicrovm', { microvmIdentifier }),
  'ListMicrovms, a page': ({ bed }) => expectFull(bed.client.call('ListMicrovms', { maxResults: PAGE })),
  'ListMicrovms, of an image': ({ bed, imageIdentifier }) => bed.client.call('ListMicrovms', { imageIdentifier, maxResults: 1 }),
  GetMicrovmImage: ({ bed, imageIdentifier }) => bed.client.call('GetMicrovmImage', { imageIdentifier }),
  'ListMicrovmImages, a page': ({ bed }) => bed.client.call('ListMicrovmImages', { maxResults: PAGE }),
  CreateMicrovmAuthToken: ({ bed, microvmIdentifier }) =>
    bed.client.call('CreateMicrovmAuthToken', { microvmIdentifier, expirationInMinutes: 5, allowedPorts: [{ port: 8080 }] }),
  SuspendMicrovm: ({ bed, microvmIdentifier }) => bed.client.call('SuspendMicrovm', { microvmIdentifier }),
  ResumeMicrovm: ({ bed, microvmIdentifier }) => bed.client.call('ResumeMicrovm', { microvmIdentifier }),
  RunMicrovm: async (turn) => {
    turn.launched = (await turn.bed.client.call('RunMicrovm', { imageIdentifier: turn.imageIdentifier })).microvmId;
  },
  TerminateMicrovm: async (turn) => {
    await turn.bed.client.call('TerminateMicrovm', { microvmIdentifier: turn.launched! });
    turn.launched = undefined;
  },
};

/** The names of what is measured. */
export const CALL_NAMES = Object.keys(CALLS);

/** Half a page would be half the work. */
async function expectFull(answer: Promise<OperationAnswer<'ListMicrovms'>>): Promise<void> {
  const { items } = await answer;
  if (items.length !== PAGE) throw new Error(`a page of ${items.length} microVMs`);
}

/** Figures of one store, by the name of the call. */
export interface SideResult {
  readonly ms: Samples;
  /** Calls a second with several under way at once. */
  readonly rate: Samples;
  readonly statements: Samples;
  readonly rows: Samples;
}

export interface ApiRoundsOrder {
  readonly small: ApiBed;
  readonly large: ApiBed;
  readonly rounds: number;
  readonly warmUps: number;
  readonly signal: AbortSignal;
  readonly onRound: (round: number) => void;
}

/** Calls that are made for a rate, and how many are under way at once. */
const BURST = 16;
export const AT_ONCE = 8;
/** A burst is worth this many single calls. */
const ROUNDS_PER_BURST = 4;

export async function runApiRounds({ small, large, rounds, warmUps, signal, onRound }: ApiRoundsOrder): Promise<{ small: SideResult; large: SideResult }> {
  let result = { small: emptyResult(), large: emptyResult() };
  for (let round = 0; round < warmUps + rounds; round += 1) {
    signal.throwIfAborted();
    if (round === warmUps) result = { small: emptyResult(), large: emptyResult() };
    const sides = [
      { bed: small, result: result.small },
      { bed: large, result: result.large },
    ];
    // Each goes first as often as the other: what the one before leaves behind (a busy disk) hits both alike.
    if (round % 2 === 1) sides.reverse();
    await measure(sides, { turns: 1, at: round, note: noteSingle });
    if ((round - warmUps) % ROUNDS_PER_BURST === 0) await measure(sides, { turns: BURST, at: round * BURST, note: noteBurst });
    onRound(round - warmUps + 1);
  }
  return result;
}

const emptyResult = (): SideResult => ({ ms: new Samples(), rate: new Samples(), statements: new Samples(), rows: new Samples() });

interface Side {
  readonly bed: ApiBed;
  readonly result: SideResult;
}

interface Measurement {
  readonly ms: number;
  readonly statements: number;
  readonly rows: number;
}

interface MeasureOrder {
  /** How many turns make the same call at once. */
  readonly turns: number;
  /** Where in the lists of microVMs and images the turns begin. */
  readonly at: number;
  readonly note: (result: SideResult, name: string, measured: Measurement) => void;
}

function noteSingle({ ms, statements, rows }: SideResult, name: string, measured: Measurement): void {
  ms.add(name, measured.ms);
  statements.add(name, measured.statements);
  rows.add(name, measured.rows);
}

const noteBurst = ({ rate }: SideResult, name: string, { ms }: Measurement) => rate.add(name, (BURST / ms) * 1000);

async function measure(sides: readonly Side[], { turns: count, at, note }: MeasureOrder): Promise<void> {
  const prepared = sides.map((side) => ({ ...side, turns: Array.from({ length: count }, (_, n) => turnOf(side.bed, at + n)) }));
  for (const [name, call] of Object.entries(CALLS)) {
    for (const { bed, result, turns } of prepared) {
      const before = bed.count();
      const startMs = performance.now();
      await atMost(AT_ONCE, turns, async (turn) => void (await call(turn)));
      const ms = performance.now() - startMs;
      // What goes on behind an answer (a launch) belongs to its call, and must not meet the next one.
      for (const { launched } of turns) if (launched !== undefined) await bed.settled(launched);
      const after = bed.count();
      note(result, name, { ms, statements: after.statements - before.statements, rows: after.rows - before.rows });
    }
  }
}

const turnOf = (bed: ApiBed, at: number): Turn => ({
  bed,
  launched: undefined,
  microvmIdentifier: bed.running[at % bed.running.length]!,
  imageIdentifier: bed.imageArns[at % bed.imageArns.length]!,
});
