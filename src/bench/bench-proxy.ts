/** `lull bench proxy`: the data plane against nginx, against a WebSocket by hand, and against the agent's channel, in one run. */
import { z } from 'zod';
import type { Machine, OptionValues, Terminal } from '../cli/command-line.ts';
import { UsageError } from '../cli/command-line.ts';
import { json } from '../cli/table.ts';
import type { Clock } from '../domain/ports.ts';
import { makeBed } from './bed.ts';
import { processors } from './processors.ts';
import { makeProxyBed } from './proxy-bed.ts';
import { runMicrovmRounds, type MicrovmExtent, type ThroughMicrovm } from './proxy-microvm-rounds.ts';
import { runNativeRounds, type NativeResult, type ProxyExtent } from './proxy-rounds.ts';
import { judgeProxy, proxyFigures, renderProxyResult, type ProxyBenchResult } from './proxy-verdict.ts';

export interface ProxyBenchParts {
  readonly terminal: Terminal;
  readonly machine: Machine;
  readonly clock: Clock;
  /** QEMU as it is started by hand; asked for where microVMs are measured. */
  readonly qemu: () => Promise<readonly [string, ...string[]]>;
}

const MAX_ROUNDS = 1000;
const options = z.object({
  n: z.coerce.number().int().min(1).max(MAX_ROUNDS).optional(),
  quick: z.boolean().default(false),
  native: z.boolean().default(false),
  json: z.boolean().default(false),
});
type Options = z.output<typeof options>;

const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** How much is done: enough for a figure, or only that everything is done once. */
const EXTENT = {
  full: { rounds: 5, ms: 4000, bulkBytes: GIB, sockets: 2000, requests: 200 },
  quick: { rounds: 1, ms: 200, bulkBytes: 4 * MIB, sockets: 50, requests: 20 },
} as const satisfies Record<string, ProxyExtent & MicrovmExtent>;
/** The images are those of `lull bench launch`, as small as they can be made. */
const SMALL_IMAGES = { touchedMib: 1, churnMib: 1 };

/** @returns the exit status: 0 once everything was measured, whatever the targets say */
export async function benchProxy(values: OptionValues, parts: ProxyBenchParts): Promise<number> {
  const chosen = options.safeParse(values);
  if (!chosen.success) throw new UsageError(`--${chosen.error.issues[0]!.path.join('.')}: ${chosen.error.issues[0]!.message}`, { cause: chosen.error });
  const result = await measure(chosen.data, parts);
  const { terminal } = parts;
  terminal.out(chosen.data.json ? json({ ...proxyFigures(result), targets: judgeProxy(result) }) : renderProxyResult(result));
  return 0;
}

async function measure({ n, quick, native: isNative }: Options, parts: ProxyBenchParts): Promise<ProxyBenchResult> {
  const usual = quick ? EXTENT.quick : EXTENT.full;
  const extent = { ...usual, rounds: n ?? usual.rounds };
  const machine = processors();
  const native = await measureNative(extent, parts);
  const microvm = isNative ? undefined : await measureMicrovms(extent, parts);
  return { machine, extent, native, microvm };
}

async function measureNative(extent: ProxyExtent, { terminal, clock }: ProxyBenchParts): Promise<NativeResult> {
  const { env, signal, say } = terminal;
  await using bed = await makeProxyBed({ bulkBytes: extent.bulkBytes, env, clock });
  if (!bed.hasNginx) say('there is no nginx on this machine: apt-get install -y --no-install-recommends nginx-light');
  return await runNativeRounds({ bed, extent, signal, onRound: (what, round) => say(round === 0 ? `${what}: warm-up` : `${what}: round ${round}`) });
}

async function measureMicrovms(extent: MicrovmExtent, { terminal, machine, qemu }: ProxyBenchParts): Promise<ThroughMicrovm> {
  const { signal, say } = terminal;
  await using bed = await makeBed({ terminal, machine, qemu: await qemu(), ...SMALL_IMAGES });
  return await runMicrovmRounds({ bed, extent, signal, onRound: (what, round) => say(`${what}: round ${round}`) });
}
