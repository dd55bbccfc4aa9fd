/** `lull bench checksums`: what the checksums of memory cost a suspend and a wake: a server that takes none, in turns with one that does. */
import { extname, join } from 'node:path';
import { z } from 'zod';
import type { Machine, OptionValues, Terminal } from '../cli/command-line.ts';
import { UsageError } from '../cli/command-line.ts';
import { startOwnServer } from '../cli/own-server.ts';
import { duration, json, size, table } from '../cli/table.ts';
import { buildOrFail, endpointsOf } from './bed.ts';
import { LullMicrovm, type FrontDoor } from './lull-microvm.ts';
import { Samples } from './samples.ts';
import { targetsTable, type Target } from './verdict.ts';

export interface ChecksumBenchParts {
  readonly terminal: Terminal;
  readonly machine: Machine;
}

const MAX_ROUNDS = 1000;
const options = z.object({
  n: z.coerce.number().int().min(1).max(MAX_ROUNDS).optional(),
  quick: z.boolean().default(false),
  json: z.boolean().default(false),
});

/** How much is done: enough for a figure, or only that everything is done once. */
const EXTENT = { full: { rounds: 20, heldMib: 512 }, quick: { rounds: 2, heldMib: 32 } } as const;
/** A guest of 1 GiB. */
const MEMORY_MIB = 256;
/** What checksums may add. */
const LIMIT = 1.05;

const SIDES = ['with', 'without'] as const;
type Side = (typeof SIDES)[number];
const OPERATIONS = ['suspend', 'wake'] as const;

/** What one size of memory came to. */
interface Load {
  readonly name: string;
  readonly path: string;
}

const series = (load: string, operation: (typeof OPERATIONS)[number], side: Side) => `${load}, ${operation} ${side} checksums`;
const ratioOf = (load: string, operation: (typeof OPERATIONS)[number]) => `${load}, ${operation} with by without checksums`;
const bytesOf = (load: string) => `${load}, bytes`;

/** Judged by the middle of the rounds' ratios. @returns the exit status: 0 once everything was measured, whatever the targets say */
export async function benchChecksums(values: OptionValues, { terminal, machine }: ChecksumBenchParts): Promise<number> {
  const chosen = options.safeParse(values);
  if (!chosen.success) throw new UsageError(`--${chosen.error.issues[0]!.path.join('.')}: ${chosen.error.issues[0]!.message}`, { cause: chosen.error });
  const { rounds: usual, heldMib } = chosen.data.quick ? EXTENT.quick : EXTENT.full;
  const rounds = chosen.data.n ?? usual;
  const loads: readonly Load[] = [
    { name: 'idle', path: '/' },
    { name: '16 MiB changed', path: '/step?1,1' },
    { name: `${heldMib} MiB held`, path: `/hold?${heldMib}` },
  ];
  const samples = new Samples();
  await using withThem = await startOwnServer(terminal, machine);
  await using without = await startOwnServer(terminal, { ...machine, self: withoutChecksums(machine.self) });
  const beds = { with: await bedOf(withThem.installation, { terminal, machine }), without: await bedOf(without.installation, { terminal, machine }) };
  for (const load of loads) {
    await measure(load, { beds, samples, rounds, signal: terminal.signal });
    terminal.say(`${load.name}: ${rounds} rounds`);
  }
  const targets = judge(loads, samples);
  terminal.out(chosen.data.json ? json({ rounds, samples, targets }) : render(loads, { samples, rounds, targets }));
  return 0;
}

function withoutChecksums(self: Machine['self']): Machine['self'] {
  const [node, ...rest] = self;
  // The same file, whether the sources run as they are or as the package's JavaScript.
  return [node, ...rest.slice(0, -1), `--import=${new URL(`./no-checksums${extname(import.meta.filename)}`, import.meta.url).pathname}`, rest.at(-1)!];
}

interface ChecksumBed {
  readonly door: FrontDoor;
  readonly imageArn: string;
}

async function bedOf(installation: FrontDoor['installation'], { terminal, machine }: ChecksumBenchParts): Promise<ChecksumBed> {
  const folder = join(machine.examples, 'soak-app');
  const imageArn = await buildOrFail(terminal, installation, { name: 'checksums', folder, memoryMib: MEMORY_MIB });
  return { door: { installation, endpoints: await endpointsOf(installation) }, imageArn };
}

interface MeasureOrder {
  readonly beds: Readonly<Record<Side, ChecksumBed>>;
  readonly samples: Samples;
  readonly rounds: number;
  readonly signal: AbortSignal;
}

/** The same microVM on both servers, suspended and woken in turns. */
async function measure({ name, path }: Load, { beds, samples, rounds, signal }: MeasureOrder): Promise<void> {
  const { microvm: checked } = await LullMicrovm.launch(beds.with.door, beds.with.imageArn, 'fresh');
  await using one = checked;
  const { microvm: unchecked } = await LullMicrovm.launch(beds.without.door, beds.without.imageArn, 'fresh');
  await using other = unchecked;
  const microvms = { with: one, without: other };
  for (const side of SIDES) await microvms[side].answer(path);
  // The first round also has the host read the files for the first time.
  for (let round = 0; round <= rounds; round += 1) {
    const times: Record<Side, Record<(typeof OPERATIONS)[number], number>> = { with: { suspend: 0, wake: 0 }, without: { suspend: 0, wake: 0 } };
    for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
      signal.throwIfAborted();
      const { ms, report } = await microvms[side].suspend();
      times[side] = { suspend: ms, wake: await microvms[side].resumeAndAsk('/') };
      if (round > 0) samples.add(bytesOf(name), report.bytesWritten);
    }
    if (round === 0) continue;
    for (const operation of OPERATIONS) {
      for (const side of SIDES) samples.add(series(name, operation, side), times[side][operation]);
      // What other programs do to the machine hits both halves of a ratio.
      samples.add(ratioOf(name, operation), times.with[operation] / times.without[operation]);
    }
  }
}

function judge(loads: readonly Load[], samples: Samples): Target[] {
  return loads.flatMap(({ name }) =>
    OPERATIONS.map((operation): Target => {
      const measured = samples.summary(ratioOf(name, operation)).p50;
      return { target: `${operation}, ${name}, with by without`, limit: LIMIT, measured, met: measured <= LIMIT };
    }),
  );
}

function render(loads: readonly Load[], { samples, rounds, targets }: { samples: Samples; rounds: number; targets: readonly Target[] }): string {
  const rows = loads.flatMap(({ name }) =>
    OPERATIONS.map((operation) => [
      `${operation}, ${name}`,
      size(samples.summary(bytesOf(name)).p50),
      ...SIDES.flatMap((side) => {
        const { p50, p95 } = samples.summary(series(name, operation, side));
        return [duration(p50), duration(p95)];
      }),
    ]),
  );
  const header = ['CHECKSUMS', 'MEMORY', 'WITH P50', 'P95', 'WITHOUT P50', 'P95'];
  return `${rounds} rounds, in turns\n\n${table(header, rows, new Set([1, 2, 3, 4, 5]))}\n${targetsTable(targets)}`;
}
