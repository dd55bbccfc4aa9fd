/** The rounds of `lull bench proxy` with real microVMs: the agent's channel by itself and through the data plane, and two ways to wake. */
import type { Duplex } from 'node:stream';
import type { Bed } from './bed.ts';
import { openTls } from './endpoint-call.ts';
import { LeanClient } from './lean-client.ts';
import { LullMicrovm } from './lull-microvm.ts';
import { RawMachine } from './raw-machine.ts';
import { Samples } from './samples.ts';

/** Series: requests and bytes a second, over one connection that is kept. */
export const CHANNEL = {
  requests: { direct: 'requests, channel alone', proxy: 'requests, through the proxy' },
  down: { direct: 'bulk down, channel alone', proxy: 'bulk down, through the proxy' },
} as const;
/** Series in milliseconds. */
export const WAKE = { request: 'wake by a request', resume: 'ResumeMicrovm, then a request' } as const;

export interface ThroughMicrovm {
  readonly channel: Samples;
  readonly wake: Samples;
}

export interface MicrovmExtent {
  readonly rounds: number;
  /** In each round, one after the other. */
  readonly requests: number;
}

export interface MicrovmOrder {
  readonly bed: Bed;
  readonly extent: MicrovmExtent;
  readonly signal: AbortSignal;
  readonly onRound: (what: string, round: number) => void;
}

const SECOND_MS = 1000;
/** What `/download` of the image answers. */
const DOWNLOAD_BYTES = 32 * 1024 * 1024;
/** The application's code is translated by then. */
const WARM_UP_REQUESTS = 20;

export async function runMicrovmRounds(order: MicrovmOrder): Promise<ThroughMicrovm> {
  return { channel: await measureChannel(order), wake: await measureWake(order) };
}

async function measureChannel({ bed, extent, signal, onRound }: MicrovmOrder): Promise<Samples> {
  const samples = new Samples();
  const image = bed.images.churned;
  const byHand = await RawMachine.launch(bed.recipe, image);
  await using machine = byHand.machine;
  const throughLull = await LullMicrovm.launch(bed, image.arn, 'ahead');
  await using microvm = throughLull.microvm;
  const sides = [
    { side: 'direct', stream: await machine.open(), headers: machine.headers },
    { side: 'proxy', stream: await openTls(bed.endpoints), headers: microvm.headers },
  ] as const;
  const clients = sides.map(({ side, stream, headers }) => ({ side, ask: asking(stream, headers) }));
  for (const { ask } of clients) for (let n = 0; n < WARM_UP_REQUESTS; n += 1) await ask('/');
  for (let round = 0; round < extent.rounds; round += 1) {
    for (const { side, ask } of round % 2 === 0 ? clients : clients.toReversed()) {
      signal.throwIfAborted();
      const startMs = performance.now();
      for (let n = 0; n < extent.requests; n += 1) await ask('/');
      const betweenMs = performance.now();
      await ask('/download');
      samples.add(CHANNEL.requests[side], (extent.requests / (betweenMs - startMs)) * SECOND_MS);
      samples.add(CHANNEL.down[side], (DOWNLOAD_BYTES / (performance.now() - betweenMs)) * SECOND_MS);
    }
    onRound('channel', round + 1);
  }
  for (const { stream } of sides) stream.destroy();
  return samples;
}

function asking(stream: Duplex, headers: Readonly<Record<string, string>>): (path: string) => Promise<void> {
  const client = new LeanClient(stream);
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return (path) => client.send(Buffer.from(`GET ${path} HTTP/1.1\r\n${fields}\r\n`));
}

async function measureWake({ bed, extent, signal, onRound }: MicrovmOrder): Promise<Samples> {
  const samples = new Samples();
  const launched = await LullMicrovm.launch(bed, bed.images.idle.arn, 'ahead');
  await using microvm = launched.microvm;
  // The first wake also has the host read the files for the first time.
  for (let round = 0; round <= extent.rounds; round += 1) {
    for (const way of round % 2 === 0 ? (['request', 'resume'] as const) : (['resume', 'request'] as const)) {
      signal.throwIfAborted();
      await microvm.suspend();
      const ms = way === 'request' ? await microvm.ask('/', 'ahead') : await microvm.resumeAndAsk('/');
      if (round > 0) samples.add(WAKE[way], ms);
    }
    if (round > 0) onRound('wake', round);
  }
  return samples;
}
