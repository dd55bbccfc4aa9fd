/** One live VMM process of a microVM and the session with the agent inside. */
import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LullError } from '../domain/errors.ts';
import { GUEST_SERVICES, type GuestService } from '../domain/guest-service.ts';
import { STATE_REASONS, type DiskFault } from '../domain/microvm.ts';
import type { Clock, Random, ShellSession } from '../domain/ports.ts';
import { AgentSession } from '../guest/agent-session.ts';
import type { CardAddress } from '../guest/connect-options.ts';
import { GuestError } from '../guest/guest-error.ts';
import { GuestShell } from '../guest/guest-shell.ts';
import { effect } from '../lib/effects.ts';
import type { Files } from '../lib/files.ts';
import { StepTimer } from '../lib/step-timer.ts';
import type { Machine, NetworkAttachment } from '../vmm/driver.ts';
import type { ApplicationLog } from './application-log.ts';
import { exitCodeOf } from './exit-code.ts';

const HELLO_LIMIT_MS = 30_000;
const QUIESCE_LIMIT_MS = 60_000;
const SECRET_BYTES = 32;

/** What the agent may know, the newest first: a HELLO that replaces its secret may or may not have reached it. */
const secretFile = z.object({ secrets: z.array(z.string()).min(1) });
/** The newest, the one before, and what an earlier crash left. */
const MAX_KEPT_SECRETS = 4;
const RECONNECT_TRIES = 3;
const RECONNECT_DELAY_MS = 1000;

export interface IncarnationParts {
  readonly machine: Machine;
  readonly files: Files;
  readonly log: ApplicationLog;
  readonly secretPath: string;
  /** How its card is connected: told to the guest as it goes on. */
  readonly network: NetworkAttachment;
  /** What the agent in memory knows, most likely first. */
  readonly secrets: readonly string[];
  readonly onExit: (exitCode: number) => void;
  /** The guest opened a connection to a service of its host. */
  readonly onConnection: (service: GuestService, connection: Duplex) => void;
  /** The agent cannot be reached any more although its process lives. */
  readonly onLost: () => void;
  /** It stands still until {@link Incarnation.goOn}. */
  readonly onDiskFault: () => void;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'bytes'>;
}

/** See the file's head. Calls are made one at a time, but for {@link dial} and {@link openShell}. */
export class Incarnation {
  readonly machine: Machine;
  /** How often its disk has stopped it. */
  diskStops = 0;
  readonly #parts: IncarnationParts;
  #secrets: readonly string[];
  #session: AgentSession | undefined;
  /** Set before we end the process ourselves, so that its end surprises nobody. */
  #ending = false;
  /** It is being saved: what is in its memory must not move. */
  #isAtRest = false;
  /** One that is under way outside of a launch or wake. */
  #greeting: Promise<void> | undefined;
  /** Rejects when its disk stops the machine; another one whenever that goes on. */
  #stopped = neverYet();

