/** The rounds of `lull bench launch`: by hand and through Lull, turn and turn about, so that a noisy machine is noisy for both. */
import type { ReportAnswer } from '../contract/extensions.ts';
import type { Bed, BenchImage } from './bed.ts';
import { LullMicrovm, type TlsMode } from './lull-microvm.ts';
import { RawMachine } from './raw-machine.ts';
import { Samples } from './samples.ts';

/** Series of one image's rounds; milliseconds but for the bytes. */
export const SERIES = {
  raw: 'raw launch',
  rawSave: 'raw save',
  rawSaveBytes: 'raw save bytes',
  accepted: 'RunMicrovm answered',
  launch: { fresh: 'launch', ahead: 'launch, TLS ahead' },
  wake: { fresh: 'wake', ahead: 'wake, TLS ahead' },
  suspend: 'suspend',
  suspendBytes: 'suspend bytes',
} as const;

export interface RoundsResult {
  readonly samples: Samples;
  /** Steps of our own launch, suspend and wake, as the server tells them. */
  readonly steps: Readonly<Record<'launch' | 'suspend' | 'wake', Samples>>;
}

export interface RoundsOrder {
  readonly bed: Bed;
  readonly image: BenchImage;
  readonly rounds: number;
  readonly warmUps: number;
  readonly signal: AbortSignal;
  readonly onRound: (round: number) => void;
}

/** Launch, suspend and wake of one image against QEMU by hand. */
export async function runRounds({ bed, image, rounds, warmUps, signal, onRound }: RoundsOrder): Promise<RoundsResult> {
  let result = emptyResult();
  for (let round = 0; round < warmUps + rounds; round += 1) {
    signal.throwIfAborted();
    if (round === warmUps) result = emptyResult();
    const turns = [
      () => rawTurn(bed, image, result),
      () => lullTurn(bed, image, { tls: 'fresh', result }),
      () => lullTurn(bed, image, { tls: 'ahead', result }),
    ];
    // Each goes first as often as the others: what the one before leaves behind (dirty pages, a warm cache) hits all alike.
    const first = round % turns.length;
    for (const turn of [...turns.slice(first), ...turns.slice(0, first)]) await turn();
    onRound(round - warmUps + 1);
  }
  return result;
}

const emptyResult = (): RoundsResult => ({
  samples: new Samples(),
  steps: { launch: new Samples(), suspend: new Samples(), wake: new Samples() },
});

async function rawTurn({ recipe }: Bed, image: BenchImage, { samples }: RoundsResult): Promise<void> {
  const launched = await RawMachine.launch(recipe, image);
  await using machine = launched.machine;
  samples.add(SERIES.raw, launched.ms);
  const saved = await machine.saveWhole();
  samples.add(SERIES.rawSave, saved.ms);
  samples.add(SERIES.rawSaveBytes, saved.bytes);
}

async function lullTurn(bed: Bed, image: BenchImage, { tls, result }: { tls: TlsMode; result: RoundsResult }): Promise<void> {
  const { samples, steps } = result;
  const launched = await LullMicrovm.launch(bed, image.arn, tls);
  await using microvm = launched.microvm;
  samples.add(SERIES.launch[tls], launched.ms);
  samples.add(SERIES.accepted, launched.acceptedMs);
  noteSteps(steps.launch, (await microvm.report()).launch);
  const suspended = await microvm.suspend();
  samples.add(SERIES.suspend, suspended.ms);
  samples.add(SERIES.suspendBytes, suspended.report.bytesWritten);
  noteSteps(steps.suspend, suspended.report.steps);
  samples.add(SERIES.wake[tls], await microvm.ask('/', tls));
  noteSteps(steps.wake, (await microvm.report()).wake);
}

function noteSteps(samples: Samples, steps: ReportAnswer['launch']): void {
  for (const { step, ms } of steps ?? []) samples.add(step, ms);
}

/** What a microVM did before it was suspended. */
export const CHURNS = { idle: '/', read: '/read', allocated: '/allocate' } as const;

export interface ChurnOrder {
  readonly bed: Bed;
  readonly rounds: number;
  readonly signal: AbortSignal;
}

/** Bytes that a suspend writes after nothing, after much reading, and after much memory came and went. */
export async function runChurns({ bed, rounds, signal }: ChurnOrder): Promise<Samples> {
  const samples = new Samples();
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, path] of Object.entries(CHURNS)) {
      signal.throwIfAborted();
      const launched = await LullMicrovm.launch(bed, bed.images.churned.arn, 'fresh');
      await using microvm = launched.microvm;
      await microvm.ask(path, 'fresh');
      const { ms, report } = await microvm.suspend();
      samples.add(name, report.bytesWritten);
      samples.add(churnTime(name), ms);
      samples.add(churnPages(name), report.zeroPages);
    }
  }
  return samples;
}

/** Series of the suspend's milliseconds. */
export const churnTime = (name: string) => `${name} ms`;
/** Series of the pages that had become zeros. */
export const churnPages = (name: string) => `${name} zero pages`;
