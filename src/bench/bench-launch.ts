/** `lull bench launch`: launch, suspend and wake against QEMU by hand, in one run. */
import { totalmem } from 'node:os';
import { z } from 'zod';
import type { Machine, OptionValues, Terminal } from '../cli/command-line.ts';
import { UsageError } from '../cli/command-line.ts';
import { json } from '../cli/table.ts';
import { makeBed, type Bed } from './bed.ts';
import { processors } from './processors.ts';
import { runChurns, runRounds } from './rounds.ts';
import { judge, renderResult, type BenchResult } from './verdict.ts';

export interface BenchParts {
  readonly terminal: Terminal;
  readonly machine: Machine;
  /** QEMU as it is started by hand. */
  readonly qemu: readonly [string, ...string[]];
}

const MAX_ROUNDS = 1000;
const options = z.object({
  n: z.coerce.number().int().min(1).max(MAX_ROUNDS).optional(),
  quick: z.boolean().default(false),
  json: z.boolean().default(false),
  profile: z.boolean().default(false),
  driver: z.enum(['auto', 'qemu']).default('auto'),
});
type Options = z.output<typeof options>;

/** How much is done: enough for a figure, or only that everything is done once. */
const EXTENT = {
  full: { rounds: 20, warmUps: 2, churnRounds: 3, touchedMib: 1024, churnMib: 1024 },
  quick: { rounds: 3, warmUps: 0, churnRounds: 1, touchedMib: 64, churnMib: 64 },
} as const;

/** @returns the exit status: 0 once everything was measured, whatever the targets say */
export async function benchLaunch(values: OptionValues, parts: BenchParts): Promise<number> {
  const chosen = parsed(values);
  const { terminal } = parts;
  const env = { ...terminal.env, LULL_DRIVER: chosen.driver };
  const result = await measure(chosen, { ...parts, terminal: { ...terminal, env } });
  if (chosen.json) terminal.out(json({ ...result, targets: judge(result) }));
  else terminal.out(renderResult(result, chosen.profile));
  return 0;
}

function parsed(values: OptionValues): Options {
  const result = options.safeParse(values);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new UsageError(`--${issue?.path.join('.')}: ${issue?.message}`, { cause: result.error });
}

async function measure({ n, quick }: Options, parts: BenchParts): Promise<BenchResult> {
  const { terminal } = parts;
  const { signal, say } = terminal;
  const { rounds: usual, warmUps, churnRounds, touchedMib, churnMib } = quick ? EXTENT.quick : EXTENT.full;
  const rounds = n ?? usual;
  await using bed = await makeBed({ ...parts, touchedMib, churnMib });
  const onRound = (what: string) => (round: number) => say(round < 1 ? `${what}: warm-up` : `${what}: round ${round} of ${rounds}`);
  const { images } = bed;
  const idle = await runRounds({ bed, image: images.idle, rounds, warmUps, signal, onRound: onRound('idle example') });
  const touched = await runRounds({ bed, image: images.touched, rounds, warmUps, signal, onRound: onRound(`${touchedMib} MiB touched`) });
  say(`${churnMib} MiB read, ${churnMib} MiB allocated and freed: ${churnRounds} rounds`);
  const churns = await runChurns({ bed, rounds: churnRounds, signal });
  return { machine: describe(bed), rounds, idle, touched, churns };
}

function describe({ recipe }: Bed): string {
  const gib = Math.round(totalmem() / 1024 ** 3);
  return `QEMU with ${recipe.accelerator}, ${processors()}, ${gib} GiB of memory`;
}
