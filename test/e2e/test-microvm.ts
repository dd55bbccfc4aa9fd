/** One microVM of a test's server, led through AWS's SDK and asked over HTTPS. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LambdaMicrovms } from '@aws-sdk/client-lambda-microvms';
import { z } from 'zod';
import type { ProcessIdentity } from '../../src/domain/microvm.ts';
import { within } from '../../src/lib/deadline.ts';
import type { LullProcess } from './server-process.ts';

const STATE_LIMIT_MS = 60_000;
const ANSWER_LIMIT_MS = 60_000;
const TOKEN_MINUTES = 30;
const ALL_PORTS = [{ allPorts: {} }];

/** RunMicrovm without the image. */
export type RunInput = Omit<Parameters<LambdaMicrovms['runMicrovm']>[0], 'imageIdentifier'>;

/** As long as no test: it sleeps when told to, and wakes by traffic. */
export const WAKES_BY_TRAFFIC = { maxIdleDurationSeconds: 3600, suspendedDurationSeconds: 3600, autoResumeEnabled: true };

/** The server that it lives on. */
export interface Host {
  readonly lambda: LambdaMicrovms;
  readonly process: LullProcess;
  readonly endpointPort: number;
  readonly ca: string;
  vmms(): Promise<readonly ProcessIdentity[]>;
}

export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Leaves the token out, or gives another. */
  readonly token?: string | null;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** The server's line about a change of state. */
const changeLine = z.object({ msg: z.literal('microVM changed state'), microvmId: z.string(), state: z.string() });

export class TestMicrovm {
  readonly id: string;
  /** As RunMicrovm told it; the port in it is the listener's of that start. */
  readonly endpoint: string;
  /** What RunMicrovm answered. */
  readonly firstState: string;
  readonly #server: Host;
  #token: Promise<string> | undefined;

  constructor(server: Host, facts: { id: string; endpoint: string; firstState: string }) {
    this.#server = server;
    this.id = facts.id;
    this.endpoint = facts.endpoint;
    this.firstState = facts.firstState;
  }

  get() {
    return this.#server.lambda.getMicrovm({ microvmIdentifier: this.id });
  }

  async state(): Promise<string> {
    return (await this.get()).state!;
  }

  /** Resolves once the API tells this state; looks again whenever the server says that something changed. */
  until(wanted: string): Promise<void> {
    return within(`${this.id} to be ${wanted}`, STATE_LIMIT_MS, this.#until(wanted));
  }

  /** Resolves once nothing is under way with it. */
  settled(): Promise<void> {
    return within(`${this.id} to come to rest`, STATE_LIMIT_MS, this.#until('RUNNING', 'SUSPENDED', 'TERMINATED'));
  }

  /** Resolves at the moment when the server says that this microVM has come into a state. @param from line to begin at */
  said(state: string, from: number): Promise<true> {
    return this.#server.process.said(`${this.id} to become ${state}`, (line) => (this.#change(line) === state ? true : undefined), { from });
  }

  /** The states that the running server said, in order. */
  changes(from = 0): string[] {
    return this.#server.process.lines.slice(from).map((line) => this.#change(line)).filter((state) => state !== undefined);
  }

  async suspend(): Promise<void> {
    await this.#server.lambda.suspendMicrovm({ microvmIdentifier: this.id });
    await this.until('SUSPENDED');
  }

  async resume(): Promise<void> {
    await this.#server.lambda.resumeMicrovm({ microvmIdentifier: this.id });
    await this.until('RUNNING');
  }

  async terminate(): Promise<void> {
    await this.#server.lambda.terminateMicrovm({ microvmIdentifier: this.id });
    await this.until('TERMINATED');
  }

  /** A token for every port, minted once. */
  token(): Promise<string> {
    this.#token ??= this.#server.lambda
      .createMicrovmAuthToken({ microvmIdentifier: this.id, expirationInMinutes: TOKEN_MINUTES, allowedPorts: ALL_PORTS })
      .then(({ authToken }) => authToken!['X-aws-proxy-auth']!);
    return this.#token;
  }

  /** One HTTPS request to its endpoint on a connection of its own. */
  async ask(path: string, question: Question = {}): Promise<Answer> {
    const { method = 'GET', headers = {}, body, token = await this.token() } = question;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const outgoing = httpsRequest({
      // The name is in the certificate; where it leads is known.
      host: '127.0.0.1',
      port: this.#server.endpointPort,
      servername: this.endpoint.replace(/:\d+$/, ''),
      ca: this.#server.ca,
      agent: false,
      method,
      path,
      headers: {
        host: this.endpoint,
        ...(token === null ? {} : { 'X-aws-proxy-auth': token }),
        ...(body === undefined ? {} : { 'content-length': `${body.length}` }),
        ...headers,
      },
    });
    outgoing.once('response', resolve).once('error', reject).end(body);
    try {
      const response = await within(`${method} ${path}`, ANSWER_LIMIT_MS, promise);
      const bytes = Buffer.concat(await within(`the body of ${method} ${path}`, ANSWER_LIMIT_MS, response.toArray()));
      return { status: response.statusCode!, headers: response.headers, body: bytes };
    } finally {
      outgoing.destroy();
    }
  }

  /** What it answers to a GET as JSON. @throws AssertionError where that is not 200 */
  async json<T>(path: string): Promise<T> {
    const { status, body } = await this.ask(path);
    assert.equal(status, 200, `${path}: ${body.toString().slice(0, 500)}`);
    return JSON.parse(body.toString()) as T;
  }

  /** Its VMM process, where it has one. */
  async vmm(): Promise<ProcessIdentity | undefined> {
    // The sockets of a microVM are in a folder named by the uuid of its id.
    const folder = this.id.replace(/^microvm-/, '');
    for (const identity of await this.#server.vmms()) {
      const words = await readFile(`/proc/${identity.pid}/cmdline`, 'utf8').catch(() => '');
      if (words.includes(`/${folder}/agent.sock`)) return identity;
    }
    return undefined;
  }

  async #until(...wanted: string[]): Promise<void> {
    for (;;) {
      const from = this.#server.process.lines.length;
      const { state, stateReason } = await this.get();
      if (wanted.includes(state!)) return;
      assert.ok(state !== 'TERMINATED', `${this.id} is TERMINATED: ${stateReason}`);
      await this.#server.process.said(`a change of ${this.id}`, (line) => this.#change(line), { from });
    }
  }

  /** The state that a line of the server's tells for this microVM. */
  #change(line: string): string | undefined {
    if (!line.includes(this.id) || !line.startsWith('{')) return undefined;
    const parsed = changeLine.safeParse(JSON.parse(line));
    return parsed.success && parsed.data.microvmId === this.id ? parsed.data.state : undefined;
  }
}
