/** A runtime without microVMs that does what it is told, notes it, and fails where a test says so. */
import { EventEmitter, once } from 'node:events';
import { PassThrough, type Duplex } from 'node:stream';
import type { HookOutcome } from '../../src/domain/hooks.ts';
import type { DiskFault, ProcessIdentity } from '../../src/domain/microvm.ts';
import type { MicrovmRuntime, ShellSession, StepTimes, SuspendReport } from '../../src/domain/ports.ts';

export type RuntimeStep = Exclude<keyof MicrovmRuntime, 'logs' | 'detach' | 'holds' | 'present' | 'diskFault' | 'diskStops'>;

export class FakeMicrovmRuntime implements MicrovmRuntime {
  /** Every step, in order: `step id`. */
  readonly steps: string[] = [];
  /** Steps that fail the next time they are taken. */
  readonly failing = new Set<RuntimeStep>();
  /** What adopt, verifyGeneration and untouchedSince answer. */
  answers = { alive: true, complete: true, untouched: true, hook: 200 as HookOutcome };
  /** Those that stand still; the next `goOn` that does not fail lets one go on. */
  readonly diskFaults = new Map<string, DiskFault>();
  /** What {@link diskStops} answers. */
  stops = 0;
  /** What {@link present} answers. */
  readonly found = new Set<string>();
  /** Every call of a hook, in order. */
  readonly hooks: { readonly path: string; readonly timeoutMs: number; readonly body?: string }[] = [];
  /** The terminal of every shell. */
  readonly shell = new PassThrough();
  /** What gives the opening of the last one up; this runtime takes its time all the same. */
  shellSignal: AbortSignal | undefined;
  readonly #held = new Map<RuntimeStep, Promise<void>>();
  readonly #events = new EventEmitter<{ step: [string] }>().setMaxListeners(0);

  /** Holds a step until the returned function is called. */
  hold(step: RuntimeStep): () => void {
    const gate = Promise.withResolvers<void>();
    this.#held.set(step, gate.promise);
    return () => {
      this.#held.delete(step);
      gate.resolve();
    };
  }

  /** Resolves when a step is taken next. */
  taken(step: RuntimeStep): Promise<void> {
    return new Promise((resolve) => {
      const listener = (name: string) => {
        if (name !== step) return;
        this.#events.off('step', listener);
        resolve();
      };
      this.#events.on('step', listener);
    });
  }

  async prepareLaunch({ microvmId }: { microvmId: string }): Promise<ProcessIdentity> {
    await this.#take('prepareLaunch', microvmId);
    return { pid: 1, startTicks: 1, bootId: 'boot' };
  }

  async prepareWake({ microvmId }: { microvmId: string }): Promise<ProcessIdentity> {
    await this.#take('prepareWake', microvmId);
    return { pid: 2, startTicks: 2, bootId: 'boot' };
  }

  async continue(microvmId: string): Promise<StepTimes> {
    await this.#take('continue', microvmId);
    return [{ step: 'resume', ms: 1 }];
  }

  reconnect(microvmId: string): Promise<void> {
    return this.#take('reconnect', microvmId);
  }

  async saveGeneration(microvmId: string): Promise<SuspendReport> {
    await this.#take('saveGeneration', microvmId);
    return { bytesWritten: 1, pages: 1, zeroPages: 0, steps: [] };
  }

  undoSuspend(microvmId: string): Promise<void> {
    return this.#take('undoSuspend', microvmId);
  }

  release(microvmId: string): Promise<void> {
    return this.#take('release', microvmId);
  }

  abandonPrepared(microvmId: string): Promise<void> {
    return this.#take('abandonPrepared', microvmId);
  }

  destroy(microvmId: string): Promise<void> {
    return this.#take('destroy', microvmId);
  }

  async adopt({ microvmId }: { microvmId: string }): Promise<boolean> {
    await this.#take('adopt', microvmId);
    return this.answers.alive;
  }

  async verifyGeneration(microvmId: string): Promise<boolean> {
    await this.#take('verifyGeneration', microvmId);
    return this.answers.complete;
  }

  async untouchedSince(microvmId: string): Promise<boolean> {
    await this.#take('untouchedSince', microvmId);
    return this.answers.untouched;
  }

  async dial(microvmId: string): Promise<Duplex> {
    await this.#take('dial', microvmId);
    return new PassThrough();
  }

  async openShell(microvmId: string, signal?: AbortSignal): Promise<ShellSession> {
    this.shellSignal = signal;
    await this.#take('openShell', microvmId);
    return { stream: this.shell, resize: async () => {} };
  }

  async callHook(microvmId: string, { path, timeoutMs, body, signal }: Parameters<MicrovmRuntime['callHook']>[1]): Promise<HookOutcome> {
    this.hooks.push({ path, timeoutMs, ...(body === undefined ? {} : { body }) });
    const answered = this.#take('callHook', microvmId);
    const givenUp = once(signal, 'abort').then(() => 'refused' as const);
    return Promise.race([answered.then(() => this.answers.hook), givenUp]);
  }

  async *logs(): AsyncGenerator<Buffer> {}

  async sweep(): Promise<readonly string[]> {
    await this.#take('sweep', '');
    return [];
  }

  diskFault(microvmId: string): DiskFault | undefined {
    return this.diskFaults.get(microvmId);
  }

  diskStops(): number {
    return this.stops;
  }

  async goOn(microvmId: string): Promise<void> {
    await this.#take('goOn', microvmId);
    this.diskFaults.delete(microvmId);
  }

  holds(): boolean {
    return this.answers.alive;
  }

  async present(): Promise<readonly string[]> {
    return [...this.found];
  }

  async tidy(microvmId: string): Promise<readonly string[]> {
    await this.#take('tidy', microvmId);
    return [];
  }

  async detach(): Promise<void> {}

  async #take(step: RuntimeStep, microvmId: string): Promise<void> {
    this.steps.push(`${step} ${microvmId}`.trim());
    this.#events.emit('step', step);
    await this.#held.get(step);
    if (this.failing.delete(step)) throw new Error(`${step} failed, as the test wanted`);
  }
}
