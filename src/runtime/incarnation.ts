/** One live VMM process of a microVM and the session with the agent inside. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import { AgentSession, type RestoreOrders } from '../guest/agent-session.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { StepTimer } from '../lib/step-timer.ts';
import type { Machine } from '../vmm/driver.ts';
import type { ApplicationLog } from './application-log.ts';

const HELLO_LIMIT_MS = 30_000;
const QUIESCE_LIMIT_MS = 60_000;
const SECRET_BYTES = 32;
const ENTROPY_BYTES = 64;

/** The secret that the agent knows now, and the one it knew before a HELLO that may or may not have reached it. */
const secretFile = z.object({ secret: z.string(), previous: z.string() });

export interface IncarnationParts {
  readonly machine: Machine;
  readonly log: ApplicationLog;
  readonly secretPath: string;
  /** What the agent in memory knows, most likely first. */
  readonly secrets: readonly string[];
  readonly onExit: (exitCode: number) => void;
}

/** See the file's head. Calls are made one at a time, but for {@link dial}. */
export class Incarnation {
  readonly machine: Machine;
  readonly #log: ApplicationLog;
  readonly #secretPath: string;
  readonly #onExit: (exitCode: number) => void;
  #secrets: readonly string[];
  #session: AgentSession | undefined;
  /** Set before we end the process ourselves, so that its end surprises nobody. */
  #ending = false;

  constructor(parts: IncarnationParts) {
    this.machine = parts.machine;
    this.#log = parts.log;
    this.#secretPath = parts.secretPath;
    this.#secrets = parts.secrets;
    this.#onExit = parts.onExit;
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
    const channel = await timer.time('dial', () => this.machine.dial());
    // The greeting waits in the channel, so the agent reads it in its first moment.
    const greeting = this.#greet(channel, { entropy: randomBytes(ENTROPY_BYTES), resetConnections: true });
    greeting.catch(() => undefined);
    await timer.time('resume', () => this.machine.resume());
    await timer.time('agent', () => greeting);
    return timer.steps;
  }

  /** Greets the agent of a machine that ran on without us: its clock and connections are its own. */
  async reconnect(): Promise<void> {
    await this.#greet(await this.machine.dial());
  }

  /** Stops the application and brings its memory and disk to rest, then pauses the machine. */
  async quiesce(): Promise<StepTimer['steps']> {
    const session = this.#required();
    const timer = new StepTimer();
    await timer.time('freeze', () => session.call('freeze', {}, { limitMs: QUIESCE_LIMIT_MS }));
    await timer.time('quiesce', () => session.call('quiesce', {}, { limitMs: QUIESCE_LIMIT_MS }));
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
    this.#session?.close();
    await this.machine.kill();
  }

  /** Lets go of it; it runs on. */
  detach(): void {
    this.#ending = true;
    this.#session?.close();
    this.machine.detach();
  }

  async #hangUp(): Promise<void> {
    this.#session?.close();
    this.#session = undefined;
    await this.machine.hungUp();
  }

  #required(): AgentSession {
    if (this.#session === undefined) throw new LullError('internal', 'The MicroVM has no connection to its agent.');
    return this.#session;
  }

  /** Kept on disk before the agent hears of it: a server that comes after a crash must know it. */
  async #nextSecret(): Promise<string> {
    const secret = randomBytes(SECRET_BYTES).toString('hex');
    await writeFileAtomic(this.#secretPath, JSON.stringify({ secret, previous: this.secret }));
    return secret;
  }

  async #greet(channel: Duplex, restore?: RestoreOrders): Promise<void> {
    const next = await this.#nextSecret();
    this.#session = await AgentSession.connect(channel, {
      secrets: this.#secrets,
      nextSecret: next,
      ...(restore === undefined ? {} : { restore }),
      thaw: true,
      limitMs: HELLO_LIMIT_MS,
      onOutput: (_stream, bytes) => this.#log.append(bytes),
      onExit: this.#onExit,
    });
    this.#secrets = [next];
  }
}
