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

export interface ApiRoundsResult {
  readonly small: SideResult;
  readonly large: SideResult;
  /** Time in the large store by that in the small one, a ratio for each round: its halves are next to each other. */
  readonly growth: Samples;
  /** The same of the bursts. */
  readonly rateGrowth: Samples;
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
/** Rounds from one burst to the next. */
const BURST_EVERY = 2;

export async function runApiRounds({ small, large, rounds, warmUps, signal, onRound }: ApiRoundsOrder): Promise<ApiRoundsResult> {
  let result = emptyResult();
  for (let round = 0; round < warmUps + rounds; round += 1) {
    signal.throwIfAborted();
    if (round === warmUps) result = emptyResult();
    // Each goes first as often as the other: what the one before leaves behind (a busy disk) hits both alike.
    const order: RoundOrder = { small, large, first: round % 2 === 0 ? 'small' : 'large', at: round };
    await singleCalls(order, result);
    if ((round - warmUps) % BURST_EVERY === 0) await bursts(order, result);
    onRound(round - warmUps + 1);
  }
  return result;
}

const emptySide = (): SideResult => ({ ms: new Samples(), rate: new Samples(), statements: new Samples(), rows: new Samples() });
const emptyResult = (): ApiRoundsResult => ({ small: emptySide(), large: emptySide(), growth: new Samples(), rateGrowth: new Samples() });

interface RoundOrder {
  readonly small: ApiBed;
  readonly large: ApiBed;
  readonly first: 'small' | 'large';
  /** Tells one round's microVMs and images from another's. */
  readonly at: number;
}

async function singleCalls(order: RoundOrder, result: ApiRoundsResult): Promise<void> {
  for await (const { name, small, large } of measured(order, 1)) {
    for (const [side, figures] of [[result.small, small], [result.large, large]] as const) {
      side.ms.add(name, figures.ms);
      side.statements.add(name, figures.statements);
      side.rows.add(name, figures.rows);
    }
    result.growth.add(name, large.ms / small.ms);
  }
}

async function bursts(order: RoundOrder, result: ApiRoundsResult): Promise<void> {
  for await (const { name, small, large } of measured(order, BURST)) {
    result.small.rate.add(name, (BURST / small.ms) * SECOND_MS);
    result.large.rate.add(name, (BURST / large.ms) * SECOND_MS);
    result.rateGrowth.add(name, large.ms / small.ms);
  }
}

const SECOND_MS = 1000;

interface Measurement {
  readonly ms: number;
  readonly statements: number;
  readonly rows: number;
}

/** Makes each call on both sides, by so many turns at once. */
async function* measured({ small, large, first, at }: RoundOrder, turns: number): AsyncIterable<{ name: string; small: Measurement; large: Measurement }> {
  const turnsOf = (bed: ApiBed) => Array.from({ length: turns }, (_, n) => turnOf(bed, at * turns + n));
  const sides = { small: { bed: small, turns: turnsOf(small) }, large: { bed: large, turns: turnsOf(large) } };
  for (const [name, call] of Object.entries(CALLS)) {
    if (first === 'small') {
      const ofSmall = await measure(sides.small, call);
      yield { name, small: ofSmall, large: await measure(sides.large, call) };
    } else {
      const ofLarge = await measure(sides.large, call);
      yield { name, small: await measure(sides.small, call), large: ofLarge };
    }
  }
}

async function measure({ bed, turns }: { bed: ApiBed; turns: readonly Turn[] }, call: (turn: Turn) => Promise<unknown>): Promise<Measurement> {
  const before = bed.count();
  const startMs = performance.now();
  await atMost(AT_ONCE, turns, async (turn) => void (await call(turn)));
  const ms = performance.now() - startMs;
  // What goes on behind an answer (a launch) belongs to its call, and must not meet the next one.
  for (const { launched } of turns) if (launched !== undefined) await bed.settled(launched);
  const after = bed.count();
  return { ms, statements: after.statements - before.statements, rows: after.rows - before.rows };
}

const turnOf = (bed: ApiBed, at: number): Turn => ({
  bed,
  launched: undefined,
  microvmIdentifier: bed.running[at % bed.running.length]!,
  imageIdentifier: bed.imageArns[at % bed.imageArns.length]!,
});
