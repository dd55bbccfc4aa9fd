/** The real server with its effects and its time steered: a {@link LullServer} of which one step can be brought to grief. */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { within } from '../../src/lib/deadline.ts';
import { SILENT } from '../../src/lib/log.ts';
import { contextsFolder } from '../../src/main/container-builder.ts';
import { platformFolder } from '../../src/setup/platform.ts';
import { openStore } from '../../src/store/store.ts';
import { Calls } from '../faults/calls.ts';
import type { Fault } from '../faults/fault-port.ts';
import { rowsOf, straysOf, type Rows } from '../faults/strays.ts';
import { LullServer } from './lull-server.ts';
import type { Steering } from './steered-process.ts';

const PROGRAM = join(import.meta.dirname, 'steered-process.ts');
/** A build on the way to its point may take as long as builds may. */
const END_LIMIT_MS = 180_000;
const MINUTE_MS = 60_000;

export class SteeredServer implements AsyncDisposable {
  readonly lull: LullServer;
  /** How long each start took until it served, in milliseconds. */
  readonly startMs: number[] = [];
  #steering: Calls<Steering>;
  #movedMs = 0;

  private constructor(lull: LullServer) {
    this.lull = lull;
    this.#steering = new Calls(lull.process.child);
  }

  static async start(): Promise<SteeredServer> {
    return new SteeredServer(await LullServer.start([], { program: PROGRAM }));
  }

  /** Starts the next one on the folders of one that is gone. @throws Error where the fault ends it before it serves */
  async up(fault?: Fault): Promise<void> {
    const startMs = performance.now();
    await this.lull.up(fault === undefined ? [] : ['--fault', JSON.stringify(fault)]);
    this.startMs.push(performance.now() - startMs);
    this.#steering = new Calls(this.lull.process.child);
    this.#movedMs = 0;
  }

  /** Counts steps anew, and brings one of them to grief. */
  begin(fault: Fault | null): Promise<void> {
    return this.#steering.call('begin', fault);
  }

  async wasHit(): Promise<boolean> {
    return (await this.#steering.call('traced')).wasHit;
  }

  /** Waits for the end of one that kills itself. */
  async killed(): Promise<void> {
    await within('the server to be killed', END_LIMIT_MS, this.lull.process.ended);
    await this.lull.stop('SIGKILL');
  }

  /** Moves the server's clock on, and with it that of the SDK, which signs by it. */
  async moveClock(byMs: number): Promise<void> {
    this.#movedMs += byMs;
    // By itself it would follow the Date of the last answer, which is this machine's.
    Object.defineProperty(this.lull.lambda.config, 'systemClockOffset', { configurable: true, get: () => this.#movedMs, set: () => {} });
    await this.#steering.call('moveClock', byMs);
  }

  /** Lets a minute pass, and the reconciler do what it does then. */
  async aMinute(): Promise<void> {
    const runs = async () => (await this.lull.client.health()).reconciler.runs;
    const before = await runs();
    await this.moveClock(MINUTE_MS);
    while ((await runs()) === before);
  }

  async rows(): Promise<Rows> {
    await using store = await openStore({ path: join(this.lull.data, 'lull.db'), log: SILENT });
    return await rowsOf(store);
  }

  async strays(): Promise<readonly string[]> {
    const { data, runtime } = this.lull;
    const platform = realpathSync(platformFolder(process.env, process.getuid!()));
    return await straysOf({ data, runtime, contexts: contextsFolder({ platformFolder: platform, dataFolder: data }) }, await this.rows());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.lull[Symbol.asyncDispose]();
  }
}
