/** `lull soak`: whether anything is lost, or grows, when microVMs sleep and wake for long. */
import { join } from 'node:path';
import { z } from 'zod';
import type { Machine, OptionValues, Terminal } from '../cli/command-line.ts';
import { UsageError } from '../cli/command-line.ts';
import { startOwnServer } from '../cli/own-server.ts';
import { duration, json, size, table } from '../cli/table.ts';
import type { Random } from '../domain/ports.ts';
import { buildOrFail, endpointsOf } from './bed.ts';
import type { FrontDoor } from './lull-microvm.ts';
import { processors } from './processors.ts';
import { compareCycles, judgeCycles, runCycles, type CyclesResult } from './soak-cycles.ts';
import { MANY_SERIES, runMany, type ManyResult } from './soak-many.ts';
import { targetsTable } from './verdict.ts';

export interface SoakParts {
  readonly terminal: Terminal;
  readonly machine: Machine;
  readonly random: Pick<Random, 'bytes'>;
}

/** A guest of 512 MiB: enough for what the application holds and lets go. */
const MEMORY_MIB = 128;
const MAX_CYCLES = 100_000;
const MAX_MICROVMS = 1000;
const MAX_CLIENTS = 64;
const MAX_MINUTES = 24 * 60;
const MINUTE_MS = 60_000;
const TELL_EVERY = 10;
/** Of many microVMs; cycles end by their number. */
const USUAL_MINUTES = 10;

const options = z.object({
  // Two of each are the least that can be compared.
  n: z.coerce.number().int().min(4).max(MAX_CYCLES).default(1000),
  microvms: z.coerce.number().int().min(1).max(MAX_MICROVMS).default(100),
  clients: z.coerce.number().int().min(1).max(MAX_CLIENTS).default(8),
  minutes: z.coerce.number().positive().max(MAX_MINUTES).optional(),
  seed: z.coerce.number().int().min(0).max(2 ** 32 - 1).optional(),
  json: z.boolean().default(false),
});
type Options = z.output<typeof options>;

/** @returns the exit status: 0 where nothing was lost and nothing grew, else 1 @throws StateLost where something was lost */
export async function soak(name: string, values: OptionValues, parts: SoakParts): Promise<number> {
  const chosen = options.safeParse(values);
  if (!chosen.success) throw new UsageError(`--${chosen.error.issues[0]!.path.join('.')}: ${chosen.error.issues[0]!.message}`, { cause: chosen.error });
  switch (name) {
    case 'cycles':
      return await soakCycles(chosen.data, parts);
    case 'many':
      return await soakMany(chosen.data, parts);
    default:
      throw new UsageError(`There is no soak ${name}; there are: cycles, many.`);
  }
}

async function soakCycles({ n, minutes = MAX_MINUTES, json: asJson }: Options, { terminal, machine }: SoakParts): Promise<number> {
  const onCycle = (cycle: number, { bytesWritten, suspendMs, resumeMs }: CyclesResult['old'][number]) => {
    if (cycle % TELL_EVERY === 0) terminal.say(`cycle ${cycle} of ${n}: ${size(bytesWritten)} in ${duration(suspendMs)}, back after ${duration(resumeMs)}`);
  };
  const result = await onOwnServer({ terminal, machine }, (bed) => runCycles({ ...bed, cycles: n, limitMs: minutes * MINUTE_MS, signal: terminal.signal, onCycle }));
  const targets = judgeCycles(result);
  terminal.out(asJson ? json({ machine: processors(), ...result, targets }) : `${renderCycles(result)}\n${targetsTable(targets)}`);
  return targets.every(({ met }) => met) ? 0 : 1;
}

async function soakMany(chosen: Options, { terminal, machine, random }: SoakParts): Promise<number> {
  const { microvms, minutes = USUAL_MINUTES } = chosen;
  // As many clients as microVMs leave each the choice of one.
  const clients = Math.min(chosen.clients, microvms);
  const seed = chosen.seed ?? random.bytes(4).readUInt32LE();
  terminal.say(`--seed ${seed}`);
  const extent = { microvms, clients, durationMs: minutes * MINUTE_MS, seed };
  const result = await onOwnServer({ terminal, machine }, (bed) => runMany({ ...bed, ...extent, signal: terminal.signal, onProgress: terminal.say }));
  terminal.out(chosen.json ? json({ machine: processors(), ...extent, ...result }) : renderMany(result, extent));
  return 0;
}

type Soaked = Pick<SoakParts, 'terminal' | 'machine'>;

/** The server is gone afterwards; where something fails, what it had to say about it is shown. */
async function onOwnServer<T>({ terminal, machine }: Soaked, work: (bed: { door: FrontDoor; imageArn: string }) => Promise<T>): Promise<T> {
  await using server = await startOwnServer(terminal, machine);
  const { installation } = server;
  const folder = join(machine.examples, 'soak-app');
  try {
    const imageArn = await buildOrFail(terminal, installation, { name: 'soak', folder, memoryMib: MEMORY_MIB });
    return await work({ door: { installation, endpoints: await endpointsOf(installation) }, imageArn });
  } catch (error) {
    if (!terminal.signal.aborted) for (const line of server.complaints()) terminal.say(`server: ${line}`);
    throw error;
  }
}

function renderCycles(result: CyclesResult): string {
  const compared = compareCycles(result);
  const row = (what: string, { tenth, young, last }: (typeof compared)['resumeMs'], text: (value: number) => string) => [what, text(tenth), text(last), text(young)];
  const rows = [
    row('a suspend writes', compared.bytesWritten, size),
    row('a sleeper takes of the disk', compared.diskBytes, size),
    row('suspend', compared.suspendMs, duration),
    row('resume, to an answer', compared.resumeMs, duration),
  ];
  const [early, late] = result.serverBytes;
  return [
    `${processors()}\n${result.old.length} cycles, every byte whole after each; medians of a few cycles\n`,
    table(['CYCLES', 'AROUND 10', 'LAST', 'YOUNG, BESIDE THE LAST'], rows, new Set([1, 2, 3])),
    `the server's memory: ${size(early)} before the last cycles, ${size(late)} after them\n`,
  ].join('\n');
}

function renderMany({ samples, checks, mostAwake, serverBytes }: ManyResult, { microvms, clients, durationMs }: { microvms: number; clients: number; durationMs: number }): string {
  const rows = Object.values(MANY_SERIES)
    .filter((name) => samples.names().includes(name))
    .map((name) => {
      const { n, p50, p95 } = samples.summary(name);
      return [name, `${n}`, duration(p50), duration(p95)];
    });
  const [early, late] = serverBytes;
  return [
    `${processors()}\n${microvms} microVMs, ${clients} clients, ${(durationMs / MINUTE_MS).toFixed(1)} minutes\n`,
    table(['', 'TIMES', 'P50', 'P95'], rows, new Set([1, 2, 3])),
    `${checks} times a microVM was looked at, and each time it was whole; ${mostAwake} were awake at once at most`,
    `the server's memory: ${size(early)} when all slept for the first time, ${size(late)} at the end\n`,
  ].join('\n');
}
