/** One live VMM process of a microVM and the session with the agent inside. */
import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import type { Clock, Random } from '../domain/ports.ts';
import { AgentSession } from '../guest/agent-session.ts';
import { GuestError } from '../guest/guest-error.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { StepTimer } from '../lib/step-timer.ts';
import type { Machine } from '../vmm/driver.ts';
import type { ApplicationLog } from './application-log.ts';

const HELLO_LIMIT_MS = 30_000;
const QUIESCE_LIMIT_MS = 60_000;
const SECRET_BYTES = 32;
const SIGNAL_EXIT_BASE = 128;

/** The secret that the agent knows now, and the one it knew before a HELLO that may or may not have reached it. */
const secretFile = z.object({ secret: z.string(), previous: z.string() });

export interface IncarnationParts {
  readonly machine: Machine;
  readonly log: ApplicationLog;
  readonly secretPath: string;
  /** What the agent in memory knows, most likely first. */
  readonly secrets: readonly string[];
  readonly onExit: (exitCode: number) => void;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}

/** See the file's head. Calls are made one at a time, but for {@link dial}. */
export class Incarnation {
  readonly machine: Machine;
  readonly #parts: IncarnationParts;
  #secrets: readonly string[];
  #session: AgentSession | undefined;
  /** Set before we end the process ourselves, so that its end surprises nobody. */
  #ending = false;

  constructor(parts: IncarnationParts) {
    this.machine = parts.machine;
    this.#parts = parts;
    this.#secrets = parts.secrets;
  }

  /** The secrets that a process of this microVM may know, as an earlier server kept them. */
  static async keptSecrets(path: string): Promise<readonly string[]> {
    const { secret, previous } = secretFile.parse(JSON.parse(await readFile(path, 'utf8')));
    return [secret, previous];
  }

  get isEnding(): boolean {
    return this.#ending;
  }

  /** What the agent knows, for the manifest of the memory that it is part of. */
  get secret(): string {
    return this.#secrets[0]!;
  }

  /**
   * Lets a paused machine run and makes it right before the application goes on: clock, entropy, identity, connections
   * (design, "Order after every restore").
   */
  async continue(): Promise<StepTimer['steps']> {
    const timer = new StepTimer();
    // The greeting waits in the channel, so the agent reads it in its first moment.
    const greeted = this.#greet({ restored: true });
    greeted.catch(() => undefined);
    await timer.time('resume', () => this.machine.resume());
    await timer.time('agent', () => greeted);
    return timer.steps;
  }

  /** Greets the agent of a machine that ran on without us: its clock and connections are its own. */
  reconnect(): Promise<void> {
    return this.#greet({ restored: false });
  }

  /** Stops the application and brings its memory and disk to rest, then pauses the machine. */
  async quiesce(): Promise<StepTimer['steps']> {
    const session = this.#required();
    const timer = new StepTimer();
    await timer.time('freeze', () => session.call('freeze', {}, { timeoutMs: QUIESCE_LIMIT_MS }));
    await timer.time('quiesce', () => session.call('quiesce', { trim: false }, { timeoutMs: QUIESCE_LIMIT_MS }));
    await timer.time('hang up', () => this.#hangUp());
    await timer.time('pause', () => this.machine.pause());
    return timer.steps;
  }

  /** Goes on after {@link quiesce}, or after it failed half-way. */
  async undoQuiesce(): Promise<void> {
    await this.#hangUp();
    await this.continue();
  }

  /** A stream to 127.0.0.1:`port` inside. @throws LullError internal where nothing listens, or nobody is there */
  dial(port: number): Promise<Duplex> {
    return this.#required().openTcp(port);
  }

  /** Ends the process. */
  async kill(): Promise<void> {
    this.#ending = true;
    const killed = this.machine.kill();
    await this.#session?.close();
    await killed;
  }

  /** Lets go of it; it runs on. */
  async detach(): Promise<void> {
    this.#ending = true;
    await this.#session?.close();
    this.machine.detach();
  }

  async #hangUp(): Promise<void> {
    await this.#session?.close();
    this.#session = undefined;
    await this.machine.hungUp();
  }

  #required(): AgentSession {
    if (this.#session === undefined) throw new LullError('internal', 'The MicroVM has no connection to its agent.');
    return this.#session;
  }

  /** A server that died in the middle of a greeting leaves two secrets that it may be. */
  async #greet({ restored }: { restored: boolean }): Promise<void> {
    for (const secret of this.#secrets) {
      try {
        return await this.#greetWith(secret, restored);
      } catch (error) {
        if (!(error instanceof GuestError) || error.code !== 'secret') throw error;
        await this.machine.hungUp();
      }
    }
    throw new LullError('internal', 'The agent of the MicroVM knows none of the secrets that were kept.');
  }

  async #greetWith(secret: string, restored: boolean): Promise<void> {
    const { log, onExit, clock, random, secretPath } = this.#parts;
    const channel = await this.machine.dial();
    const nextSecret = random.bytes(SECRET_BYTES).toString('hex');
    // Kept on disk before the agent hears of it: a server that comes after a crash must know it.
    await writeFileAtomic(secretPath, JSON.stringify({ secret: nextSecret, previous: secret }));
    const session = await AgentSession.connect(channel, {
      secret,
      nextSecret,
      ...(restored ? { restore: { resetConnections: true } } : {}),
      thaw: true,
      timeoutMs: HELLO_LIMIT_MS,
      clock,
      random,
      onOutput: (_name, bytes) => log.append(bytes),
      onEvent: ({ exitCode, signal }) => onExit(exitCodeOf(exitCode, signal)),
    });
    this.#session = session;
    this.#secrets = [nextSecret];
    const { application } = session.welcome;
    if (application.state === 'exited') onExit(exitCodeOf(application.exitCode, application.signal));
  }
}

/** As a shell tells it: 128 and the signal's number where one ended it. */
function exitCodeOf(exitCode: number | null, signal: number | null): number {
  return exitCode ?? SIGNAL_EXIT_BASE + (signal ?? 0);
}