  constructor(parts: IncarnationParts) {
    this.machine = parts.machine;
    this.#parts = parts;
    this.#secrets = parts.secrets;
    parts.machine.onDiskFault((fault) => this.#noteDiskFault(fault));
    if (parts.machine.diskFault !== undefined) this.#noteDiskFault(parts.machine.diskFault);
  }

  /** The secrets that a process of this microVM may know, as an earlier server kept them. */
  static async keptSecrets(path: string): Promise<readonly string[]> {
    return secretFile.parse(JSON.parse(await readFile(path, 'utf8'))).secrets;
  }

  get isEnding(): boolean {
    return this.#ending;
  }

  /** What the agent knows, for the manifest of the memory that it is part of. */
  get secret(): string {
    return this.#secrets[0]!;
  }

  /**
   * Lets a restored machine run and makes it right before the application goes on: clock, entropy, identity, connections
   * (design, "Order after every restore"). Nothing runs before the new secret is on disk.
   * @throws LullError internal where one of these steps failed in the guest
   */
  async continue(): Promise<StepTimer['steps']> {
    // It goes on already: only the commit of that had failed.
    if (this.#session !== undefined) return [];
    this.#stopped = neverYet();
    const timer = new StepTimer();
    // The greeting waits in the channel, so the agent reads it in its first moment.
    const channel = await timer.time('dial', () => this.machine.dial());
    const nextSecret = await this.#keepNextSecret();
    const greeted = this.#greet({ channel, resetConnections: true, nextSecret, network: cardOf(this.#parts.network) });
    greeted.catch(() => undefined);
    await timer.time('resume', () => this.machine.resume());
    await timer.time('agent', () => this.#unlessStopped(greeted));
    return timer.steps;
  }

  /** Greets the agent of a machine that ran on without us: its clock and connections are its own. One that stands still is greeted when it goes on. */
  async reconnect(): Promise<void> {
    if (this.machine.diskFault === undefined) await this.#alone(() => this.#greet({}));
  }

  /**
   * Lets a machine go on that stands still, and sets its clock; one that is being saved goes on with the undo of that.
   * @throws LullError insufficient-capacity where its disk has stopped it again
   */
  async goOn(): Promise<void> {
    if (this.#isAtRest) return;
    this.#stopped = neverYet();
    await this.machine.resume();
    const realtimeNs = `${BigInt(this.#parts.clock.nowMs()) * 1_000_000n}`;
    // Also the proof that it does go on.
    const answered = this.#session?.call('clock', { realtimeNs }, { timeoutMs: HELLO_LIMIT_MS }) ?? this.#greetOnce();
    await this.#unlessStopped<unknown>(answered);
  }

  /** Stops the application and brings its memory and disk to rest, then pauses the machine. */
  async quiesce(): Promise<StepTimer['steps']> {
    await this.#greeting?.catch(() => undefined);
    const session = this.#required();
    this.#isAtRest = true;
    const timer = new StepTimer();
    await timer.time('freeze', () => this.#unlessStopped(this.#agent('freeze', () => session.call('freeze', {}, { timeoutMs: QUIESCE_LIMIT_MS }))));
    await timer.time('quiesce', () => this.#unlessStopped(this.#agent('quiesce', () => session.call('quiesce', { trim: false }, { timeoutMs: QUIESCE_LIMIT_MS }))));
    await timer.time('hang up', () => this.#hangUp());
    await timer.time('pause', () => this.machine.pause());
    return timer.steps;
  }

  /** Goes on after {@link quiesce}, or after it failed half-way; where its disk does not let it, later. Writes nothing: the disk may be full. */
  async undoQuiesce(): Promise<void> {
    await this.#hangUp();
    this.#isAtRest = false;
    await this.goOn().catch((error: unknown) => {
      if (this.machine.diskFault === undefined) throw error;
    });
  }

  /** A stream to 127.0.0.1:`port` inside. @throws LullError internal where nothing listens, or nobody is there */
  async dial(port: number, signal?: AbortSignal): Promise<Duplex> {
    return this.#required().openTcp(port, signal === undefined ? {} : { signal });
  }

  /** A shell beside the application. @throws LullError internal where the image has none, its agent knows none, or nobody is there */
  async openShell(signal?: AbortSignal): Promise<ShellSession> {
    return GuestShell.open(this.#required(), signal);
  }

  /** Ends the process. */
  async kill(): Promise<void> {
    this.#ending = true;
    await Promise.all([this.machine.kill(), this.#session?.close()]);
  }

  /** Lets go of it; it runs on. */
  async detach(): Promise<void> {
    this.#ending = true;
    await this.#session?.close();
    this.machine.detach();
  }

  async #hangUp(): Promise<void> {
    // It holds the channel until it is answered or given up.
    await this.#greeting?.catch(() => undefined);
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
    await this.machine.hungUp();
  }

  #required(): AgentSession {
    if (this.#session === undefined) throw new LullError('internal', 'The MicroVM has no connection to its agent.');
    return this.#session;
  }

  /** Kept on disk before the agent hears of it: a server that comes after a crash must know it. */
  async #keepNextSecret(): Promise<string> {
    const next = this.#parts.random.bytes(SECRET_BYTES).toString('hex');
    const kept = [next, ...this.#secrets].slice(0, MAX_KEPT_SECRETS);
    // Not synced: it is of use only as long as the process lives, and no process survives the loss of power.
    await this.#parts.files.replace(this.#parts.secretPath, JSON.stringify({ secrets: kept }));
    return next;
  }

  #agent<T>(subject: string, act: () => Promise<T>): Promise<T> {
    return effect(this.#parts.files.effects, { kind: 'agent', subject }, act);
  }

  /** Gives up waiting for an agent that cannot answer before its machine goes on. */
  async #unlessStopped<T>(answer: Promise<T>): Promise<T> {
    answer.catch(() => undefined);
    return await Promise.race([answer, this.#stopped.promise]);
  }

  /** One at a time: a greeting that a stop has held up may be answered yet, or have been given up just before it could be. */
  #greetOnce(): Promise<void> {
    const greet = () => this.#greet({ resetConnections: false });
    const again = async (error: unknown): Promise<void> => {
      if (this.machine.diskFault !== undefined) throw error;
      await greet();
    };
    return this.#alone(() => greet().catch(again));
  }

  /** The greeting that is under way, or a new one. */
  #alone(greet: () => Promise<void>): Promise<void> {
    this.#greeting ??= greet().finally(() => (this.#greeting = undefined));
    return this.#greeting;
  }

  #noteDiskFault(fault: DiskFault): void {
    this.diskStops += 1;
    this.#stopped.reject(new LullError('insufficient-capacity', STATE_REASONS.diskStopped[fault]));
    this.#parts.onDiskFault();
  }

  /** A server that died in the middle of a greeting leaves more than one secret that it may be. */
  async #greet(greeting: Greeting): Promise<void> {
    let { channel } = greeting;
    for (const secret of this.#secrets) {
      try {
        const reached = channel ?? (await this.machine.dial());
        return await this.#agent('hello', () => this.#greetWith(secret, { ...greeting, channel: reached }));
      } catch (error) {
        if (!(error instanceof GuestError) || error.code !== 'secret') throw error;
        channel = undefined;
        await this.machine.hungUp();
      }
    }
    throw new LullError('internal', 'The agent of the MicroVM knows none of the secrets that were kept.');
  }

  async #greetWith(secret: string, { channel, resetConnections, nextSecret, network }: Greeting & { channel: Duplex }): Promise<void> {
    const { log, onExit, onConnection, clock, random } = this.#parts;
    const session = await AgentSession.connect(channel, {
      secret,
      ...(nextSecret === undefined ? {} : { nextSecret }),
      ...(resetConnections === undefined ? {} : { restore: { resetConnections, network } }),
      thaw: true,
      timeoutMs: HELLO_LIMIT_MS,
      clock,
      random,
      onOutput: (_name, bytes) => log.append(bytes),
      services: new Map(GUEST_SERVICES.map((service) => [service, (stream) => onConnection(service, stream)])),
      onEvent: (exit) => onExit(exitCodeOf(exit)),
    });
    const { application, warnings } = session.welcome;
    if (warnings.length > 0) {
      await session.close();
      throw new LullError('internal', `The MicroVM's agent could not make it right again: ${warnings.join('; ')}`);
    }
    this.#session = session;
    this.#secrets = [nextSecret ?? secret];
    void session.closed.then(() => this.#sessionEnded(session));
    if (application.state === 'exited') onExit(exitCodeOf(application));
  }

  /** An end that nobody asked for: greeted again a few times, then its microVM is given up. */
  async #sessionEnded(session: AgentSession): Promise<void> {
    if (this.#session !== session || this.#ending) return;
    this.#session = undefined;
    for (let tries = 0; tries < RECONNECT_TRIES; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_DELAY_MS * tries));
      if (this.#ending || this.#session !== undefined) return;
      const done = await this.reconnect().then(() => true, () => false);
      if (done) return;
    }
    if (!this.#ending) this.#parts.onLost();
  }
}

function neverYet(): PromiseWithResolvers<never> {
  const promise = Promise.withResolvers<never>();
  promise.promise.catch(() => undefined);
  return promise;
}

/** How an agent is greeted: over which channel, whether it was restored (and ends connections), what secret and what address it gets. */
interface Greeting {
  readonly channel?: Duplex | undefined;
  readonly resetConnections?: boolean;
  readonly nextSecret?: string;
  /** Left as it is where nothing is said: one that runs on keeps its own. */
  readonly network?: CardAddress | 'none';
}

const cardOf = (network: NetworkAttachment): CardAddress | 'none' =>
  network.kind === 'routed' ? { address: network.guestAddress, gateway: network.gateway } : 'none';
