/** `lull soak many`: many microVMs on one server, suspended and woken at random by a few clients, each checked for its own state. */
import { atMost } from '../lib/at-most.ts';
import { SeededRandom } from '../lib/seeded-random.ts';
import type { FrontDoor } from './lull-microvm.ts';
import { residentBytesOf } from './process-usage.ts';
import { Samples } from './samples.ts';
import { SoakMicrovm } from './soak-microvm.ts';

/** Series in milliseconds. */
export const MANY_SERIES = { request: 'wake by a request', resume: 'ResumeMicrovm to an answer', suspend: 'suspend' } as const;

export interface ManyResult {
  readonly samples: Samples;
  /** How often a client had a microVM in hand, and found its state whole. */
  readonly checks: number;
  readonly mostAwake: number;
  /** Memory of the server's process: once all were asleep for the first time, and at the end. */
  readonly serverBytes: readonly [number, number];
}

export interface ManyOrder {
  readonly door: FrontDoor;
  readonly imageArn: string;
  readonly microvms: number;
  readonly clients: number;
  readonly durationMs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
}

/** One turn in so many leaves its microVM awake: a quarter of all are, in the long run. */
const AWAKE_IN = 4;
const PROGRESS_MS = 10_000;
const SECOND_MS = 1000;

/** @throws StateLost where a microVM is not as it was left */
export async function runMany(order: ManyOrder): Promise<ManyResult> {
  const { door, microvms, clients, onProgress } = order;
  await using stack = new AsyncDisposableStack();
  const all: SoakMicrovm[] = [];
  const soak = new Many(order, all);
  await atMost(clients, Array.from({ length: microvms }, (_, key) => key + 1), async (key) => {
    order.signal.throwIfAborted();
    const microvm = stack.use(await SoakMicrovm.launch(door, order.imageArn, key));
    all.push(microvm);
    await soak.suspend(microvm);
  });
  onProgress(`${microvms} microVMs sleep, each with a state of its own`);
  const earlyBytes = residentBytesOf(door.installation.server.pid);
  const endMs = performance.now() + order.durationMs;
  await Promise.all(Array.from({ length: clients }, (_, client) => soak.client(new SeededRandom(order.seed + client), endMs)));
  onProgress('time is up: every one of them is looked at once more');
  await atMost(clients, all, async (microvm) => {
    if (!microvm.isAwake) await soak.wake(microvm, 'request');
    await soak.check(microvm);
    await soak.suspend(microvm);
  });
  const { samples, checks, mostAwake } = soak;
  return { samples, checks, mostAwake, serverBytes: [earlyBytes, residentBytesOf(door.installation.server.pid)] };
}

class Many {
  readonly samples = new Samples();
  checks = 0;
  mostAwake = 0;
  readonly #order: ManyOrder;
  readonly #all: readonly SoakMicrovm[];
  readonly #taken = new Set<SoakMicrovm>();
  readonly #startMs = performance.now();
  #toldMs = 0;

  constructor(order: ManyOrder, all: readonly SoakMicrovm[]) {
    this.#order = order;
    this.#all = all;
  }

  /** Takes one that nobody else has, turn after turn. */
  async client(random: SeededRandom, endMs: number): Promise<void> {
    while (performance.now() < endMs) {
      this.#order.signal.throwIfAborted();
      const microvm = random.pick(this.#all.filter((one) => !this.#taken.has(one)));
      this.#taken.add(microvm);
      if (!microvm.isAwake) await this.wake(microvm, random.pick(['request', 'resume']));
      await this.check(microvm);
      await microvm.step();
      if (random.below(AWAKE_IN) > 0) await this.suspend(microvm);
      this.#taken.delete(microvm);
      this.#tell();
    }
  }

  async wake(microvm: SoakMicrovm, way: 'request' | 'resume'): Promise<void> {
    this.samples.add(MANY_SERIES[way], await (way === 'request' ? microvm.wakeByRequest() : microvm.resume()));
    this.mostAwake = Math.max(this.mostAwake, this.#awake());
  }

  async suspend(microvm: SoakMicrovm): Promise<void> {
    this.samples.add(MANY_SERIES.suspend, (await microvm.suspend()).suspendMs);
  }

  async check(microvm: SoakMicrovm): Promise<void> {
    await microvm.check();
    this.checks += 1;
  }

  #awake(): number {
    return this.#all.filter(({ isAwake }) => isAwake).length;
  }

  #tell(): void {
    const nowMs = performance.now() - this.#startMs;
    if (nowMs - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = nowMs;
    this.#order.onProgress(`${Math.round(nowMs / SECOND_MS)} s: ${this.checks} times a state was whole, ${this.#awake()} are awake`);
  }
}
