/** A microVM through the front door: the API, then HTTPS to its endpoint, as any client does it. */
import type { TLSSocket } from 'node:tls';
import type { Installation } from '../cli/installation.ts';
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import type { ReportAnswer } from '../contract/extensions.ts';
import { get, openTls, type Endpoints } from './endpoint-call.ts';

/** Whether the connection is made for the request, or its handshake was over before the clock started. */
export type TlsMode = 'fresh' | 'ahead';

export interface FrontDoor {
  readonly installation: Installation;
  readonly endpoints: Endpoints;
}

const TOKEN_MINUTES = 60;
/** Nothing falls asleep by itself while it is measured. */
const IDLE_SECONDS = 28_800;

/** What `lull bench` does with a microVM, each with its time in milliseconds. */
export class LullMicrovm implements AsyncDisposable {
  readonly #door: FrontDoor;
  readonly id: string;
  readonly #endpoint: string;
  #token = '';

  private constructor(door: FrontDoor, id: string, endpoint: string) {
    this.#door = door;
    this.id = id;
    this.#endpoint = endpoint;
  }

  /** Of every request: where to, and the token. */
  get headers(): Readonly<Record<string, string>> {
    return { host: this.#endpoint, [AUTH_TOKEN_KEY]: this.#token };
  }

  /**
   * RunMicrovm, a token, and at once the first request, which waits at the endpoint while the microVM is PENDING.
   * @returns milliseconds until RunMicrovm had answered, and until the whole first answer was there
   */
  static async launch(door: FrontDoor, imageIdentifier: string, tls: TlsMode): Promise<{ microvm: LullMicrovm; ms: number; acceptedMs: number }> {
    const { client } = door.installation;
    const ready = tls === 'ahead' ? await openTls(door.endpoints) : undefined;
    const startMs = performance.now();
    const idlePolicy = { maxIdleDurationSeconds: IDLE_SECONDS, suspendedDurationSeconds: IDLE_SECONDS, autoResumeEnabled: true };
    const { microvmId, endpoint } = await client.call('RunMicrovm', { imageIdentifier, idlePolicy });
    const acceptedMs = performance.now() - startMs;
    const microvm = new LullMicrovm(door, microvmId, endpoint);
    try {
      await microvm.renewToken();
      await microvm.#request('/', ready);
    } catch (error) {
      await microvm[Symbol.asyncDispose]();
      throw error;
    }
    return { microvm, ms: performance.now() - startMs, acceptedMs };
  }

  /** A token for the next hour. */
  async renewToken(): Promise<void> {
    const order = { microvmIdentifier: this.id, expirationInMinutes: TOKEN_MINUTES, allowedPorts: [{ allPorts: {} }] };
    const { authToken } = await this.#door.installation.client.call('CreateMicrovmAuthToken', order);
    this.#token = authToken[AUTH_TOKEN_KEY] ?? '';
  }

  /** What it answers to a request on a connection of its own. */
  answer(path: string): Promise<string> {
    return this.#request(path, undefined);
  }

  /** One request, answered whole. One at a time, it wakes a microVM that sleeps. */
  async ask(path: string, tls: TlsMode): Promise<number> {
    const ready = tls === 'ahead' ? await openTls(this.#door.endpoints) : undefined;
    const startMs = performance.now();
    await this.#request(path, ready);
    return performance.now() - startMs;
  }

  /** ResumeMicrovm and, once it runs, one request, answered whole, its handshake over before the clock starts. */
  async resumeAndAsk(path: string): Promise<number> {
    const ready = await openTls(this.#door.endpoints);
    const startMs = performance.now();
    await this.#door.installation.client.call('ResumeMicrovm', { microvmIdentifier: this.id });
    await this.#request(path, ready);
    return performance.now() - startMs;
  }

  /** SuspendMicrovm, until it has answered: the microVM is SUSPENDED then and its process gone. */
  async suspend(): Promise<{ ms: number; report: NonNullable<ReportAnswer['suspend']> }> {
    const startMs = performance.now();
    await this.#door.installation.client.call('SuspendMicrovm', { microvmIdentifier: this.id });
    const ms = performance.now() - startMs;
    const { suspend } = await this.report();
    if (suspend === null) throw new Error('the server knows nothing of a suspend');
    return { ms, report: suspend };
  }

  report(): Promise<ReportAnswer> {
    return this.#door.installation.client.report(this.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#door.installation.client.call('TerminateMicrovm', { microvmIdentifier: this.id });
  }

  async #request(path: string, ready: TLSSocket | undefined): Promise<string> {
    return await get(ready ?? (await openTls(this.#door.endpoints)), path, this.headers);
  }
}
