/** `lull bench api`: whether the control plane is as quick with many microVMs in its store as with few. */
import { z } from 'zod';
import type { OptionValues, Terminal } from '../cli/command-line.ts';
import { UsageError } from '../cli/command-line.ts';
import { json, table } from '../cli/table.ts';
import { makeApiBed, type ApiBedPorts } from './api-bed.ts';
import { AT_ONCE, CALL_NAMES, runApiRounds, type ApiRoundsResult, type SideResult } from './api-rounds.ts';
import { processors } from './processors.ts';

export interface ApiBenchParts extends ApiBedPorts {
  readonly terminal: Terminal;
}

const MAX_ROUNDS = 10_000;
const options = z.object({
  n: z.coerce.number().int().min(1).max(MAX_ROUNDS).optional(),
  quick: z.boolean().default(false),
  json: z.boolean().default(false),
});

/** How much is in the stores, and how often each call is made. */
const EXTENT = {
  full: { small: 100, large: 10_000, rounds: 300, warmUps: 20 },
  quick: { small: 100, large: 1000, rounds: 8, warmUps: 2 },
} as const;
const IMAGES = 100;

/** The most that a hundred times the rows may cost. */
const GROWTH_LIMIT = 1.2;

/** One call, in the small store and in the large one. */
export interface ApiFigure {
  readonly call: string;
  readonly p50Ms: readonly [number, number];
  readonly p95Ms: readonly [number, number];
  readonly perSecond: readonly [number, number];
  readonly statements: readonly [number, number];
  readonly rows: readonly [number, number];
  /** The time in the large store by that in the small one: the middle of the rounds' ratios. */
  readonly growth: number;
  /** The same of the bursts behind `perSecond`. */
  readonly rateGrowth: number;
  readonly met: boolean;
}

export interface ApiBenchResult {
  readonly machine: string;
  readonly rounds: number;
  readonly microvms: readonly [number, number];
  readonly figures: readonly ApiFigure[];
}

/** @returns the exit status: 0 where no call grows by more than the limit, else 1 */
export async function benchApi(values: OptionValues, parts: ApiBenchParts): Promise<number> {
  const chosen = options.safeParse(values);
  if (!chosen.success) throw new UsageError(`--${chosen.error.issues[0]!.path.join('.')}: ${chosen.error.issues[0]!.message}`, { cause: chosen.error });
  const result = await measureApi(chosen.data, parts);
  parts.terminal.out(chosen.data.json ? json({ ...result, limit: GROWTH_LIMIT }) : renderApiResult(result));
  return result.figures.every(({ met }) => met) ? 0 : 1;
}

/** Makes both stores, measures and removes them. */
export async function measureApi({ n, quick }: { n?: number | undefined; quick: boolean }, { terminal, ...ports }: ApiBenchParts): Promise<ApiBenchResult> {
  const { small: few, large: many, rounds: usual, warmUps } = quick ? EXTENT.quick : EXTENT.full;
  const rounds = n ?? usual;
  const bedOf = (microvms: number) => makeApiBed({ size: { microvms, images: IMAGES }, connections: AT_ONCE, ...ports });
  await using small = await bedOf(few);
  await using large = await bedOf(many);
  terminal.say(`stores with ${few} and ${many} microVMs are made`);
  const onRound = (round: number) => (round > 0 && round % 100 === 0 ? terminal.say(`round ${round} of ${rounds}`) : undefined);
  const sides = await runApiRounds({ small, large, rounds, warmUps, signal: terminal.signal, onRound });
  const machine = processors();
  return { machine, rounds, microvms: [few, many], figures: CALL_NAMES.map((call) => figureOf(call, sides)) };
}

function figureOf(call: string, { small, large, ...ratios }: ApiRoundsResult): ApiFigure {
  const both = (of: (side: SideResult) => number) => [of(small), of(large)] as const;
  const growth = ratios.growth.summary(call).p50;
  const rateGrowth = ratios.rateGrowth.summary(call).p50;
  return {
    call,
    p50Ms: both(({ ms }) => ms.summary(call).p50),
    p95Ms: both(({ ms }) => ms.summary(call).p95),
    perSecond: both(({ rate }) => rate.summary(call).p50),
    statements: both(({ statements }) => statements.summary(call).p50),
    rows: both(({ rows }) => rows.summary(call).p50),
    growth,
    rateGrowth,
    met: growth <= GROWTH_LIMIT && rateGrowth <= GROWTH_LIMIT,
  };
}

const COLUMNS = 11;

function renderApiResult({ machine, rounds, microvms, figures }: ApiBenchResult): string {
  const ms = (pair: readonly [number, number]) => pair.map((value) => value.toFixed(2));
  const whole = (pair: readonly [number, number]) => pair.map((value) => String(Math.round(value)));
  const rows = figures.map(({ call, p50Ms, growth, p95Ms, perSecond, rateGrowth, statements, met }) => [
    call,
    ...ms(p50Ms),
    growth.toFixed(2),
    ...ms(p95Ms),
    ...whole(perSecond),
    rateGrowth.toFixed(2),
    whole(statements).join(' / '),
    met ? 'met' : 'missed',
  ]);
  const header = ['MS', 'P50', 'P50', 'GROWTH', 'P95', 'P95', 'CALLS/S', 'CALLS/S', 'GROWTH', 'STATEMENTS', `≤ ${GROWTH_LIMIT}`];
  const few = String(microvms[0]);
  const many = String(microvms[1]);
  const subheader = ['microVMs in the store', few, many, '', few, many, few, many, '', `${few} / ${many}`, ''];
  const right = new Set(Array.from({ length: COLUMNS - 2 }, (_, at) => at + 1));
  return `${machine}\n${rounds} rounds, both stores in turns; calls a second with ${AT_ONCE} at once\n\n${table(header, [subheader, ...rows], right)}`;
}
