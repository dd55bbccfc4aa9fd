/**
 * `lull soak cycles`: one microVM that is suspended and resumed again and again, all of its state looked at each time. A second
 * one does its first cycles in turns with the last cycles of the first, so that what the machine does meanwhile hits both alike.
 */
import { residentBytesOf } from './process-usage.ts';
import type { FrontDoor } from './lull-microvm.ts';
import { percentile } from './samples.ts';
import { SoakMicrovm, type SleepFigure } from './soak-microvm.ts';
import type { Target } from './verdict.ts';

/** One suspend and one resume. */
export interface CycleFigure extends SleepFigure {
  /** From ResumeMicrovm to an answer of the application. */
  readonly resumeMs: number;
}

export interface CyclesResult {
  /** Of the microVM that did them all, in order. */
  readonly old: readonly CycleFigure[];
  /** Of the one that only began when the other was about to end. */
  readonly young: readonly CycleFigure[];
  /** Memory of the server's process: once the first cycles were done, and at the end. */
  readonly serverBytes: readonly [number, number];
}

export interface CyclesOrder {
  readonly door: FrontDoor;
  readonly imageArn: string;
  readonly cycles: number;
  /** When no further one is begun, but those that are compared; milliseconds. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
  readonly onCycle: (cycle: number, figure: CycleFigure) => void;
}

/** Cycle 10 is in the middle of those that are compared: 6 to 14. */
const YOUNG_CYCLES = 14;
const WARM_UPS = 5;
/** What a cycle may cost at the end, by what it cost at first. */
const GROWTH_LIMIT = 1.2;

/** @throws StateLost where a byte is another than it was */
export async function runCycles({ door, imageArn, cycles, limitMs, signal, onCycle }: CyclesOrder): Promise<CyclesResult> {
  const old: CycleFigure[] = [];
  const young: CycleFigure[] = [];
  const youngCycles = youngOf(cycles);
  const endMs = performance.now() + limitMs;
  await using first = await SoakMicrovm.launch(door, imageArn, 1);
  const cycle = async (microvm: SoakMicrovm, figures: CycleFigure[]) => {
    signal.throwIfAborted();
    await microvm.step();
    const sleep = await microvm.suspend();
    figures.push({ ...sleep, resumeMs: await microvm.resume() });
    await microvm.check();
    if (figures === old) onCycle(old.length, old.at(-1)!);
  };
  while (old.length < cycles - youngCycles && performance.now() < endMs) await cycle(first, old);
  const earlyBytes = residentBytesOf(door.installation.server.pid);
  await using second = await SoakMicrovm.launch(door, imageArn, 2);
  while (young.length < youngCycles) {
    const turns = [() => cycle(first, old), () => cycle(second, young)] as const;
    for (const turn of old.length % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  return { old, young, serverBytes: [earlyBytes, residentBytesOf(door.installation.server.pid)] };
}

const youngOf = (cycles: number) => Math.min(YOUNG_CYCLES, Math.floor(cycles / 2));

/** Cycle 10 and its neighbours, or fewer where there are fewer. @param cycles of the old one */
const aroundTenth = (figures: readonly CycleFigure[], cycles: number) => figures.slice(Math.min(WARM_UPS, youngOf(cycles) - 1), youngOf(cycles));

/** Medians of a few cycles: around the tenth of both microVMs, and the last ones. */
export function compareCycles({ old, young }: Pick<CyclesResult, 'old' | 'young'>) {
  const tenth = aroundTenth(old, old.length);
  const beside = aroundTenth(young, old.length);
  const last = old.slice(-tenth.length);
  const medians = (of: keyof CycleFigure) => {
    const median = (figures: readonly CycleFigure[]) => percentile(figures.map((figure) => figure[of]), 50);
    return { tenth: median(tenth), young: median(beside), last: median(last) };
  };
  return { bytesWritten: medians('bytesWritten'), diskBytes: medians('diskBytes'), resumeMs: medians('resumeMs'), suspendMs: medians('suspendMs') };
}

/** Bytes by the microVM's own tenth cycle, times by another's that is done beside. */
export function judgeCycles(result: CyclesResult): Target[] {
  const { bytesWritten, diskBytes, resumeMs, suspendMs } = compareCycles(result);
  const target = (text: string, measured: number): Target => ({ target: text, limit: GROWTH_LIMIT, measured, met: measured <= GROWTH_LIMIT });
  return [
    target('a suspend writes, last by tenth', bytesWritten.last / bytesWritten.tenth),
    target('a sleeper takes of the disk, last by tenth', diskBytes.last / diskBytes.tenth),
    target('resume, last by a young one', resumeMs.last / resumeMs.young),
    target('suspend, last by a young one', suspendMs.last / suspendMs.young),
  ];
}
