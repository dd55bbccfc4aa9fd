/** The native rounds of `lull bench proxy`: the same load to each server in turn, so that a noisy machine is noisy for all. */
import type { LoadOrder } from './load.ts';
import { cpuMsOf, residentBytesOf } from './process-usage.ts';
import type { ProxyBed, Side, SideName } from './proxy-bed.ts';
import { Samples } from './samples.ts';

/** How much is done. */
export interface ProxyExtent {
  readonly rounds: number;
  /** How long requests are made, each time. */
  readonly ms: number;
  readonly bulkBytes: number;
  readonly sockets: number;
}

/** As many clients as the figures for throughput are told for. */
export const CONNECTIONS = 64;

/** What is measured, by the name of its series. */
export const LOADS = { many: 'requests, 64 connections', one: 'requests, one at a time', down: 'bulk down', up: 'bulk up' } as const;
export type LoadName = keyof typeof LOADS;

/** Series of one server, by the name of the load. */
export interface SideFigures {
  /** Requests or bytes a second. */
  readonly perSecond: Samples;
  /** How much of its core the server used. */
  readonly busy: Samples;
  /** Milliseconds of a processor for each request or byte. */
  readonly cpuMs: Samples;
  readonly p50Ms: Samples;
  readonly p99Ms: Samples;
}

export interface NativeResult {
  readonly sides: ReadonlyMap<SideName, SideFigures>;
  /** Bytes for each idle WebSocket, by the name of the side. */
  readonly socketBytes: Samples;
}

export interface NativeOrder {
  readonly bed: ProxyBed;
  readonly extent: ProxyExtent;
  readonly signal: AbortSignal;
  readonly onRound: (what: string, round: number) => void;
}

const WARM_UP_MS = 1000;
const SECOND_MS = 1000;

export async function runNativeRounds(order: NativeOrder): Promise<NativeResult> {
  return { sides: await measureLoads(order), socketBytes: await measureSockets(order) };
}

async function measureLoads({ bed, extent, signal, onRound }: NativeOrder): Promise<ReadonlyMap<SideName, SideFigures>> {
  await using stack = new AsyncDisposableStack();
  const sides = new Map<SideName, Side | undefined>([['direct', undefined]]);
  for (const name of ['nginx', 'bare', 'proxy'] as const) {
    if (name !== 'nginx' || bed.hasNginx) sides.set(name, stack.use(await bed.start(name)));
  }
  const figures = new Map<SideName, SideFigures>([...sides.keys()].map((name) => [name, emptyFigures()]));
  const names = [...sides.keys()];
  for (let round = 0; round <= extent.rounds; round += 1) {
    for (const load of Object.keys(LOADS) as LoadName[]) {
      // Each goes first as often as the others.
      const first = round % names.length;
      for (const name of [...names.slice(first), ...names.slice(0, first)]) {
        signal.throwIfAborted();
        const side = sides.get(name);
        const measured = await measure(bed, side, orderOf(load, side?.target ?? bed.direct, round === 0 ? { ...extent, ms: WARM_UP_MS } : extent));
        // The first round is for compilers and caches.
        if (round > 0) note(figures.get(name)!, load, measured);
      }
    }
    onRound('requests and bulk', round);
  }
  return figures;
}

const emptyFigures = (): SideFigures => ({
  perSecond: new Samples(),
  busy: new Samples(),
  cpuMs: new Samples(),
  p50Ms: new Samples(),
  p99Ms: new Samples(),
});

function orderOf(load: LoadName, target: LoadOrder['target'], { ms }: ProxyExtent): LoadOrder {
  switch (load) {
    case 'many':
      return { what: 'requests', target, connections: CONNECTIONS, ms };
    case 'one':
      return { what: 'requests', target, connections: 1, ms };
    case 'down':
    case 'up':
      return { what: load, target };
  }
  return load satisfies never;
}

interface Measured {
  readonly perSecond: number;
  readonly busy: number;
  readonly cpuMs: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(bed: ProxyBed, side: Side | undefined, order: LoadOrder): Promise<Measured> {
  const before = side && cpuMsOf(side.pid);
  const { ms, amount, p50, p99 } = await bed.load(order);
  const cpuMs = side === undefined ? 0 : cpuMsOf(side.pid) - before!;
  return { perSecond: (amount / ms) * SECOND_MS, busy: cpuMs / ms, cpuMs: cpuMs / amount, p50, p99 };
}

function note(figures: SideFigures, load: LoadName, { perSecond, busy, cpuMs, p50, p99 }: Measured): void {
  figures.perSecond.add(load, perSecond);
  figures.busy.add(load, busy);
  figures.cpuMs.add(load, cpuMs);
  figures.p50Ms.add(load, p50);
  figures.p99Ms.add(load, p99);
}

/** Rounds of the memory, which hardly varies. */
const SOCKET_ROUNDS = 2;
/** Opened and closed before anything is counted: code, buffers and tables are there then. */
const FIRST_SOCKETS = 100;

async function measureSockets({ bed, extent, signal, onRound }: NativeOrder): Promise<Samples> {
  const samples = new Samples();
  for (let round = 0; round < Math.min(SOCKET_ROUNDS, extent.rounds); round += 1) {
    for (const name of ['bare', 'proxy', 'nginx'] as const) {
      signal.throwIfAborted();
      if (name === 'nginx' && !bed.hasNginx) continue;
      // A heap that has grown before would hide what these need.
      await using side = await bed.start(name);
      const { target } = side;
      await bed.load({ what: 'sockets', target, count: Math.min(FIRST_SOCKETS, extent.sockets) });
      await bed.load({ what: 'sockets', target, count: 0 });
      await side.tidy();
      const before = residentBytesOf(side.pid);
      await bed.load({ what: 'sockets', target, count: extent.sockets });
      await side.tidy();
      samples.add(name, (residentBytesOf(side.pid) - before) / extent.sockets);
      await bed.load({ what: 'sockets', target, count: 0 });
    }
    onRound('idle WebSockets', round + 1);
  }
  return samples;
}
